"""LoRA files in every dialect: which tensors they change, how strongly, and what is refused."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.lora_cases import (
    ALPHA,
    CONFIG,
    DIALECTS,
    MODULES,
    RANK,
    diffusers_metadata,
    draw,
    factors,
    random_dit,
    state_in,
    write,
)

from filmgate.engine.checkpoints.lora import cover, read_lora
from filmgate.engine.checkpoints.lora_keys import original_name, parse_key
from filmgate.engine.checkpoints.lora_tensors import load_deltas
from filmgate.engine.checkpoints.names import DIFFUSERS_DIT
from filmgate.spec import CheckpointError, DamagedFile, MissingFile, MissingTensor, WrongDtype, WrongShape, WrongVariant

NETWORK = random_dit()
SHAPES = {name: tuple(parameter.shape) for name, parameter in NETWORK.named_parameters()}
PAIRS = factors(NETWORK)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_read_as_the_same_changes(dialect, tmp_path):
    state, scale = state_in(dialect, PAIRS)
    lora = read_lora(write(tmp_path / "lora.safetensors", state))
    assert lora.dialect == DIALECTS[dialect][0]
    assert {change.target for change in lora.changes} == {f"{module}.weight" for module in MODULES}
    assert {(change.rank, change.scale, change.alpha) for change in lora.changes} == {
        (RANK, scale, ALPHA if scale != 1 else None)
    }
    assert lora.unknown == () == lora.sections
    assert cover(lora.changes, SHAPES).share == 1
    for delta in load_deltas(lora, lora.changes, 0.5):
        down, up = PAIRS[delta.target.removesuffix(".weight")]
        assert torch.equal(delta.down, down)
        assert torch.equal(delta.up, up)
        assert delta.scale == scale * 0.5


OURS = [rule[0] for rule in DIFFUSERS_DIT.rules]


@given(st.sampled_from(DIFFUSERS_DIT.rules), st.integers(0, 120))
def test_a_flattened_name_is_any_module_of_the_table_under_both_its_names(rule, number):
    ours, theirs = (template.replace("{}", str(number)) for template in rule)
    for name in (ours, theirs):
        key = parse_key(f"lora_unet_{name.replace('.', '_')}.lora_down.weight")
        assert (key.module, key.role) == (ours, "down")
        assert original_name(name) == ours


@pytest.mark.parametrize(
    ("flat", "module"),
    [
        ("blocks_12_cross_attn_k_img", "blocks.12.cross_attn.k_img"),
        ("blocks_3_self_attn_norm_q", "blocks.3.self_attn.norm_q"),
        ("blocks_0_cross_attn_norm_k_img", "blocks.0.cross_attn.norm_k_img"),
        ("text_embedding_0", "text_embedding.0"),
        ("time_projection_1", "time_projection.1"),
        ("head_head", "head.head"),
        ("blocks_0_ffn_2", "blocks.0.ffn.2"),
        ("blocks_0_ffn_net_0_proj", "blocks.0.ffn.0"),
        ("blocks_0_norm2", "blocks.0.norm3"),
        ("blocks_0_norm3", "blocks.0.norm3"),
    ],
)
def test_underscores_of_names_are_not_dots(flat, module):
    assert parse_key(f"lora_unet_{flat}.lora_up.weight").module == module


def full_differences():
    """What LightX2V's files have beside factors."""
    return {
        "diffusion_model.blocks.0.self_attn.q.diff_b": draw(1, CONFIG.dim),
        "diffusion_model.blocks.0.norm3.diff": draw(2, CONFIG.dim),
        "diffusion_model.blocks.0.norm3.diff_b": draw(3, CONFIG.dim),
        "diffusion_model.blocks.0.self_attn.norm_q.diff": draw(4, CONFIG.dim),
        "diffusion_model.blocks.1.diff_m": draw(5, 1, 6, CONFIG.dim),
        "diffusion_model.head.diff_m": draw(6, 1, 2, CONFIG.dim),
        "diffusion_model.head.head.diff": draw(7, 64, CONFIG.dim),
        "diffusion_model.patch_embedding.diff": draw(8, CONFIG.dim, 16, 1, 2, 2),
        "diffusion_model.blocks.0.modulation.diff": draw(9, 6, CONFIG.dim),
    }


