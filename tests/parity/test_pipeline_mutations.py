"""A test of the tests: the likeliest mistakes of conditioning make another video than diffusers', and are noticed."""

import pytest
import torch
from PIL import Image
from tests.parity.twins import (
    CLIP,
    VAE21,
    VAE22,
    assert_same,
    clip_modules,
    described,
    dit,
    networks,
    ours,
    picture,
    planned,
    theirs,
)

from filmgate.engine.models import clip
from filmgate.engine.pipeline import denoise, pictures, render
from filmgate.engine.pipeline.values import Pictures

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")
ONE = {"boundary": None, "guidance_high": 3.0, "guidance_low": 3.0}
SMALL = {"width": 48, "height": 32, "frames": 9}


def first_and_last():
    config = dit(in_dim=36)
    given = networks(config, VAE21, ("high_noise", "low_noise"))
    shown = Pictures(image=picture(48, 32, 1), last_image=picture(48, 32, 2))
    return planned(described("wan2.2-i2v-a14b", config, VAE21), shown, **SMALL), given, shown, {}, {}


def through_clip():
    config = dit(in_dim=36, image_dim=CLIP.dim, text_len=512)
    given = networks(config, VAE21, ("dense",), clip=True)
    shown = Pictures(image=picture(224, 224, 1))
    model = described("wan2.1-i2v-14b-480p", config, VAE21, **ONE)
    return planned(model, shown, width=224, height=224, frames=1), given, shown, clip_modules(given), {}


def small_vae():
    config = dit(in_dim=8, out_dim=8, per_token_timestep=True)
    given = networks(config, VAE22, ("dense",))
    shown = Pictures(image=picture(64, 64, 1))
    model = described("wan2.2-ti2v-5b", config, VAE22, **ONE, sizes=((64, 64),))
    return planned(model, shown, width=64, height=64, frames=9), given, shown, {}, {"expand_timesteps": True}


@pytest.fixture(scope="module")
def references():
    """Every setting with what diffusers makes of it, once."""
    made = {}
    with torch.no_grad():
        for setting in (first_and_last, through_clip, small_vae):
            plan, given, shown, modules, config = setting()
            images = {"image": Image.fromarray(shown.image)}
            if shown.last_image is not None:
                images["last_image"] = Image.fromarray(shown.last_image)
            other = theirs("WanImageToVideoPipeline", plan, given, arguments=images, modules=modules, **config)
            made[setting] = (plan, given, shown, other)
    return made


def mask_zero_is_given(patch):
    original = pictures.known_frames
    patch.setattr(pictures, "known_frames", lambda *args: 1 - original(*args))


def last_frame_marks_all_of_its_latent_frame(patch):
    original = pictures.known_frames
    patch.setattr(pictures, "known_frames", lambda *args: original(*args).amax(0, keepdim=True).expand(4, -1))


def first_frame_marks_one_channel(patch):
    def wrong(known, frames, temporal):
        flags = torch.tensor([float(number in known) for number in range(frames)])
        return torch.cat([torch.zeros(temporal - 1), flags]).unflatten(0, (-1, temporal)).T

    patch.setattr(pictures, "known_frames", wrong)


def unknown_frames_are_zero_latents(patch):
    def wrong(image, last_image, video, vae):
        beside = original(image, last_image, video, vae)
        beside[4:, 1:-1] = 0
        return beside

    original = pictures.frames_beside
    patch.setattr(render, "frames_beside", wrong)


def unknown_frames_are_black(patch):
    original = torch.zeros
    patch.setattr(pictures.torch, "zeros", lambda *size, **k: original(*size, **k) - float(size[:1] == (3,)))


def latent_before_mask(patch):
    original = pictures.frames_beside
    patch.setattr(render, "frames_beside", lambda *args: original(*args).roll(-4, 0))


def conditioning_before_noise(patch):
    original = torch.cat

    def swapped(tensors, *args, **options):
        tensors = list(tensors)
        channels = [tensor.shape[0] for tensor in tensors] if tensors[0].ndim == 4 else []
        return original(tensors[::-1] if channels == [16, 20] else tensors, *args, **options)

    patch.setattr(denoise.torch, "cat", swapped)


def one_block_too_many(patch):
    original = clip.ClipEncoder.forward
    patch.setattr(
        clip.ClipEncoder, "forward", lambda self, x: self.transformer[-1](original(self, x))
    )  # fmt: skip


def clip_pictures_not_normalised(patch):
    patch.setattr(pictures, "normalise", lambda picture, _: picture[None])


def pictures_from_zero_to_one(patch):
    original = pictures.to_tensor
    patch.setattr(pictures, "to_tensor", lambda codes: original(codes) / 2 + 0.5)


def first_frame_not_held(patch):
    patch.setattr(denoise, "hold", lambda x, _: x)


def first_frame_told_the_time_of_the_others(patch):
    original = denoise.clock
    patch.setattr(denoise, "clock", lambda timestep, x, _: original(timestep, x, None))


def one_latent_row_of_tokens_too_few_held(patch):
    def wrong(timestep, x, held):
        times = original(timestep, x, held)
        return times.roll(-2, 1) if held is not None else times

    original = denoise.clock
    patch.setattr(denoise, "clock", wrong)


MUTATIONS = {
    first_and_last: (
        mask_zero_is_given, last_frame_marks_all_of_its_latent_frame, first_frame_marks_one_channel,
        unknown_frames_are_zero_latents, unknown_frames_are_black, latent_before_mask, conditioning_before_noise,
        pictures_from_zero_to_one,
    ),
    through_clip: (one_block_too_many, clip_pictures_not_normalised),
    small_vae: (
        first_frame_not_held, first_frame_told_the_time_of_the_others, one_latent_row_of_tokens_too_few_held,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "mutation"), [(setting, each) for setting, some in MUTATIONS.items() for each in some],
    ids=lambda value: value.__name__,
)  # fmt: skip
@torch.no_grad()
def test_a_mistake_is_noticed(monkeypatch, references, setting, mutation):
    plan, given, shown, other = references[setting]
    with monkeypatch.context() as patch:
        assert_same(ours(plan, given, shown, patch), other)
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        assert_same(ours(plan, given, shown, monkeypatch), other)
