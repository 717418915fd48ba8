"""VACE's context: the same numbers as diffusers makes of the same pictures, and each part by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.engine.models.test_vae import diffusers_twin
from tests.engine.pipeline.networks import VAE

from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.vace_context import (
    between,
    extended,
    fold_mask,
    from_nothing,
    on_canvas,
    outpainted,
    vace_context,
    without_references,
)
from filmgate.spec.errors import InvalidRequest

FRAMES, HEIGHT, WIDTH = 9, 32, 48


def random_vae() -> WanVae:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        vae = WanVae(VAE).eval()
        with torch.no_grad():
            for parameter in vae.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.15)
    return vae


def pictures(*sizes: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    """Coarse coloured noise of (width, height)."""
    numbers = np.random.default_rng(seed)
    small = [Image.fromarray(numbers.integers(0, 256, (6, 5, 3), dtype=np.uint8)) for _ in sizes]
    return [picture.resize(size, Image.Resampling.BICUBIC) for picture, size in zip(small, sizes, strict=True)]


def tensor_of(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255 * 2 - 1


def box_masks() -> list[Image.Image]:
    """A box of odd size that wanders, as pictures."""
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), dtype=np.uint8)
    for frame, mask in enumerate(masks):
        mask[3 + frame : 17 + frame, 5 + 2 * frame : 22 + 2 * frame] = 255
    return [Image.fromarray(mask).convert("RGB") for mask in masks]


def diffusers_pipeline(vae: WanVae, transformer: Any, scheduler: Any = None) -> Any:
    diffusers = pytest.importorskip("diffusers")
    pipeline = diffusers.WanVACEPipeline(
        tokenizer=None, text_encoder=None, vae=diffusers_twin(vae), scheduler=scheduler, transformer=transformer
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def diffusers_context(vae: WanVae, video: Any, mask: Any, references: Any) -> torch.Tensor:
    from tests.engine.models.test_vace import diffusers_vace, tiny

    pipeline = diffusers_pipeline(vae, diffusers_vace(tiny(vace_in_dim=96, text_len=512)))
    shape = {"height": HEIGHT, "width": WIDTH, "num_frames": FRAMES, "dtype": torch.float32, "device": "cpu"}
    video, mask, references = pipeline.preprocess_conditions(video, mask, references, 1, **shape)
    latents = pipeline.prepare_video_latents(video, mask, references, None, "cpu")
    return torch.cat([latents, pipeline.prepare_masks(mask, references)], 1)[0]


@pytest.mark.parametrize("references", [0, 1, 3])
@torch.inference_mode()
def test_diffusers_makes_the_same_context_but_for_the_order_of_references(references: int) -> None:
    vae = random_vae()
    video = pictures(*[(WIDTH, HEIGHT)] * FRAMES)
    # Sides of multiples of 8: diffusers first resamples others to such sizes; the original does not, nor do we.
    shown = pictures((24, 56), (WIDTH, HEIGHT), (96, 40), seed=1)[:references]
    expected = diffusers_context(vae, video, box_masks(), shown or None)
    clip = torch.stack([tensor_of(frame) for frame in video], 1)
    mask = torch.stack([(tensor_of(frame)[0] + 1) / 2 for frame in box_masks()])
    # diffusers puts every picture before those that are there already; the original keeps their order, as we do.
    found = vace_context(vae.encode, clip, mask, [tensor_of(picture) for picture in reversed(shown)])
    assert found.shape == (96, references + 3, HEIGHT // 8, WIDTH // 8)
    assert (found - expected).abs().max() <= 1e-5
    assert found[:32].abs().mean() > 0.1


@torch.inference_mode()
def test_diffusers_makes_the_same_of_nothing() -> None:
    vae = random_vae()
    expected = diffusers_context(vae, None, None, None)
    found = vace_context(vae.encode, *from_nothing(FRAMES, HEIGHT, WIDTH))
    assert (found - expected).abs().max() <= 1e-5
    assert torch.equal(found[32:], torch.ones(64, 3, HEIGHT // 8, WIDTH // 8))


def averaged(video: torch.Tensor) -> torch.Tensor:
    """An autoencoder that one can calculate: means over 8×8 pixels, and every latent frame's last frame."""
    return F.avg_pool3d(video[:, :, ::4], (1, 8, 8)).mean(1, keepdim=True)


def test_references_come_first_in_their_order_with_nothing_to_paint() -> None:
    video, mask = torch.full((3, 5, 16, 16), 0.5), torch.ones(5, 16, 16)
    shown = [torch.full((3, 16, 16), value) for value in (-0.25, 0.75)]
    context = vace_context(averaged, video, mask, shown)
    assert context.shape == (66, 4, 2, 2)
    assert context[:, :, 0, 0].T[:, :3].tolist() == [[-0.25, 0, 0], [0.75, 0, 0], [0, 0.5, 1], [0, 0.5, 1]]
    assert not context[1:, :2].any()
    assert torch.equal(without_references(context, 2), vace_context(averaged, video, mask))


