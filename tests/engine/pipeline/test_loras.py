"""LoRAs of a plan, from files to frames: merged into the right expert, left out where planned, never on disk."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.engine.lora_cases import draw, write
from tests.engine.wan_directory import DIT, SIDECAR, tiny_wan_directory

from filmgate.app.wishes import resolve_loras
from filmgate.backends.local import LocalBackend
from filmgate.direction.planner import plan
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.lora import read_lora
from filmgate.engine.checkpoints.lora_tensors import load_deltas
from filmgate.engine.pipeline.denoise import project_text
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.engine.runtime.lora import apply_lora
from filmgate.spec import DeviceDescription, Done, Failed, LoraChoice, Request, WrongVariant

CPU = DeviceDescription(kind="cpu", name="A processor", memory_bytes=1 << 34, cores=1)
MODULES = ("blocks.0.self_attn.q", "blocks.1.ffn.2", "blocks.0.cross_attn.o")
HIGH, LOW = "high_noise", "low_noise"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return describe(tiny_wan_directory(tmp_path_factory.mktemp("tiny"), sidecar=SIDECAR))


@pytest.fixture
def loras(tmp_path):
    """Two files of their own numbers, for the two experts."""
    paths = []
    for index, name in enumerate(("one", "two")):
        state = {}
        for module in MODULES:
            inside = DIT.ffn_dim if module.endswith("ffn.2") else DIT.dim
            state[f"diffusion_model.{module}.lora_down.weight"] = draw(10 * index + 1, 3, inside, scale=0.3)
            state[f"diffusion_model.{module}.lora_up.weight"] = draw(10 * index + 2, DIT.dim, 3, scale=0.3)
            state[f"diffusion_model.{module}.alpha"] = torch.tensor(6.0)
        state["diffusion_model.blocks.1.diff_m"] = draw(10 * index + 3, 1, 6, DIT.dim, scale=0.3)
        paths.append(write(tmp_path / f"{name}.safetensors", state))
    return paths


def planned(model, **request):
    wish = Request(prompt="a ball", **request)
    return plan(wish, model, CPU, lambda text: len(text.split()) + 1, loras=resolve_loras(wish, model))


def weights(network):
    return {name: parameter.clone() for name, parameter in network.named_parameters()}


def with_loras(base, *files):
    """Every change written out: W + strength·alpha/rank·up·down, and the modulation."""
    changed = dict(base)
    for path, strength in files:
        tensors = load_file(path)
        for module in MODULES:
            up, down = (tensors[f"diffusion_model.{module}.lora_{x}.weight"] for x in ("up", "down"))
            changed[f"{module}.weight"] = changed[f"{module}.weight"] + strength * (6 / 3) * (up @ down)
        modulation = tensors["diffusion_model.blocks.1.diff_m"]
        changed["blocks.1.modulation"] = changed["blocks.1.modulation"] + strength * modulation
    return changed


def check(network, expected):
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.data, expected[name], atol=1e-6, rtol=1e-6)


def opened(model, made):
    return OnDemand(model, torch.device("cpu"), "fp32", made.loras)


def test_every_expert_has_its_own_files_at_its_own_strengths(model, loras):
    one, two = map(str, loras)
    made = planned(
        model,
        lora=(LoraChoice(path=one, strength=0.5),),
        lora_high=(LoraChoice(path=two, strength=-0.25),),
        lora_low=(LoraChoice(path=two, strength=2.0),),
    )
    plain, networks = OnDemand(model, torch.device("cpu"), "fp32"), opened(model, made)
    base = {name: weights(plain.transformer(name)) for name in (HIGH, LOW)}
    check(networks.transformer(HIGH), with_loras(base[HIGH], (one, 0.5), (two, -0.25)))
    check(networks.transformer(LOW), with_loras(base[LOW], (one, 0.5), (two, 2.0)))
    check(networks.transformer(HIGH), with_loras(base[HIGH], (one, 0.5), (two, -0.25)))


def test_the_plain_weights_are_there_when_they_are_wanted(model, loras):
    made = planned(model, lora=(LoraChoice(path=str(loras[0])),))
    networks = opened(model, made)
    base = weights(OnDemand(model, torch.device("cpu"), "fp32").transformer(HIGH))
    plain = networks.transformer(HIGH, adapted=False)
    check(plain, base)
    adapted = networks.transformer(HIGH)
    assert adapted is plain, "merged in place, once"
    check(adapted, with_loras(base, (loras[0], 1.0)))
    check(networks.transformer(HIGH), with_loras(base, (loras[0], 1.0)))
    check(networks.transformer(HIGH, adapted=False), base)


def files_of(model, paths):
    every = [*sorted(Path(model.path).rglob("*.safetensors")), *paths]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in every}


def frames_of(made, tmp_path):
    tmp_path.mkdir()
    *_, last = LocalBackend(tmp_path).render(made)
    assert isinstance(last, Done), last
    return last.take.frames_sha256


def test_from_files_to_frames_and_nothing_on_disk_changes(model, loras, tmp_path):
    before = files_of(model, loras)
    with_lora = planned(model, lora_high=(LoraChoice(path=str(loras[0]), strength=3.0),))
    off = planned(model, lora_high=(LoraChoice(path=str(loras[0]), strength=0.0),))
    plain = planned(model)
    found = [frames_of(made, tmp_path / name) for name, made in (("a", with_lora), ("b", off), ("c", plain))]
    assert found[0] != found[2], "the LoRA does something"
    assert found[1] == found[2], "strength 0 is the base, bit by bit"
    assert len({made.fingerprint for made in (with_lora, off, plain)}) == 3
    assert files_of(model, loras) == before


def test_hybrid_from_files_to_frames(model, loras, tmp_path):
    wish = {"distilled": "hybrid", "lora": (LoraChoice(path=str(loras[0]), strength=3.0),)}
    made = planned(model, **wish)
    assert [(step.expert, step.adapted) for step in made.steps] == [
        (HIGH, False), (HIGH, False), (HIGH, True), (LOW, True), (LOW, True),
    ]  # fmt: skip
    every = made.model_copy(update={"steps": tuple(step.model_copy(update={"adapted": True}) for step in made.steps)})
    assert frames_of(made, tmp_path / "a") != frames_of(every, tmp_path / "b")


def test_another_file_than_planned_fails_with_the_reason(model, loras, tmp_path):
    made = planned(model, lora=(LoraChoice(path=str(loras[0])),))
    loras[0].write_bytes(loras[1].read_bytes())
    (tmp_path / "out").mkdir()
    *_, last = LocalBackend(tmp_path / "out").render(made)
    assert isinstance(last, Failed)
    assert "not the LoRA that was planned with" in last.message


def test_a_plan_for_another_model_is_refused(model, loras, tmp_path):
    made = planned(model, lora=(LoraChoice(path=str(loras[0])),))
    loras[0].unlink()
    write(loras[0], {"diffusion_model.blocks.0.self_attn.q.diff_b": torch.zeros(DIT.dim)})
    with pytest.raises(WrongVariant, match="not what was planned"):
        opened(model, made).transformer(HIGH)


def test_text_is_not_folded_over_weights_that_are_not_all(model, loras):
    network = OnDemand(model, torch.device("cpu"), "fp32").transformer(HIGH)
    lora = read_lora(loras[0])
    text, x, timestep = draw(1, 5, DIT.text_dim), draw(2, 1, 16, 2, 4, 4), torch.tensor([900.0])
    applied = apply_lora(network, load_deltas(lora, lora.changes, 3.0), merge=False)
    with torch.no_grad():
        beside = network(x, timestep, text_cache=project_text(network, [text]))
        folded = network(x, timestep, text_cache=network.fold_text(text[None]))
        applied.remove()
        apply_lora(network, load_deltas(lora, lora.changes, 3.0))
        merged = network(x, timestep, text_cache=project_text(network, [text]))
    torch.testing.assert_close(beside, merged, atol=5e-5, rtol=1e-4)
    assert (folded - merged).abs().max() > 1e-2, "what would have gone unnoticed"
