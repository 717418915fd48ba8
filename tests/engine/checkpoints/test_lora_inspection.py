"""The LoRA doctor: verdicts on files of every kind, and the table of published transformers behind them."""

import pytest
import torch
from tests.engine.lora_cases import CONFIG, DIALECTS, MODULES, diffusers_metadata, factors, random_dit, state_in, write

from filmgate.direction.architectures import describe_published
from filmgate.engine.checkpoints.lora_inspection import _SIZES, Against, dit_shapes, inspect_lora, of_published
from filmgate.engine.checkpoints.tensors import build_empty
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT

NETWORK = random_dit()
SHAPES = {name: tuple(parameter.shape) for name, parameter in NETWORK.named_parameters()}
TINY = Against("tiny", {"dense": SHAPES})
PAIR = Against("tiny", {"high_noise": SHAPES, "low_noise": SHAPES})
PARAMETERS = {
    "Wan 2.1 T2V-1.3B": 1_418_996_800, "Wan 2.1 T2V-14B": 14_288_491_584, "Wan 2.2 T2V-A14B": 14_288_491_584,
    "Wan 2.1 I2V-14B": 16_394_878_784, "Wan 2.1 FLF2V-14B": 16_395_536_704, "Wan 2.2 I2V-A14B": 14_288_901_184,
    "Wan 2.2 TI2V-5B": 4_999_787_712, "Wan 2.1 VACE-1.3B": 2_153_972_032, "Wan 2.1 VACE-14B": 17_337_592_896,
    "Wan 2.2 VACE-Fun-A14B": 17_337_592_896,
}  # fmt: skip
VACE_LAYERS = {15: tuple(range(0, 30, 2)), 8: tuple(range(0, 40, 5)), 0: ()}


@pytest.mark.parametrize("name", _SIZES)
def test_the_table_has_the_tensors_of_our_own_transformer(name):
    sizes = _SIZES[name]
    config = DitConfig(
        dim=sizes.dim, ffn_dim=sizes.ffn, num_heads=sizes.dim // 128, num_layers=sizes.layers,
        in_dim=sizes.channels_in, out_dim=sizes.channels_out, image_dim=sizes.image, image_positions=sizes.positions,
        vace_layers=VACE_LAYERS[sizes.vace],
    )  # fmt: skip
    network = build_empty(lambda: WanDiT(config))
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    assert dit_shapes(sizes) == shapes
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == PARAMETERS[name]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gets_its_verdict(dialect, tmp_path):
    state, scale = state_in(dialect, factors(NETWORK))
    facts = inspect_lora(write(tmp_path / "style.safetensors", state), TINY)
    assert facts.dialect == DIALECTS[dialect][0]
    assert (facts.ranks, facts.alphas) == ((4,), (None,) if scale == 1 else (6.0,))
    assert (facts.low_rank, facts.full, facts.made_for) == (len(MODULES), 0, ())
    (match,) = facts.matches
    assert (match.model, match.matched, match.changes, match.rest) == ("tiny", 20, 20, ())
    assert "tiny: 20 of 20 changes (100.0%)" in str(facts)
    assert "warning" not in str(facts)


def published_lora(path, dim=5120, ffn=13824, extra=(), **names):
    """The header of a LoRA for a published width, in little memory: rank 1, expanded on disk only."""
    state = {}
    for index in range(2):
        for module, (rows, columns) in {"self_attn.q": (dim, dim), "ffn.2": (dim, ffn)}.items():
            state[f"diffusion_model.blocks.{index}.{module}.lora_down.weight"] = torch.zeros(1, columns)
            state[f"diffusion_model.blocks.{index}.{module}.lora_up.weight"] = torch.zeros(rows, 1)
    for key, shape in dict(extra).items():
        state[f"diffusion_model.{key}"] = torch.zeros(shape)
    return write(path, state, names or None)


@pytest.mark.parametrize(
    ("dim", "ffn", "extra", "made_for"),
    [
        (1536, 8960, {}, ("Wan 2.1 T2V-1.3B",)),
        (3072, 14336, {}, ("Wan 2.2 TI2V-5B",)),
        (5120, 13824, {"blocks.0.cross_attn.k_img.diff_b": (5120,)}, ("Wan 2.1 I2V-14B", "Wan 2.1 FLF2V-14B")),
        (5120, 13824, {"patch_embedding.diff": (5120, 16, 1, 2, 2)}, ("Wan 2.1 T2V-14B", "Wan 2.2 T2V-A14B")),
        (
            5120, 13824, {"patch_embedding.diff": (5120, 36, 1, 2, 2)},
            ("Wan 2.1 I2V-14B", "Wan 2.1 FLF2V-14B", "Wan 2.2 I2V-A14B"),
        ),
        (1536, 8960, {"vace_blocks.14.self_attn.q.diff_b": (1536,)}, ("Wan 2.1 VACE-1.3B",)),
        (
            5120, 13824, {"vace_blocks.7.after_proj.diff_b": (5120,)}, ("Wan 2.1 VACE-14B", "Wan 2.2 VACE-Fun-A14B"),
        ),
    ],
)  # fmt: skip
def test_what_it_was_made_for_is_known_by_its_shapes(dim, ffn, extra, made_for, tmp_path):
    facts = inspect_lora(published_lora(tmp_path / "a.safetensors", dim, ffn, extra))
    assert facts.made_for == made_for
    assert [match.model for match in facts.matches] == list(made_for)
    assert all(match.share == 1 for match in facts.matches)


