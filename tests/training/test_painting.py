"""Painting in batches: the same latents as the product's own loop, whatever the batch, the solver and the experts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tests.engine.wan_directory import DIT, PAIR, PRESET, SIDECAR, VAE, tiny_wan_directory

from filmgate.engine.checkpoints.wan import load_dit
from filmgate.engine.pipeline.decode import to_rgb
from filmgate.engine.pipeline.denoise import denoise, draw_noise
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.pictures import first_frame, frames_beside
from filmgate.engine.sampling.experts import experts_per_step
from filmgate.engine.sampling.schedules import sigmas, timestep
from filmgate.spec import InvalidRequest, Step, UnknownName
from filmgate.training.conditions import packed_rays, path_of
from filmgate.training.flow import DECILES, fixed_noise, flow_losses
from filmgate.training.painting import Painter, Settings, codes
from filmgate.training.truth import camera_scenes
from filmgate.training.world.motion import camera_at

PROMPTS = ["a red ball", "blue cube rolls, a ball", "a"]
SEEDS = [5, 11, 3]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def painter(wan_pair) -> Painter:
    return Painter(wan_pair, CPU)


def products_own(
    painter: Painter, prompt: str, seed: int, changes: str | Settings, boundary: float | None, **told: torch.Tensor
) -> torch.Tensor:
    """The latent that the product's pipeline makes, one prompt at a time."""
    s = changes if isinstance(changes, Settings) else painter.settings.changed(changes)
    levels = sigmas(s.solver, s.steps, s.shift) if s.distilled is None else s.levels
    clocks = [timestep(level, s.solver) for level in levels[:-1]]
    steps = [
        Step(index=i, sigma=levels[i], sigma_next=levels[i + 1], timestep=clocks[i], expert=expert,
             guidance=s.guidance.scale(expert))
        for i, expert in enumerate(experts_per_step(clocks, boundary))
    ]  # fmt: skip
    text = encode(prompt, s.negative, painter.tokenise, painter.text_encoder)
    noise = draw_noise(painter.model.compression.latent(painter.video), seed)

    def transformer(name):
        return load_dit(painter.model, name, device=CPU, precision="fp32")

    *_, last = denoise(steps, s.solver, replace(text, **told), transformer, noise, batched=True)
    return last.latent


@pytest.mark.parametrize("changes", ["", "high=1", "high=1,low=1,shift=3", "boundary=0.6,steps=6"])
def test_a_batch_is_what_the_product_paints_one_by_one(painter, changes):
    settings = painter.settings.changed(changes)
    together = painter.paint(PROMPTS, SEEDS, settings)
    for latent, prompt, seed in zip(together, PROMPTS, SEEDS, strict=True):
        alone = products_own(painter, prompt, seed, changes, settings.boundary)
        torch.testing.assert_close(latent, alone, atol=2e-4, rtol=2e-4)


def test_prompts_seeds_and_settings_matter(painter):
    base = painter.paint(["a red ball"], [5], painter.settings)
    for prompt, seed, changes in (("a blue cube", 5, ""), ("a red ball", 6, ""), ("a red ball", 5, "low=6")):
        assert not torch.allclose(base, painter.paint([prompt], [seed], painter.settings.changed(changes)), atol=1e-3)


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    sidecar = {**SIDECAR, "variant": "wan2.1-t2v-1.3b", "family": "wan2.1", "preset": {**PRESET, "boundary": None}}
    folder = tmp_path_factory.mktemp("models") / "dense"
    return Painter(tiny_wan_directory(folder, folders={".": 1}, sidecar=sidecar), CPU)


def test_a_dense_model_paints_too(dense):
    latent = dense.paint(PROMPTS[:1], SEEDS[:1], dense.settings)[0]
    torch.testing.assert_close(latent, products_own(dense, PROMPTS[0], SEEDS[0], "", None), atol=2e-4, rtol=2e-4)


def test_a_dense_partner_is_guided_by_noise_level_as_the_pair_is(dense):
    def painted(changes):
        return dense.paint(PROMPTS, SEEDS, dense.settings.changed(changes))

    everywhere = painted("high=4,low=4")
    for boundary in (0.3, 0.97):
        torch.testing.assert_close(painted(f"high=4,low=4,boundary={boundary}"), everywhere)
    assert not torch.allclose(painted("high=1,low=4,boundary=0.3"), painted("high=1,low=4,boundary=0.97"), atol=1e-3)


