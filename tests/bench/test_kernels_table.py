"""The table of kernels shows what a run claims, and says what nobody measured."""

import json
import runpy
from pathlib import Path

import forward_claims
from claims import Claim

PAGE = runpy.run_path(str(Path(forward_claims.__file__).parent / "kernels_table"))["page"]
PARTS = {
    "attention": {"a14b-720p.cudnn": {"seconds": 0.2, "tera_operations_per_second": 560.0, "relative_error": 0.0021,
                                      "repeats": True, "floor": 0.118}},
    "operations": {"channel_norm": {"seconds": 0.0004, "floor": 0.0003, "relative_error": 0.0021},
                   "channel_norm.plain": {"seconds": 0.0017, "floor": 0.0003, "relative_error": 0.0021}},
    "light": {
        "a14b-720p": {"choice.25": 0.004, "8bit": {"seconds": 0.1, "tera_operations_per_second": 1100.0,
                                                   "relative_error": 0.0536, "repeats": False},
                      "flash4": {"failed": "of another version"}, "package": "1.2"},
        "a14b-720p.operations": {"product.in.bf16": {"seconds": 0.01, "tera_operations_per_second": 750.0},
                                 "product.in.8bit": {"seconds": 0.006, "tera_operations_per_second": 1300.0},
                                 "product.in.relative_error": 0.036},
    },
    "launches": {"ti2v-5b": {"block.compiled": 0.03, "pass.compiled": 0.9, "pass.compiled.launching": 0.02,
                             "compiling.cold": 31.0, "compiling.cached": 4.0, "graph_failed": "no"}},
    "guidance": {"ti2v-5b": {"1024": {"sequential": 0.09, "batched": 0.06, "relative_error": 0.002},
                             "8192": {"sequential": 0.5, "batched": 0.5, "relative_error": 0.002}}},
}  # fmt: skip


def claims(parts):
    numbers = forward_claims.kernel_numbers(json.loads(json.dumps(parts)))
    return [Claim(**vars(number), hardware="NVIDIA H200", versions={"torch": "2.11"}, date="x") for number in numbers]


def test_every_kind_of_reading_has_a_row():
    page = PAGE(claims(PARTS))
    assert "| A14B 720p: cuDNN | 200 | 560 | 0.0021 | yes |" in page
    assert "| A14B 720p: by blocks, e4m3, all read | 100 | 1100 | 0.054 | no |" in page
    assert "| A14B 720p: choice of 25 % of the blocks | 4 |" in page
    assert "| the VAE's bias, norm, SiLU, frames before | 0.4 | 1.7 | 0.3 | 0.0021 |" in page
    assert "| A14B 720p: D × F | 750 | 1300 | 0.036 |" in page
    assert "| TI2V-5B, as written, compiled | 30 | 900 | 20 | 31 (4) |" in page
    assert "| TI2V-5B | 1.5 | 1 |" in page
    assert "Measured: NVIDIA H200, torch 2.11" in page


def test_what_passes_reach_is_told_from_their_profiles():
    page = PAGE([Claim("gpu.a14b.720p.forward.profile.attention", 8532.0, "ms")])
    assert "| A14B 720p, attention | 552 TFLOP/s | 56 % |" in page
    assert "Other kernels, compiled blocks, CUDA graphs, batches of guidance: not measured yet" in page


def test_nothing_measured_is_said():
    assert PAGE([Claim("a", 1, "s")]).startswith("Kernels, compiled blocks")