DIFFERENCES = {
    "blocks.0.self_attn.q.bias", "blocks.0.norm3.weight", "blocks.0.norm3.bias", "blocks.0.self_attn.norm_q.weight",
    "blocks.1.modulation", "head.modulation", "head.head.weight", "patch_embedding.weight", "blocks.0.modulation",
}  # fmt: skip


def test_full_differences_name_weights_biases_and_modulations(tmp_path):
    state, _ = state_in("ComfyUI", PAIRS)
    lora = read_lora(write(tmp_path / "lora.safetensors", state | full_differences()))
    assert lora.dialect == "LightX2V"
    full = [change for change in lora.changes if change.full]
    assert {change.target for change in full} == DIFFERENCES
    assert {change.scale for change in full} == {1.0}, "alpha is of the factors only"
    assert cover(lora.changes, SHAPES).rest == ()


def test_a_bias_of_peft_is_scaled_with_the_factors(tmp_path):
    state, _ = state_in("Diffusers", dict([next(iter(PAIRS.items()))]))
    state["transformer.blocks.0.attn1.to_q.lora_B.bias"] = draw(1, CONFIG.dim)
    lora = read_lora(write(tmp_path / "a.safetensors", state, diffusers_metadata(r=RANK, lora_alpha=12)))
    assert {change.target: change.scale for change in lora.changes} == {
        "blocks.0.self_attn.q.weight": 3.0, "blocks.0.self_attn.q.bias": 3.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "scale"),
    [
        ({"r": RANK, "lora_alpha": 12}, 12 / RANK),
        ({"r": RANK, "lora_alpha": 12, "use_rslora": True}, 12 / RANK**0.5),
        ({"r": RANK, "lora_alpha": 12, "alpha_pattern": {"blocks.0.attn1.to_q": 2}}, 2 / RANK),
        ({"r": RANK, "lora_alpha": 12, "alpha_pattern": {"to_q": 2}}, 2 / RANK),
        ({"r": RANK, "lora_alpha": 12, "alpha_pattern": {"o_q": 2}}, 12 / RANK),
        ({"r": RANK}, 1.0),
    ],
)
def test_the_alpha_of_the_metadata_counts(fields, scale, tmp_path):
    state, _ = state_in("Diffusers", dict([next(iter(PAIRS.items()))]))
    (change,) = read_lora(write(tmp_path / "a.safetensors", state, diffusers_metadata(**fields))).changes
    assert change.scale == pytest.approx(scale)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_an_alpha_is_a_number_of_any_format(dtype, shape, tmp_path):
    state, _ = state_in("ComfyUI", PAIRS)
    state = {k: torch.full(shape, 8, dtype=dtype) if k.endswith(".alpha") else v for k, v in state.items()}
    assert {c.alpha for c in read_lora(write(tmp_path / "a.safetensors", state)).changes} == {8.0}


def test_a_file_for_both_experts_has_two_sections(tmp_path):
    first, _ = state_in("Diffusers", PAIRS)
    second = {name.replace("transformer.", "transformer_2."): value * 2 for name, value in first.items()}
    lora = read_lora(write(tmp_path / "a.safetensors", first | second))
    assert [lora.section_for(name) for name in ("high_noise", "low_noise", "dense")] == [
        "transformer", "transformer_2", None,
    ]  # fmt: skip
    assert len(lora.changes_in("transformer_2")) == len(MODULES) == len(lora.changes) / 2
    only_low = read_lora(write(tmp_path / "b.safetensors", second))
    assert [only_low.section_for(name) for name in ("high_noise", "low_noise")] == [None, "transformer_2"]
    only_first = read_lora(write(tmp_path / "c.safetensors", first))
    assert [only_first.section_for(name) for name in ("high_noise", "low_noise", "dense")] == [""] * 3