def test_clips_are_the_products_codes(painter):
    latents = painter.paint(PROMPTS, SEEDS, painter.settings)
    rgb = painter.decode(latents)
    assert rgb.shape == (3, 3, painter.video.frames, painter.video.height, painter.video.width)
    expected = to_rgb(painter.vae.decode(latents[1:2])[0])
    off = (rgb[1].permute(1, 2, 3, 0).int() - torch.from_numpy(expected).int()).abs()
    assert off.max() <= 1
    assert codes(torch.tensor([-3.0, -1.0, 0.001, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255]


def test_encoding_gives_the_units_of_the_transformer(painter):
    rgb = torch.randint(0, 256, (3, 3, 5, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    latents = painter.encode(rgb)
    torch.testing.assert_close(latents[2:], painter.vae.encode(rgb[2:].float() / 127.5 - 1), atol=1e-5, rtol=1e-5)


def test_settings_are_changed_by_name(painter):
    changed = painter.settings.changed("high=6,low=2.5,shift=8,boundary=0.9,steps=7")
    assert str(changed) == "high=6,low=2.5,shift=8,boundary=0.9,steps=7"
    assert painter.settings.changed("") == painter.settings
    with pytest.raises(UnknownName, match="shift"):
        painter.settings.changed("shfit=3")
    assert painter.settings.changed("solver=euler,steps=5").solver == "euler"
    with pytest.raises(UnknownName, match="euler"):
        painter.settings.changed("solver=eular")
    with pytest.raises(InvalidRequest, match="many"):
        painter.settings.changed("steps=many")


def test_flow_losses_do_not_depend_on_the_batch_and_match_the_definition(painter):
    latents = torch.randn(4, 16, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    prompts = [*PROMPTS, "a ball"]
    losses = flow_losses(painter, latents, prompts, 0.875, batch=4)
    assert losses.shape == (DECILES, 4)
    assert abs(losses - flow_losses(painter, latents, prompts, 0.875, batch=1)).max() < 1e-4
    levels, noise = fixed_noise(8, latents.shape)
    assert ((levels >= 0.8) & (levels <= 0.9)).all()
    for i, level in enumerate(levels.tolist()):
        expert = painter.experts["high_noise" if level >= 0.875 else "low_noise"]
        noisy = (1 - level) * latents[i] + level * noise[i]
        with torch.no_grad():
            velocity = expert(noisy[None], torch.tensor([1000 * level]), painter.features([prompts[i]]))[0]
        assert losses[8, i] == pytest.approx((velocity - (noise[i] - latents[i])).square().mean().item(), rel=1e-3)


def pictured(folder, **changes):
    """A tiny pair that reads more than noise and text."""
    sidecar = {**SIDECAR, "variant": "wan2.2-i2v-a14b", "task": "i2v", **changes.pop("sidecar", {})}
    dit = replace(DIT, in_dim=36, **changes)
    return Painter(tiny_wan_directory(folder, dit=dit, sidecar=sidecar, folders=PAIR), CPU)


@pytest.fixture(scope="module")
def continuing(tmp_path_factory):
    return pictured(tmp_path_factory.mktemp("models") / "i2v")


def stills(seed: int, painter: Painter) -> torch.Tensor:
    """Pictures uint8 [B, 3, H, W] for all prompts."""
    size = (len(PROMPTS), 3, painter.video.height, painter.video.width)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("both", [False, True])
def test_known_frames_are_read_as_the_product_reads_them(continuing, both):
    first, last = stills(1, continuing), stills(2, continuing)
    given = continuing.given(first, last if both else None)
    together = continuing.paint(PROMPTS, SEEDS, continuing.settings, given)
    pictures = [tensor.permute(0, 2, 3, 1).numpy() for tensor in (first, last)]
    for n, (prompt, seed) in enumerate(zip(PROMPTS, SEEDS, strict=True)):
        own = frames_beside(pictures[0][n], pictures[1][n] if both else None, continuing.video, continuing.vae)
        alone = products_own(continuing, prompt, seed, "", continuing.settings.boundary, beside=own)
        torch.testing.assert_close(together[n], alone, atol=3e-4, rtol=3e-4)


def test_a_first_frame_is_held_as_the_product_holds_it(tmp_path):
    vae = replace(VAE, z_dim=48, latents_mean=(0.0,) * 48, latents_std=(1.0,) * 48, patch=2, level_shortcuts=True)
    dit = replace(DIT, in_dim=48, out_dim=48, per_token_timestep=True)
    sidecar = {
        **SIDECAR, "variant": "wan2.2-ti2v-5b", "task": "ti2v", "latent_rgb_factors": [[0.1, 0.0, -0.1]] * 48,
        "compression": {"temporal": 4, "spatial": 16, "channels": 48, "patch": 2},
        "preset": {**PRESET, "boundary": None, "sizes": [[64, 64]]},
    }  # fmt: skip
    folder = tiny_wan_directory(
        tmp_path / "ti2v", dit=dit, vae=vae, vae_name="Wan2.2_VAE", folders={".": 1}, sidecar=sidecar
    )
    painter = Painter(folder, CPU)
    first = stills(1, painter)
    together = painter.paint(PROMPTS, SEEDS, painter.settings, painter.given(first))
    for n, (prompt, seed) in enumerate(zip(PROMPTS, SEEDS, strict=True)):
        held = first_frame(first[n].permute(1, 2, 0).numpy(), painter.video, painter.vae)
        torch.testing.assert_close(together[n][:, :1], held, atol=1e-4, rtol=1e-4)
        alone = products_own(painter, prompt, seed, "", None, held=held)
        torch.testing.assert_close(together[n], alone, atol=3e-4, rtol=3e-4)
    without = painter.paint(PROMPTS[:1], SEEDS[:1], painter.settings, painter.given())
    torch.testing.assert_close(without[0], products_own(painter, PROMPTS[0], SEEDS[0], "", None), atol=3e-4, rtol=3e-4)


def test_rays_are_read_as_the_product_reads_them(tmp_path):
    painter = pictured(tmp_path / "camera", camera_scale=8, sidecar={"variant": "wan2.2-camera-a14b", "task": "camera"})
    video = painter.video
    path = path_of(camera_at(camera_scenes(3), torch.linspace(0, 1, video.frames)), video.width / video.height)
    first = stills(1, painter)
    rays = packed_rays(path, video.height, video.width)
    for picture in (first, None):
        together = painter.paint(PROMPTS, SEEDS, painter.settings, painter.given(picture, path=path))
        for n, (prompt, seed) in enumerate(zip(PROMPTS, SEEDS, strict=True)):
            beside = torch.zeros(20, 2, video.height // 8, video.width // 8)
            if picture is not None:
                beside = frames_beside(picture[n].permute(1, 2, 0).numpy(), None, video, painter.vae)
            told = {"beside": beside, "control": rays[n]}
            alone = products_own(painter, prompt, seed, "", painter.settings.boundary, **told)
            torch.testing.assert_close(together[n], alone, atol=3e-4, rtol=3e-4)
    with pytest.raises(InvalidRequest, match="needs a path"):
        painter.given(first)


def test_what_a_model_cannot_read_is_refused(painter, continuing):
    with pytest.raises(InvalidRequest, match="reads no picture"):
        painter.given(stills(1, painter))
    with pytest.raises(InvalidRequest, match="reads no path"):
        painter.given(path=torch.zeros(3, 5, 16))
    with pytest.raises(InvalidRequest, match="needs a first frame"):
        continuing.given()


def test_four_steps_are_those_of_the_preset(painter):
    few = painter.settings.few("lightning")
    assert few.levels == pytest.approx((1.0, 0.9375, 0.8333, 0.625, 0.0), abs=1e-4)
    assert str(few).endswith("steps=4,solver=euler,distilled=lightning")
    together = painter.paint(PROMPTS, SEEDS, few)
    for latent, prompt, seed in zip(together, PROMPTS, SEEDS, strict=True):
        torch.testing.assert_close(latent, products_own(painter, prompt, seed, few, few.boundary), atol=3e-4, rtol=3e-4)
    with pytest.raises(UnknownName):
        painter.settings.few("lightening")
    with pytest.raises(InvalidRequest, match="more than a list"):
        painter.settings.few("hybrid")


def test_a_lora_is_merged_into_its_expert(painter, wan_pair, tmp_path):
    name, rank = "blocks.0.self_attn.q", 2
    generator = torch.Generator().manual_seed(0)
    down, up = torch.randn(rank, DIT.dim, generator=generator), torch.randn(DIT.dim, rank, generator=generator)
    key = f"diffusion_model.{name}"
    save_file({f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}, tmp_path / "low.safetensors")
    adapted = Painter(wan_pair, CPU, loras={"low_noise": tmp_path / "low.safetensors"})
    weights = [p.experts["low_noise"].get_parameter(f"{name}.weight") for p in (painter, adapted)]
    torch.testing.assert_close(weights[1] - weights[0], up @ down, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        adapted.experts["high_noise"].state_dict(), painter.experts["high_noise"].state_dict(), atol=0, rtol=0
    )
    with pytest.raises(UnknownName):
        Painter(wan_pair, CPU, loras={"dense": tmp_path / "low.safetensors"})
