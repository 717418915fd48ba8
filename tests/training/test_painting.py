"""Painting in batches: the same latents as the product's own loop, whatever the batch, the solver and the experts."""

from __future__ import annotations

import pytest
import torch
from tests.engine.wan_directory import PRESET, SIDECAR, tiny_wan_directory

from filmgate.engine.checkpoints.wan import load_dit
from filmgate.engine.pipeline.decode import to_rgb
from filmgate.engine.pipeline.denoise import denoise, draw_noise
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.sampling.experts import experts_per_step
from filmgate.engine.sampling.schedules import sigmas, timestep
from filmgate.spec import InvalidRequest, Step, UnknownName
from filmgate.training.flow import DECILES, fixed_noise, flow_losses
from filmgate.training.painting import Painter, codes

PROMPTS = ["a red ball", "blue cube rolls, a ball", "a"]
SEEDS = [5, 11, 3]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def painter(wan_pair) -> Painter:
    return Painter(wan_pair, CPU)


def products_own(painter: Painter, prompt: str, seed: int, changes: str, boundary: float | None) -> torch.Tensor:
    """The latent that the product's pipeline makes, one prompt at a time."""
    s = painter.settings.changed(changes)
    levels = sigmas(s.solver, s.steps, s.shift)
    clocks = [timestep(level, s.solver) for level in levels[:-1]]
    steps = [
        Step(index=i, sigma=levels[i], sigma_next=levels[i + 1], timestep=clocks[i], expert=expert,
             guidance=s.guidance.scale(expert))
        for i, expert in enumerate(experts_per_step(clocks, boundary))
    ]  # fmt: skip
    told = encode(prompt, s.negative, painter.tokenise, painter.text_encoder)
    noise = draw_noise(painter.model.compression.latent(painter.video), seed)

    def transformer(name):
        return load_dit(painter.model, name, device=CPU, precision="fp32")

    *_, last = denoise(steps, s.solver, told, transformer, noise, batched=True)
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