def test_what_has_no_place_is_named(tmp_path):
    state, _ = state_in("ComfyUI", PAIRS)
    state["diffusion_model.blocks.0.cross_attn.k_img.diff_b"] = draw(1, CONFIG.dim)
    state["diffusion_model.blocks.9.self_attn.q.diff_b"] = draw(1, CONFIG.dim)
    state["diffusion_model.patch_embedding.diff"] = draw(1, CONFIG.dim, 36, 1, 2, 2)
    state["something_else"] = draw(1, 3)
    lora = read_lora(write(tmp_path / "a.safetensors", state))
    coverage = cover(lora.changes, SHAPES)
    assert lora.unknown == ("something_else",)
    assert sorted(coverage.rest) == [
        "blocks.0.cross_attn.k_img.bias: the model has no such tensor",
        "blocks.9.self_attn.q.bias: the model has no such tensor",
        "patch_embedding.weight: made for 24x36x1x2x2, the model has 24x16x1x2x2",
    ]
    assert coverage.share == pytest.approx(len(MODULES) / (len(MODULES) + 3))


def one(suffixes):
    return {f"diffusion_model.blocks.0.self_attn.q{name}": value for name, value in suffixes.items()}


PAIR = {".lora_down.weight": draw(1, 4, 24), ".lora_up.weight": draw(2, 24, 4)}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"blocks.0.self_attn.q.weight": draw(1, 24, 24)}, WrongVariant, "not a LoRA"),
        (one({".alpha": torch.tensor(4.0)}), WrongVariant, "not a LoRA"),
        (one({".lora_down.weight": draw(1, 4, 24)}), MissingTensor, "one is missing"),
        (one({".lora_up.weight": draw(1, 24, 4)}), MissingTensor, "one is missing"),
        (one({**PAIR, ".lora_up.weight": draw(1, 24, 5)}), WrongShape, r"do not fit.*expected \(rows, 4\)"),
        (one({**PAIR, ".lora_down.weight": draw(1, 4)}), WrongShape, "do not fit"),
        (one({".lora_down.weight": draw(1, 0, 24), ".lora_up.weight": draw(1, 24, 0)}), WrongShape, "do not fit"),
        (one({name: value.to(torch.int8) for name, value in PAIR.items()}), WrongDtype, "not weights.*int8"),
        (one({".diff_b": torch.zeros(24, dtype=torch.bool)}), WrongDtype, "not weights"),
        (one({**PAIR, ".alpha": draw(1, 2)}), WrongShape, "alpha is not one number"),
        (one({**PAIR, ".alpha": torch.tensor(float("nan"))}), DamagedFile, "alpha is not a number"),
        (one({**PAIR, ".dora_scale": draw(1, 24, 1)}), WrongVariant, "not a plain LoRA.*dora_scale.*found DoRA"),
        (one({**PAIR, ".lora_magnitude_vector.default.weight": draw(1, 24)}), WrongVariant, "found DoRA"),
        (one({".hada_w1_a": draw(1, 24, 4)}), WrongVariant, "not a plain LoRA.*found LoHa"),
        (one({".lokr_w1": draw(1, 24, 4)}), WrongVariant, "not a plain LoRA.*found LoKr"),
        (one({**PAIR, ".lora_mid.weight": draw(1, 4, 4)}), WrongVariant, "found LoCon"),
        (one({".oft_blocks": draw(1, 24, 4)}), WrongVariant, "found OFT"),
        (one({**PAIR, ".set_weight": draw(1, 24, 24)}), WrongVariant, "found a weight that replaces the model's"),
        (one({**PAIR, ".lora_A.weight": draw(1, 4, 24)}), DamagedFile, "two tensors for one place"),
    ],
)
def test_what_cannot_be_applied_rightly_is_refused(state, error, message, tmp_path):
    with pytest.raises(error, match=message):
        read_lora(write(tmp_path / "a.safetensors", state))


