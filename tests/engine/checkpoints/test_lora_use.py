"""Wishes for LoRAs against the transformers of a model."""

import hashlib

import pytest
import torch
from tests.engine.lora_cases import factors, random_dit, state_in, write

from filmgate.engine.checkpoints.lora_use import check_unchanged, use_loras
from filmgate.spec import CheckpointError, DamagedFile, InvalidRequest, LoraChoice, MissingFile, WrongVariant

NETWORK = random_dit()
SHAPES = {name: tuple(parameter.shape) for name, parameter in NETWORK.named_parameters()}
PAIR = {"high_noise": SHAPES, "low_noise": SHAPES}
DENSE = {"dense": SHAPES}
STATE, _ = state_in("ComfyUI", factors(NETWORK))


@pytest.fixture
def lora(tmp_path):
    return write(tmp_path / "style.safetensors", STATE)


def choices(**wishes):
    return {field: [LoraChoice(path=str(path), strength=strength)] for field, (path, strength) in wishes.items()}


def test_one_for_all_is_one_for_each(lora):
    uses = use_loras(choices(lora=(lora, 0.5)), PAIR)
    assert [(use.expert, use.strength, use.changes, use.left_out) for use in uses] == [
        ("high_noise", 0.5, 20, ()), ("low_noise", 0.5, 20, ()),
    ]  # fmt: skip
    assert {use.sha256 for use in uses} == {hashlib.sha256(lora.read_bytes()).hexdigest()}
    assert [use.expert for use in use_loras(choices(lora=(lora, 1.0)), DENSE)] == ["dense"]


def test_each_expert_has_its_own_file_and_strength(lora, tmp_path):
    low = write(tmp_path / "low.safetensors", STATE)
    uses = use_loras(choices(lora_high=(lora, 1.5), lora_low=(low, -0.25)), PAIR)
    assert [(use.path, use.expert, use.strength) for use in uses] == [
        (str(lora), "high_noise", 1.5), (str(low), "low_noise", -0.25),
    ]  # fmt: skip


def test_a_file_with_two_sections_gives_each_expert_its_own(tmp_path):
    first, _ = state_in("Diffusers", factors(NETWORK))
    second = {k.replace("transformer.", "transformer_2."): v for k, v in list(first.items())[:8]}
    path = write(tmp_path / "both.safetensors", first | second)
    uses = use_loras(choices(lora=(path, 1.0)), PAIR)
    assert [(use.expert, use.section, use.changes) for use in uses] == [
        ("high_noise", "transformer", 20), ("low_noise", "transformer_2", 4),
    ]  # fmt: skip
    with pytest.raises(WrongVariant, match="made for a pair"):
        use_loras(choices(lora=(path, 1.0)), DENSE)
    only_low = write(tmp_path / "low.safetensors", second)
    assert [use.expert for use in use_loras(choices(lora=(only_low, 1.0)), PAIR)] == ["low_noise"]
    with pytest.raises(WrongVariant, match="nothing in it is for this expert"):
        use_loras(choices(lora_high=(only_low, 1.0)), PAIR)


def test_what_is_left_out_is_named(tmp_path):
    state = STATE | {"diffusion_model.blocks.9.ffn.0.diff_b": torch.zeros(40)}
    (use,) = use_loras(choices(lora=(write(tmp_path / "a.safetensors", state), 1.0)), DENSE)
    assert (use.changes, use.left_out) == (21, ("blocks.9.ffn.0.bias",))


def test_what_a_name_says_is_kept(tmp_path):
    path = write(tmp_path / "style_low_noise.safetensors", STATE)
    (use,) = use_loras(choices(lora_high=(path, 1.0)), PAIR)
    assert use.told == "low_noise"
    assert [use.told for use in use_loras(choices(lora=(path, 1.0)), DENSE)] == [""]


def test_nothing_that_fits_is_an_error(tmp_path):
    path = write(tmp_path / "a.safetensors", {"diffusion_model.blocks.9.ffn.0.diff_b": torch.zeros(40)})
    with pytest.raises(WrongVariant, match=r"of its 1 changes none has a place in this model.*blocks\.9"):
        use_loras(choices(lora=(path, 1.0)), PAIR)


@pytest.mark.parametrize("field", ["lora_high", "lora_low"])
def test_a_dense_model_has_no_experts(field, lora):
    with pytest.raises(InvalidRequest, match=rf"{field}: the model has one transformer.*Nearest valid: lora"):
        use_loras(choices(**{field: (lora, 1.0)}), DENSE)


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_a_strength_is_a_number(strength, lora):
    with pytest.raises(InvalidRequest, match=r"lora: .* is not a strength"):
        use_loras(choices(lora=(lora, strength)), PAIR)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingFile):
        use_loras(choices(lora=(tmp_path / "none.safetensors", 1.0)), PAIR)


def test_the_plan_is_of_the_very_file(lora):
    uses = use_loras(choices(lora=(lora, 1.0)), PAIR)
    check_unchanged(uses)
    write(lora, {name: tensor + 1 for name, tensor in STATE.items()})
    with pytest.raises(DamagedFile, match="not the LoRA that was planned with"):
        check_unchanged(uses)
    lora.unlink()
    with pytest.raises(CheckpointError):
        check_unchanged(uses)
