"""A test of the tests: every quiet mistake that tools make with LoRA files changes what one check sees.

The check merges one file that has a bit of everything and compares every tensor with sums written out by hand.
"""

import re

import pytest
import torch
from tests.engine.lora_cases import CONFIG, draw, factors, random_dit, theirs, write

from filmgate.engine.checkpoints import lora, lora_keys, lora_tensors
from filmgate.engine.runtime import lora as runtime

DTYPE = torch.bfloat16
MODULES = ("blocks.0.self_attn.q", "blocks.1.cross_attn.o", "blocks.0.ffn.0")
ALPHA, STRENGTH = 6.0, 0.75


def expected(base, pairs, differences):
    """W + strength·alpha/rank·up·down + strength·difference, for two strengths at once, rounded once."""
    result = {}
    for name, value in base.items():
        total = value.double()
        for strength in (STRENGTH, -0.5):
            module = name.removesuffix(".weight")
            if module in pairs:
                down, up = pairs[module]
                total = total + strength * (ALPHA / down.shape[0]) * (up.double() @ down.double())
            if name in differences:
                total = total + strength * differences[name].double()
        result[name] = total.to(DTYPE)
    return result


DIFFERENCES = {
    "blocks.0.norm3.weight": draw(1, CONFIG.dim),
    "blocks.0.norm3.bias": draw(2, CONFIG.dim),
    "blocks.0.self_attn.q.bias": draw(3, CONFIG.dim),
    "blocks.1.modulation": draw(4, 1, 6, CONFIG.dim),
    "head.modulation": draw(5, 1, 2, CONFIG.dim),
}


def check(folder):
    """One file in ComfyUI's and in Diffusers' names, with factors, alphas and differences, applied twice."""
    network = random_dit(dtype=DTYPE)
    base = {name: parameter.clone() for name, parameter in network.named_parameters()}
    pairs = factors(network, MODULES)
    state = {}
    for module, (down, up) in pairs.items():
        state[f"lora_unet_{module.replace('.', '_')}.lora_down.weight"] = down
        state[f"lora_unet_{module.replace('.', '_')}.lora_up.weight"] = up
        state[f"lora_unet_{module.replace('.', '_')}.alpha"] = torch.tensor(ALPHA)
    state["transformer.blocks.0.norm2.diff"] = DIFFERENCES["blocks.0.norm3.weight"]
    state["transformer.blocks.0.norm2.diff_b"] = DIFFERENCES["blocks.0.norm3.bias"]
    state["lora_unet_blocks_0_self_attn_q.diff_b"] = DIFFERENCES["blocks.0.self_attn.q.bias"]
    state["diffusion_model.blocks.1.diff_m"] = DIFFERENCES["blocks.1.modulation"]
    state["diffusion_model.head.diff_m"] = DIFFERENCES["head.modulation"]
    read = lora.read_lora(write(folder / "a.safetensors", state))
    shapes = {name: tuple(value.shape) for name, value in base.items()}
    coverage = lora.cover(read.changes, shapes)
    deltas = [
        *lora_tensors.load_deltas(read, coverage.matched, STRENGTH),
        *lora_tensors.load_deltas(read, coverage.matched, -0.5),
    ]
    runtime.apply_lora(network, deltas)
    for name, value in expected(base, pairs, DIFFERENCES).items():
        found = network.get_parameter(name)
        # A sum in fp32 may fall on the other side of a tie; one in bf16 is off in a third of all numbers.
        assert (found == value).float().mean() > 0.995, name
    check_metadata(folder)
    check_sections(folder)


def check_metadata(folder):
    state = {
        f"transformer.{theirs(MODULES[0])}.lora_{x}.weight": draw(1, *s)
        for x, s in {"A": (4, 24), "B": (24, 4)}.items()
    }
    path = write(folder / "b.safetensors", state, {"lora_adapter_metadata": '{"transformer.lora_alpha": 12}'})
    assert [change.scale for change in lora.read_lora(path).changes] == [3.0]