@pytest.mark.parametrize(
    ("name", "metadata", "expert", "by"),
    [
        ("wan22_high_noise_4steps.safetensors", {}, "high_noise", "file name"),
        ("style-LowNoise.safetensors", {}, "low_noise", "file name"),
        ("style.safetensors", {"ss_output_name": "style_low_noise"}, "low_noise", "metadata (ss_output_name)"),
        ("style.safetensors", {}, "", ""),
    ],
)
def test_its_expert_is_what_somebody_wrote(name, metadata, expert, by, tmp_path):
    facts = inspect_lora(published_lora(tmp_path / name, **metadata))
    assert (facts.expert, facts.expert_by) == (expert, by)
    assert ("nothing in its name or metadata tells" in str(facts)) == (not expert)


def test_a_partial_match_lists_all_the_rest(tmp_path):
    state, _ = state_in("ComfyUI", factors(NETWORK))
    state |= {f"diffusion_model.blocks.{i}.self_attn.q.diff_b": torch.zeros(24) for i in range(2, 30)}
    facts = inspect_lora(write(tmp_path / "a.safetensors", state | {"stray": torch.zeros(1)}), TINY)
    assert (facts.matches[0].matched, len(facts.matches[0].rest)) == (20, 28)
    text = str(facts)
    assert "20 of 48 changes (41.7%)" in text
    assert "warning: 28 changes have no place in tiny" in text
    assert all(f"blocks.{i}.self_attn.q.bias: the model has no such tensor" in text for i in range(2, 30))
    assert "warning: 1 key is no part of a LoRA\n  stray" in text


def test_an_alpha_of_zero_is_told(tmp_path):
    state, _ = state_in("ComfyUI", factors(NETWORK), alpha=0.0)
    facts = inspect_lora(write(tmp_path / "a.safetensors", state), TINY)
    assert facts.alphas == (0.0,)
    assert "warning: an alpha of 0 switches its changes off" in str(facts)


def test_nothing_that_fits_is_a_problem_and_all_else_is_told(tmp_path):
    facts = inspect_lora(published_lora(tmp_path / "a.safetensors"), TINY)
    assert facts.problem == (
        "Of its 4 changes none has a place in tiny: blocks.0.ffn.2.weight: made for 5120x13824, the model has 24x40."
    )
    assert (facts.dialect, facts.ranks, facts.width) == ("ComfyUI", (1,), 5120)
    assert "tiny: 0 of 4 changes (0.0%)" in str(facts)


def test_a_size_that_was_never_published_is_told_with_all_the_rest(tmp_path):
    state, _ = state_in("kohya", factors(NETWORK))
    facts = inspect_lora(write(tmp_path / "high_noise.safetensors", state))
    assert facts.problem.startswith("No published model has a place for any of its changes; --model compares")
    assert (facts.dialect, facts.ranks, facts.alphas, facts.low_rank) == ("kohya", (4,), (6.0,), 20)
    assert (facts.expert, facts.made_for, facts.matches, facts.width) == ("high_noise", (), (), 24)
    assert "no published model: its attention is 24 wide" in str(facts)


def test_a_lora_for_two_transformers_on_a_model_with_one(tmp_path):
    first, _ = state_in("Diffusers", factors(NETWORK))
    second = {k.replace("transformer.", "transformer_2."): v for k, v in first.items()}
    facts = inspect_lora(write(tmp_path / "a.safetensors", first | second), TINY)
    assert facts.problem == (
        "It is for transformer and transformer_2, and tiny has one transformer for all noise levels."
    )


def test_a_pair_is_compared_expert_by_expert(tmp_path):
    first, _ = state_in("Diffusers", factors(NETWORK))
    second = {k.replace("transformer.", "transformer_2."): v for k, v in list(first.items())[:8]}
    facts = inspect_lora(write(tmp_path / "a.safetensors", first | second, diffusers_metadata(lora_alpha=8)), PAIR)
    assert [(m.model, m.changes) for m in facts.matches] == [
        ("tiny, high-noise expert", 20), ("tiny, low-noise expert", 4),
    ]  # fmt: skip
    assert facts.sections == ("transformer", "transformer_2")
    assert "both: transformer, transformer_2" in str(facts)
    assert facts.alphas == (None, 8.0), "the metadata speak of the first only"


def test_it_does_not_matter_how_large_the_tensors_are(tmp_path):
    path = published_lora(tmp_path / "a.safetensors")
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    sparse = tmp_path / "sparse.safetensors"
    with sparse.open("wb") as file:
        file.write(path.read_bytes()[:header])
        file.truncate(path.stat().st_size)
    assert inspect_lora(sparse).made_for == inspect_lora(path).made_for
    assert CONFIG.dim == 24


@pytest.mark.parametrize(
    ("variant", "title", "experts"),
    [
        ("wan2.2-t2v-a14b", "Wan 2.2 T2V-A14B", ["high_noise", "low_noise"]),
        ("wan2.2-vace-a14b", "Wan 2.2 VACE-Fun-A14B", ["high_noise", "low_noise"]),
        ("wan2.2-ti2v-5b", "Wan 2.2 TI2V-5B", ["dense"]),
        ("wan2.1-t2v-1.3b", "Wan 2.1 T2V-1.3B", ["dense"]),
    ],
)
def test_a_published_model_is_compared_with_by_its_public_name(variant, title, experts):
    found = of_published(variant)
    assert (found.model, list(found.experts)) == (title, experts)
    width = describe_published(variant).dit.dim
    assert next(iter(found.experts.values()))["blocks.0.self_attn.q.weight"] == (width, width)


def test_what_has_no_list_of_tensors_is_not_compared_with():
    assert of_published("wan2.2-camera-5b") is None
