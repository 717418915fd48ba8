"""From a plan's inputs to a video, on networks of random weights: VACE and the camera, and what they make of inputs."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from tests.camera.paths import path_of, still
from tests.engine.pipeline.networks import DIT, TEXT, VAE, RandomNetworks, random_plan
from tests.engine.pipeline.test_vace_context import pictures, tensor_of

from filmgate.camera.poses import CameraPath
from filmgate.camera.rays import packed_rays
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.controls import vace_source, with_camera, with_vace
from filmgate.engine.pipeline.denoise import denoise
from filmgate.engine.pipeline.pictures import frames_beside
from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.vace_context import between, extended, from_nothing, outpainted
from filmgate.engine.pipeline.values import Conditioning, Pictures
from filmgate.spec import InvalidRequest, Plan, Preview, Progress

STEPS = (0.9998, 0.8, 0.0)
WIDTH, HEIGHT, FRAMES = 48, 32, 5


class Networks(RandomNetworks):
    """Random networks whose transformers have another architecture."""

    def __init__(self, config: DitConfig, *, quiet_adapter: bool = False) -> None:
        super().__init__()
        self.config = config
        self.quiet = quiet_adapter

    def transformer(self, name: str) -> WanDiT:
        network = self._get(name, {"high_noise": 2, "low_noise": 3, "dense": 4}[name], lambda: WanDiT(self.config))
        if self.quiet:
            for parameter in network.control_adapter.parameters():
                parameter.data.zero_()
        return network


def plan_for(config: DitConfig, operation: str, **changes: Any) -> Plan:
    plan = random_plan(sigmas=STEPS)
    dit = plan.model.dit.model_copy(update={"in_channels": config.in_dim, "image_dim": config.image_dim})
    model = plan.model.model_copy(update={"dit": dit, "task": operation})
    return plan.model_copy(update={"model": model, "operation": operation, **changes})


def frames_of(plan: Plan, networks: Networks, given: Pictures) -> np.ndarray:
    return np.concatenate([event for event in render(plan, networks, given) if isinstance(event, np.ndarray)])


def arrays(count: int, size: tuple[int, int] = (WIDTH, HEIGHT), seed: int = 0) -> np.ndarray:
    return np.stack([np.array(picture) for picture in pictures(*[size] * count, seed=seed)])


VACE = replace(DIT, vace_layers=(0,))
CAMERA = replace(DIT, camera_scale=8)
DOLLY = path_of([(0, 0, i / 10) for i in range(FRAMES)])


def far(a: np.ndarray, b: np.ndarray) -> bool:
    """The two videos differ in more than a few codes. Equal inputs give equal bits, so that rounding explains none."""
    assert a.shape == b.shape == (FRAMES, HEIGHT, WIDTH, 3)
    return int((a != b).sum()) > 20


def text_only() -> Conditioning:
    return Conditioning(text=torch.zeros(3, TEXT.dim))


def test_everything_that_vace_is_given_changes_the_video() -> None:
    plan = plan_for(VACE, "vace")
    video, mask = arrays(FRAMES), np.zeros((1, HEIGHT, WIDTH), dtype=np.uint8)
    mask[:, :, 20:] = 255
    references = (arrays(1, (24, 56), 3)[0], arrays(1, (40, 40), 4)[0])
    cases = {
        "nothing": Pictures(),
        "video": Pictures(video=video),
        "mask": Pictures(video=video, mask=mask),
        "references": Pictures(references=references),
        "reversed": Pictures(references=references[::-1]),
        "image": Pictures(image=references[0]),
        "both": Pictures(image=references[0], last_image=references[1]),
    }
    vae = RandomNetworks().vae()
    contexts = {name: with_vace(text_only(), given, plan, vae).control for name, given in cases.items()}
    for (name, one), (other, two) in combinations(contexts.items(), 2):
        assert one is not None
        assert two is not None
        # An autoencoder of random weights makes nearly the same latent of everything; rounding is 1e-6.
        assert one.shape != two.shape or (one - two).abs().max() > 1e-3, (name, other)
    videos = [frames_of(plan, Networks(VACE), cases[name]) for name in ("nothing", "mask", "references", "mask")]
    assert far(videos[0], videos[1])
    assert far(videos[1], videos[2])
    weak = frames_of(plan.model_copy(update={"control_scale": 0.3}), Networks(VACE), cases["mask"])
    assert far(videos[1], weak)
    assert np.array_equal(videos[1], videos[3])


def test_references_are_not_part_of_the_video_or_of_its_previews() -> None:
    plan = plan_for(VACE, "vace", preview_every=1)
    networks = Networks(VACE)
    events = list(render(plan, networks, Pictures(references=(arrays(1)[0],) * 2)))
    assert sum(len(event) for event in events if isinstance(event, np.ndarray)) == FRAMES
    assert len([event for event in events if isinstance(event, Preview)]) == 1
    stages = [(event.stage, event.done, event.total) for event in events if isinstance(event, Progress)]
    assert [stage for stage in stages if stage[0] == "encode"] == [("encode", 1, 2), ("encode", 2, 2)]
    assert networks.log.index("-vae") < networks.log.index("+high_noise"), "one network at a time"


def test_the_noise_of_references_comes_with_that_of_the_video(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    original = WanDiT.forward

    def forward(self: WanDiT, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        seen.append((*x.shape, *options["control"].shape))
        return original(self, x, *args, **options)

    monkeypatch.setattr(WanDiT, "forward", forward)
    frames_of(plan_for(VACE, "vace"), Networks(VACE), Pictures(references=(arrays(1)[0],) * 3))
    assert set(seen) == {(1, 16, 5, 4, 6, 1, 96, 5, 4, 6)}


def same(found: tuple[torch.Tensor, torch.Tensor], expected: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_video_is_kept_where_the_plan_says() -> None:
    shape = random_plan().video
    clip, small = arrays(2), arrays(FRAMES, (24, 16))
    as_tensor = torch.stack([tensor_of(frame) for frame in clip], 1)
    small_tensor = torch.stack([tensor_of(frame) for frame in small], 1)
    assert same(vace_source(Pictures(video=clip), "start", shape), extended(as_tensor, FRAMES))
    assert same(vace_source(Pictures(video=clip), "end", shape), extended(as_tensor, FRAMES, before=True))
    inside = vace_source(Pictures(video=small), "inside", shape)
    assert same(inside, outpainted(small_tensor, HEIGHT, WIDTH, top=8, left=12))
    video, mask = vace_source(Pictures(video=small[:, :16, :16].repeat(2, 1).repeat(3, 2)), None, shape)
    assert mask.all()
    assert video.shape == (3, FRAMES, HEIGHT, WIDTH)


def test_pictures_are_the_first_and_the_last_frame() -> None:
    shape = random_plan().video
    first, last = arrays(2)
    one, other = (tensor_of(frame)[:, None] for frame in (first, last))
    assert same(vace_source(Pictures(), None, shape), from_nothing(FRAMES, HEIGHT, WIDTH))
    assert same(vace_source(Pictures(image=first), None, shape), extended(one, FRAMES))
    assert same(vace_source(Pictures(image=first, last_image=last), None, shape), between(one, other, FRAMES))
    with pytest.raises(InvalidRequest, match="last one only"):
        vace_source(Pictures(last_image=last), None, shape)


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_masks_are_pictures_or_videos(frames: int) -> None:
    codes = np.zeros((frames, HEIGHT, WIDTH), dtype=np.uint8)
    codes[:, 3:9] = 255
    codes[:, 9] = 100
    _, mask = vace_source(Pictures(video=arrays(FRAMES), mask=codes), None, random_plan().video)
    assert mask.shape == (FRAMES, HEIGHT, WIDTH)
    assert (mask > 0.5)[:, :, 0].int().tolist() == [[int(3 <= row < 9) for row in range(HEIGHT)]] * FRAMES


def test_a_path_changes_the_video_and_an_adapter_of_zeros_ignores_it() -> None:
    plan = plan_for(CAMERA, "camera")
    stay = frames_of(plan, Networks(CAMERA), Pictures(path=still(FRAMES)))
    assert np.array_equal(stay, frames_of(plan, Networks(CAMERA), Pictures(path=still(FRAMES))))
    assert far(stay, frames_of(plan, Networks(CAMERA), Pictures(path=DOLLY)))
    lens = CameraPath(DOLLY.lenses * [2, 2, 1, 1], still(FRAMES).world_to_camera)
    assert far(stay, frames_of(plan, Networks(CAMERA), Pictures(path=lens)))

    class Plain(Networks):
        """The same weights without an adapter."""

        def transformer(self, name: str) -> WanDiT:
            network = WanDiT(DIT).eval()
            state = super().transformer(name).state_dict()
            network.load_state_dict({k: v for k, v in state.items() if not k.startswith("control_adapter")})
            return network

    without = frames_of(plan_for(DIT, "t2v"), Plain(CAMERA), Pictures())
    assert far(stay, without)
    for path in (still(FRAMES), DOLLY):
        assert np.array_equal(frames_of(plan, Networks(CAMERA, quiet_adapter=True), Pictures(path=path)), without)


def test_rays_are_those_of_the_path() -> None:
    plan = plan_for(CAMERA, "camera")
    found = with_camera(text_only(), Pictures(path=DOLLY), plan, None)
    assert found.control is not None
    assert np.array_equal(found.control.numpy(), packed_rays(DOLLY, plan.video))
    assert (found.beside, found.held, found.image) == (None, None, None)
    with pytest.raises(InvalidRequest, match="3 poses"):
        with_camera(text_only(), Pictures(path=still(3)), plan, None)
    with pytest.raises(InvalidRequest, match="no path"):
        with_camera(text_only(), Pictures(), plan, None)


# Wan 2.1: the picture's latent and zeros, no mask; Wan 2.2: as image to video, last picture included.
def test_a_picture_goes_beside_the_noise_as_each_family_was_trained() -> None:
    vae = RandomNetworks().vae()
    image, last = arrays(1, seed=1)[0], arrays(1, seed=2)[0]
    older, newer = (replace(CAMERA, in_dim=channels) for channels in (32, 36))
    alone = vae.encode(tensor_of(pictures((WIDTH, HEIGHT), seed=1)[0])[None, :, None])[0]
    found = with_camera(text_only(), Pictures(path=DOLLY, image=image), plan_for(older, "camera"), vae)
    assert found.beside is not None
    torch.testing.assert_close(found.beside[:, :1], alone, atol=1e-6, rtol=0)
    assert found.beside.shape == (16, 2, 4, 6)
    assert not found.beside[:, 1:].any()
    plan = plan_for(newer, "camera")
    found = with_camera(text_only(), Pictures(path=DOLLY, image=image, last_image=last), plan, vae)
    assert found.beside is not None
    assert torch.equal(found.beside, frames_beside(image, last, plan.video, vae))
    assert found.held is None
    for config in (older, newer):
        empty = with_camera(text_only(), Pictures(path=DOLLY), plan_for(config, "camera"), None)
        assert empty.beside is not None
        assert empty.beside.shape[0] == config.in_dim - 16
        assert not empty.beside.any()


def test_a_model_with_an_image_branch_sees_nothing_where_there_is_no_picture() -> None:
    plan = plan_for(replace(CAMERA, in_dim=32, image_dim=40), "camera")
    found = with_camera(text_only(), Pictures(path=DOLLY), plan, None)
    assert found.image is not None
    assert found.image.shape == (257, 40)
    assert not found.image.any()


def test_the_small_model_holds_its_first_frame_and_reads_it_beside_the_noise() -> None:
    statistics = {"latents_mean": (0.0,) * 48, "latents_std": (1.0,) * 48}
    config = replace(DIT, in_dim=100, out_dim=48, camera_scale=16, per_token_timestep=True)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        vae = WanVae(replace(VAE, patch=2, level_shortcuts=True, z_dim=48, **statistics)).eval()
        model = WanDiT(config).eval()
    plan = plan_for(config, "camera")
    shape = {"dit": plan.model.dit.model_copy(update={"out_channels": 48}), "compression": vae.config.compression}
    latent = vae.config.compression.latent(plan.video.model_copy(update={"width": 64}))
    video = plan.video.model_copy(update={"width": 64})
    plan = plan.model_copy(update={"model": plan.model.model_copy(update=shape), "video": video, "latent": latent})
    found = with_camera(text_only(), Pictures(path=DOLLY, image=arrays(1)[0]), plan, vae)
    assert found.beside is not None
    assert found.held is not None
    assert found.control is not None
    assert found.beside.shape == (52, 2, 2, 4)
    assert found.beside[:4, 0].all()
    assert not found.beside[:4, 1].any()
    assert torch.equal(found.held, found.beside[4:, :1])
    noise = torch.randn(48, 2, 2, 4, generator=torch.Generator().manual_seed(3))
    steps = [step.model_copy(update={"guidance": 1.0}) for step in plan.steps]
    *_, last = denoise(steps, "euler", found, lambda _: model, noise, batched=True)
    assert torch.equal(last.latent[:, :1], found.held)
    assert not torch.equal(last.latent[:, 1:], noise[:, 1:])
    assert found.control.shape == (24, 2, 32, 64)