def test_dora_is_refused_by_the_metadata_too(tmp_path):
    state, _ = state_in("Diffusers", PAIRS)
    with pytest.raises(WrongVariant, match="DoRA"):
        read_lora(write(tmp_path / "a.safetensors", state, diffusers_metadata(lora_alpha=4, use_dora=True)))


@pytest.mark.parametrize("fields", [{"lora_alpha": "x"}, {"lora_alpha": True}, {"alpha_pattern": {"(a+)+$": 2}}])
def test_an_alpha_that_is_not_understood_is_not_guessed(fields, tmp_path):
    state, _ = state_in("Diffusers", PAIRS)
    with pytest.raises(DamagedFile):
        read_lora(write(tmp_path / "a.safetensors", state, diffusers_metadata(**fields)))


def test_a_file_that_is_not_there_is_told_with_what_is_like_it(tmp_path):
    write(tmp_path / "style_high.safetensors", {"x": torch.ones(1)})
    with pytest.raises(MissingFile, match=r"no such file.*found only style_high\.safetensors beside it"):
        read_lora(tmp_path / "style_hgih.safetensors")
    with pytest.raises(MissingFile, match=r"wrote\.$"):
        read_lora(tmp_path / "sdxl.safetensors")  # to share the suffix is not to be alike
    with pytest.raises(MissingFile, match=r"no such file or directory; expected a LoRA file.*wrote\.$"):
        read_lora(tmp_path / "nowhere" / "style.safetensors")


def test_a_directory_without_a_lora(tmp_path):
    with pytest.raises(MissingFile, match="no LoRA in this directory"):
        read_lora(tmp_path)


def test_a_pickled_file_is_read_and_its_alpha_refused(tmp_path):
    state, _ = state_in("DiffSynth", PAIRS)
    torch.save(state, tmp_path / "a.pt")
    assert len(read_lora(tmp_path / "a.pt").changes) == len(MODULES)
    torch.save(state | {"blocks.0.self_attn.q.alpha": torch.tensor(4.0)}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"alpha cannot be read from this format.*safetensors"):
        read_lora(tmp_path / "b.pt")


PARTS = (
    ".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight", ".lora_B.bias", ".alpha", ".diff",
    ".diff_b", ".diff_m", ".lora_A.one.weight", "_lora.up.weight", ".weight", "",
)  # fmt: skip
STEMS = (
    "lora_unet_blocks_0_self_attn_q", "lora_unet_", "transformer.blocks.0.attn1.to_q", "transformer_2.proj_out",
    "diffusion_model.blocks.0", "blocks.99999999999999999999.ffn.0", "base_model.model.", "head", "",
)  # fmt: skip
ENTRIES = st.dictionaries(
    st.builds("{}{}".format, st.sampled_from(STEMS), st.sampled_from(PARTS)).filter(bool),
    st.tuples(st.lists(st.integers(0, 5), max_size=4), st.sampled_from([torch.float32, torch.int8, torch.bool])),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(ENTRIES, st.dictionaries(st.sampled_from(["lora_adapter_metadata", "name"]), st.text(max_size=30)))
def test_any_file_is_read_or_refused_by_name(entries, metadata):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        write(path, {name: torch.zeros(shape, dtype=dtype) for name, (shape, dtype) in entries.items()}, metadata)
        try:
            lora = read_lora(path)
        except CheckpointError:
            return
        coverage = cover(lora.changes, SHAPES)
        assert len(coverage.matched) + len(coverage.rest) == len(lora.changes) > 0
        assert len(load_deltas(lora, coverage.matched, 1.0)) == len(coverage.matched)