def test_a_mask_splits_the_video_at_one_half() -> None:
    video = torch.full((3, 1, 8, 16), 0.5)
    mask = torch.zeros(1, 8, 16)
    mask[..., 8:] = 0.51
    mask[..., 4:8] = 0.5
    context = vace_context(averaged, video, mask)
    assert context[:2, 0, 0].tolist() == [[0.5, 0], [0, 0.5]]
    assert context[2:, 0, 0, 1].tolist() == [1] * 64
    assert context[2:, 0, 0, 0].tolist() == [0] * 64


@given(
    st.sampled_from([1, 5, 9, 13, 81]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([2, 8]),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_masks_are_folded_as_the_original_folds_them(t: int, h: int, w: int, s: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(t, h * s, w * s, generator=generator) > 0.5).float()
    channels = mask.view(t, h, s, w, s).permute(2, 4, 0, 1, 3).reshape(s * s, t, h, w)
    latents = (t + 3) // 4
    expected = F.interpolate(channels[None], size=(latents, h, w), mode="nearest-exact")[0]
    assert torch.equal(fold_mask(mask, latents, s), expected)


def test_time_is_thinned_out_evenly_and_not_by_latent_frames() -> None:
    mask = torch.arange(81.0)[:, None, None].expand(81, 1, 1)
    found = fold_mask(mask, 21, 1)[0, :, 0, 0].tolist()
    assert found[:4] == [1, 5, 9, 13]
    assert found[-1] == 79


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 6), st.integers(1, 6))
@settings(deadline=None)
def test_a_picture_fits_its_canvas_and_the_rest_is_white(rows: int, columns: int, h: int, w: int) -> None:
    height, width = 8 * h, 8 * w
    canvas = on_canvas(torch.full((3, rows, columns), -1.0), height, width)
    assert canvas.shape == (3, height, width)
    inside = (canvas < 0).all(0)
    assert torch.equal(inside, ~(canvas == 1).all(0))
    found = [int(inside.any(axis).sum()) for axis in (1, 0)]
    assert int(inside.sum()) == found[0] * found[1]
    scale = min(height / rows, width / columns)
    for size, side, whole, axis in zip(found, (rows, columns), (height, width), (1, 0), strict=True):
        assert size == max(1, int(side * scale))
        assert int(inside.any(axis).nonzero()[0]) == (whole - size) // 2


def clip_of(frames: int, seed: int = 0, size: tuple[int, int] = (8, 16)) -> torch.Tensor:
    return torch.rand(3, frames, *size, generator=torch.Generator().manual_seed(seed)) - 0.5


@pytest.mark.parametrize(("before", "kept"), [(False, slice(0, 5)), (True, slice(8, 13))])
def test_an_extension_keeps_the_clip_and_paints_the_rest(before: bool, kept: slice) -> None:
    clip = clip_of(5)
    video, mask = extended(clip, 13, before=before)
    assert torch.equal(video[:, kept], clip)
    assert mask.sum() == 8 * 8 * 16
    assert not mask[kept].any()
    assert not (video * mask).any(), "what is painted is grey"


def test_between_two_clips_the_rest_is_painted() -> None:
    first, last = clip_of(1), clip_of(2, 1)
    video, mask = between(first, last, 9)
    assert torch.equal(video[:, :1], first)
    assert torch.equal(video[:, 7:], last)
    assert mask[:, 0, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert not (video * mask).any()


def test_outpainting_keeps_the_clip_where_it_is() -> None:
    clip = clip_of(5)
    video, mask = outpainted(clip, 32, 24, top=3, left=8)
    assert video.shape == (3, 5, 32, 24)
    assert torch.equal(video[:, :, 3:11, 8:24], clip)
    assert not mask[:, 3:11, 8:24].any()
    assert mask.sum() == 5 * (32 * 24 - 8 * 16)
    assert not (video * mask).any()


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: extended(clip_of(9), 9), "frames"),
        (lambda: between(clip_of(5), clip_of(4), 9), "frames"),
        (lambda: between(clip_of(1), clip_of(1, size=(8, 8)), 9), "last_image"),
        (lambda: outpainted(clip_of(1), 8, 16, top=1, left=0), "height"),
        (lambda: outpainted(clip_of(1), 8, 16, top=0, left=-1), "width"),
        (lambda: vace_context(averaged, clip_of(1), torch.ones(2, 8, 16)), "mask"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make: Any, field: str) -> None:
    with pytest.raises(InvalidRequest, match="Allowed") as caught:
        make()
    assert caught.value.field == field


def test_a_refusal_names_frames_that_the_autoencoder_can_take() -> None:
    for given_frames in range(1, 14):
        with pytest.raises(InvalidRequest) as caught:
            extended(clip_of(given_frames), given_frames)
        assert caught.value.nearest is not None
        nearest = int(caught.value.nearest)
        assert nearest % 4 == 1
        assert given_frames < nearest <= given_frames + 4