def check_sections(folder):
    keys = [f"{prefix}{theirs(MODULES[0])}" for prefix in ("transformer.", "transformer_2.")]
    state = {f"{key}.lora_{x}.weight": draw(1, *s) for key in keys for x, s in {"A": (4, 24), "B": (24, 4)}.items()}
    both = lora.read_lora(write(folder / "c.safetensors", state))
    assert (both.section_for("high_noise"), both.section_for("low_noise")) == ("transformer", "transformer_2")


def alpha_is_ignored(patch):
    patch.setattr(
        lora, "_scalar", lambda records, name: records.tensors[name.replace("alpha", "lora_down.weight")].shape[0]
    )


def alpha_is_not_divided_by_the_rank(patch):
    original = lora._scalar
    rank = 4
    patch.setattr(lora, "_scalar", lambda records, name: original(records, name) * rank)


def alpha_of_the_metadata_is_ignored(patch):
    patch.setattr(lora._Stated, "scale", lambda *_: (1.0, None))


def differences_are_scaled_by_alpha(patch):
    original = lora._changes

    def changes(*args):
        for change in original(*args):
            yield lora.Change(**{**vars(change), "scale": 1.5}) if change.full else change

    patch.setattr(lora, "_changes", changes)


def strength_is_applied_to_both_factors(patch):
    original = lora_tensors.load_deltas
    patch.setattr(lora_tensors, "load_deltas", lambda read, changes, strength: original(read, changes, strength**2))


def without(patch, *roles):
    original = lora_keys.parse_key

    def parse_key(name):
        key = original(name)
        return None if key is not None and key.role in roles else key

    patch.setattr(lora, "parse_key", parse_key)


def modulations_are_ignored(patch):
    without(patch, "modulation")


def biases_are_ignored(patch):
    without(patch, "bias")


def full_weights_are_ignored(patch):
    without(patch, "weight")


def norm2_is_taken_for_the_originals(patch):
    original = lora_keys.original_name
    patch.setattr(lora_keys, "original_name", lambda name: name if "norm2" in name else original(name))


def every_underscore_is_a_dot(patch):
    patch.setattr(lora_keys, "_unflattened", lambda flat: re.sub("_", ".", flat))


def first_transformer_is_the_low_noise_expert(patch):
    patch.setattr(lora, "_SECTION_OF", {"low_noise": "transformer", "high_noise": "transformer_2"})


def one_is_rounded_after_the_other(patch):
    def merge(self, name, parameter, deltas, offload):
        for delta in deltas:
            total = parameter.detach().float()
            delta.add_to(total)
            parameter.data = total.to(parameter.dtype)

    patch.setattr(runtime.Applied, "_merge", merge)


def summed_in_half_precision(patch):
    def add_to(self, total):
        product = self.full if self.up is None else self.up.to(DTYPE) @ self.down.to(DTYPE)
        total.add_((product.to(DTYPE) * self.scale).view(total.shape))

    patch.setattr(runtime.Delta, "add_to", add_to)


def factors_the_other_way_round(patch):
    original = lora_tensors.load_deltas

    def load_deltas(*args):
        deltas = original(*args)
        for delta in deltas:
            if delta.up is not None and delta.up.shape[0] == delta.down.shape[1]:
                object.__setattr__(delta, "up", delta.down.T), object.__setattr__(delta, "down", delta.up.T)
        return deltas

    patch.setattr(lora_tensors, "load_deltas", load_deltas)


MUTATIONS = (
    alpha_is_ignored, alpha_is_not_divided_by_the_rank, alpha_of_the_metadata_is_ignored,
    differences_are_scaled_by_alpha, strength_is_applied_to_both_factors, modulations_are_ignored, biases_are_ignored,
    full_weights_are_ignored, norm2_is_taken_for_the_originals, every_underscore_is_a_dot,
    first_transformer_is_the_low_noise_expert, one_is_rounded_after_the_other, summed_in_half_precision,
    factors_the_other_way_round,
)  # fmt: skip


def test_the_code_passes(tmp_path):
    check(tmp_path)


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_mistake_fails(mutate, monkeypatch, tmp_path):
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        check(tmp_path)
