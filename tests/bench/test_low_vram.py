"""The measuring of streamed weights: whole on tiny networks, and what it claims."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import claims
import low_vram
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT

SCRIPT = Path(low_vram.__file__)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The record of a trial of four parts."""
    out = tmp_path_factory.mktemp("low") / "out.json"
    subprocess.run(
        [sys.executable, SCRIPT, "--smoke", "--json", out, "--only", "load", "a14b", "a14b-fp8", "a14b-mapped"],
        check=True, capture_output=True,
    )  # fmt: skip
    return out, json.loads(out.read_text())


def test_a_trial_runs_every_step_both_ways(smoke):
    parts = smoke[1]["parts"]
    assert set(parts) == {"load", "a14b", "a14b-fp8", "a14b-mapped"}
    for name, host in (("a14b", "pinned"), ("a14b-fp8", "pinned"), ("a14b-mapped", "mapped")):
        assert parts[name]["host"] == host
        assert parts[name]["identical"] is True
        for kind, steps in (("streamed", 2), ("resident", 1)):
            assert len(parts[name][kind]["step_seconds"]) == steps
            assert len(parts[name][kind]["passes"]) == 2 * steps
    assert parts["load"]["host"]["must_be_resident_gib"] >= 0


def test_bytes_that_are_copied_are_those_of_the_blocks(smoke):
    """The tiny model's two blocks stay in the two buffers, so that each is copied once for the step's expert; in eight
    bits a matrix has a byte for each number, and a scale for each row."""
    row = low_vram.row_of("a14b", small=True)
    with torch.device("meta"):
        blocks = WanDiT(row.sizes.dit).text_blocks()
    parameters = [(f"blocks.0.{name}", tensor) for name, tensor in blocks[0].named_parameters()]
    wide = {name: (4 if low_vram.FP32_MODULES.search(name) else 2) * tensor.numel() for name, tensor in parameters}
    narrow = {name: tensor.numel() + 4 * len(tensor) for name, tensor in parameters if tensor.ndim == 2}
    for part, weights, sizes in (
        ("a14b", "as_computed", wide), ("a14b-fp8", "fp8", wide | narrow), ("a14b-mapped", "as_computed", wide),
    ):  # fmt: skip
        found = smoke[1]["parts"][part]
        assert found["weights"] == weights
        expected = len(blocks) * sum(sizes.values()) / low_vram.GIB
        assert found["streamed"]["copied_gib"] == pytest.approx([expected, expected], rel=1e-4)
        assert found["resident"]["copied_gib"] == [0]


def test_a_trial_claims_nothing(smoke, tmp_path):
    with pytest.raises(ValueError, match="trial"):
        low_vram.merge(smoke[0], None, tmp_path)


def test_a_run_claims_slowdown_memory_and_overhead(smoke, tmp_path):
    content = {**smoke[1], "mode": "true"}
    content["parts"]["a14b"] |= {"hardware": "a card", "slowdown": 1.07}
    content["parts"]["a14b-fp8"] |= {"hardware": "a card", "slowdown": 1.02}
    content["parts"]["a14b"]["resident"] |= {"passes": [13.0, 11.2]}
    content["parts"]["load"] |= {"hardware": "a card", "overhead_gib": 0.4}
    run = tmp_path / "run.json"
    run.write_text(json.dumps(content))
    found = {claim.id: claim for claim in claims.read(low_vram.merge(run, "abc", tmp_path / "results").parent)}
    assert found["gpu.a14b.24gb_slowdown"].met
    assert found["gpu.load_host_overhead_gib"].met
    assert (found["gpu.a14b.24gb_slowdown"].value, found["gpu.a14b.24gb_slowdown"].goal) == (1.07, 1.15)
    assert found["gpu.a14b_mapped.24gb_slowdown"].goal is None
    assert found["gpu.load_host_overhead_gib"].commit == "abc"
    beside = found["gpu.a14b.24gb_slowdown"].settings
    assert beside["resident_forward_seconds"] == "11.2"
    assert beside["weights"] == "as_computed"
    eight = found["gpu.a14b.24gb_slowdown.fp8"]
    assert (eight.value, eight.settings["weights"]) == (1.02, "fp8")
    assert "gpu.a14b_fp8.24gb_slowdown" not in found
    assert "gpu.a14b_fp8.24gb_copied_gib_per_step" in found
    assert not any("ti2v5b" in name for name in found)


def test_the_file_of_weights_is_an_expert_of_true_names_and_shapes(tmp_path):
    row = low_vram.row_of("a14b", small=True)
    path, _ = low_vram.weight_file(row, tmp_path)
    expected = {name: tuple(tensor.shape) for name, tensor in WanDiT(row.sizes.dit).state_dict().items()}
    with safe_open(path, "pt") as file:
        assert {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()} == expected  # noqa: SIM118
        weights = [file.get_tensor(name) for name in ("blocks.1.ffn.0.weight", "blocks.0.norm3.weight")]
    assert {tensor.dtype for tensor in weights} == {torch.bfloat16}
    assert 0.5 * low_vram._STD < float(weights[0].float().std()) < 2 * low_vram._STD
    assert torch.equal(weights[1], torch.ones_like(weights[1]))
    assert low_vram.weight_file(row, tmp_path) == (path, 0.0)


def test_parts_are_of_true_size():
    large, small = low_vram.row_of("a14b", small=False), low_vram.row_of("5b", small=False)
    assert (large.key, small.key) == ("wan2.2-t2v-a14b.1280x720x81", "wan2.2-ti2v-5b.1280x704x121")
    assert isinstance(large.sizes.dit, DitConfig)
    assert large.sizes.dit.num_layers == 40
