"""Networks whose weights stay as they are in the file, or become narrow on the way."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.engine.checkpoints import published
from tests.engine.checkpoints.published import DIT, velocity
from torch import nn

from filmgate.engine.checkpoints.filling import Filling, stays_as_stored
from filmgate.engine.checkpoints.gguf_header import TYPES
from filmgate.engine.checkpoints.networks import read_network
from filmgate.engine.checkpoints.records import DTYPES, TensorRecord
from filmgate.engine.checkpoints.tensors import Tensors, build_empty, open_tensors
from filmgate.engine.checkpoints.wan import FP32_MODULES, narrow_as
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.runtime.narrow_linear import NarrowLinear
from filmgate.spec import DeviceError, UnexpectedTensor

CPU = torch.device("cpu")
LAYERS = {f"{part}.{x}" for part in ("self_attn", "cross_attn") for x in "qkvo"} | {"ffn.0", "ffn.2"}
IN_BLOCKS = {f"blocks.{index}.{layer}" for index in range(DIT.num_layers) for layer in LAYERS}
ERRORS = {"bf16": 0.0003, "fp8": 0.005, "int8": 0.0008, "int4": 0.012}
"""Of a velocity of the small random transformer, relative, in fp32 arithmetic."""


@pytest.fixture(scope="module")
def original():
    return published.transformer()


def load(path, weights="as_computed", wide=torch.bfloat16, device=CPU):
    records = read_network(path, "transformer").records

    def dtype(name):
        return torch.float32 if FP32_MODULES.search(name) else wide

    network = build_empty(lambda: WanDiT(DIT))
    filling = Filling(network, Tensors(records), device=device, dtype=dtype, narrow=narrow_as(weights, records, dtype))
    filling.fill()
    return network


def narrow_layers(network):
    return {name for name, part in network.named_modules() if isinstance(part, NarrowLinear)}


def nbytes(network):
    return sum(tensor.nbytes for tensor in network.state_dict().values())


@pytest.mark.parametrize("convention", ["scaled_fp8", "comfy_quant", "lightx2v", "int8"])
@pytest.mark.parametrize("wide", [torch.float32, torch.bfloat16])
def test_scaled_layers_may_stay_as_they_are_stored(original, tmp_path, convention, wide):
    path = published.save_scaled(tmp_path / "x.safetensors", original.state_dict(), convention=convention)
    kept, widened = load(path, "as_stored", wide), load(path, wide=wide)
    assert narrow_layers(kept) >= IN_BLOCKS
    assert narrow_layers(widened) == set()
    assert nbytes(kept) < 0.75 * nbytes(widened)
    assert torch.equal(velocity(kept), velocity(widened)), "bit by bit"


@pytest.mark.parametrize("kind", ["Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K", "Q5_1", "Q4_1", "Q5_0"])
def test_gguf_blocks_may_stay_as_they_are_stored(original, tmp_path, kind):
    path = published.save_gguf(tmp_path / "x.gguf", original.state_dict(), kind)
    kept, widened = load(path, "as_stored"), load(path)
    assert narrow_layers(kept) >= IN_BLOCKS
    assert {kept.get_submodule(name).layout for name in IN_BLOCKS} == {kind}
    assert torch.equal(velocity(kept), velocity(widened)), "bit by bit"


FP8, BF16, Q4, IQ2 = DTYPES["F8_E4M3"], DTYPES["BF16"], TYPES[12], TYPES[16]


@pytest.mark.parametrize(
    ("dtype", "shape", "pieces", "stays"),
    [
        (FP8, (4, 256), 0, True),
        (FP8, (4, 4, 4), 0, False),
        (FP8, (12, 256), 3, False),
        (BF16, (4, 256), 0, False),
        (Q4, (4, 512), 0, True),
        (Q4, (512, 4), 0, False),
        (IQ2, (4, 256), 0, False),
    ],
)
def test_what_can_stay(dtype, shape, pieces, stays):
    part = TensorRecord(Path("x"), dtype, (shape[0] // max(1, pieces), *shape[1:]), begin=0)
    record = TensorRecord(Path("x"), dtype, shape, begin=0, pieces=(part,) * pieces)
    assert stays_as_stored(record, torch.bfloat16) is stays


def test_nothing_is_kept_once_it_was_handed_out(original, tmp_path):
    path = published.save_single(tmp_path / "x.safetensors", original.state_dict())
    records = read_network(path, "transformer").records
    for weights in ("int4", "bf16"):
        filling = Filling(
            build_empty(lambda: WanDiT(DIT)), Tensors(records), device=CPU, dtype=lambda _: torch.float32,
            narrow=narrow_as(weights, records, lambda _: torch.float32),
        )  # fmt: skip
        filling.fill()
        assert filling._last is None


def test_a_plain_cast_has_no_scale(original, tmp_path):
    path = published.save_single(tmp_path / "x.safetensors", original.state_dict(), dtype=torch.float8_e4m3fn)
    kept = load(path, "as_stored")
    assert kept.blocks[0].ffn[0].scale is None
    assert torch.equal(velocity(kept), velocity(load(path)))


def test_what_is_as_wide_as_the_arithmetic_is_an_ordinary_layer(original, tmp_path):
    half = published.save_single(tmp_path / "h.safetensors", original.state_dict(), dtype=torch.bfloat16)
    assert narrow_layers(load(half, "as_stored")) == set()
    assert narrow_layers(load(half, "as_stored", torch.float32)) >= IN_BLOCKS
    assert torch.equal(velocity(load(half, "as_stored", torch.float32)), velocity(load(half, wide=torch.float32)))


@pytest.mark.parametrize("weights", ERRORS)
def test_formats_that_are_made_on_loading(original, tmp_path, weights):
    path = published.save_single(tmp_path / "x.safetensors", original.state_dict())
    network = load(path, weights, torch.float32)
    assert narrow_layers(network) == IN_BLOCKS
    expected = velocity(original)
    error = float((velocity(network) - expected).norm() / expected.norm())
    assert ERRORS[weights] / 4 < error < ERRORS[weights]


def test_what_is_stored_in_fewer_bits_is_not_made_wider_or_rounded_again(original, tmp_path):
    path = published.save_gguf(tmp_path / "x.gguf", original.state_dict(), "Q4_0")
    assert {part.layout for part in load(path, "fp8").modules() if isinstance(part, NarrowLinear)} == {"Q4_0"}
    scaled = published.save_scaled(tmp_path / "x.safetensors", original.state_dict(), convention="lightx2v")
    assert torch.equal(velocity(load(scaled, "int8")), velocity(load(scaled, "as_stored")))
    assert {part.layout for part in load(scaled, "int4").modules() if isinstance(part, NarrowLinear)} == {"int4"}


def test_a_format_as_wide_as_the_arithmetic_changes_nothing(original, tmp_path):
    path = published.save_single(tmp_path / "x.safetensors", original.state_dict())
    assert narrow_layers(load(path, "bf16", torch.bfloat16)) == set()


def test_what_makes_the_modulation_stays_wide(original, tmp_path):
    path = published.save_single(tmp_path / "x.safetensors", original.state_dict(), dtype=torch.bfloat16)
    for weights in ("as_stored", "int4"):
        network = load(path, weights)
        assert type(network.time_projection[1]).__name__ == type(network.head.head).__name__ == "Linear"
        assert network.head.head.weight.dtype == torch.float32


def test_apples_gpu_is_told_that_it_has_no_fp8(original, tmp_path):
    path = published.save_single(tmp_path / "x.safetensors", original.state_dict())
    with pytest.raises(DeviceError, match="int8"):
        load(path, "fp8", device=torch.device("mps"))


def test_parts_of_a_narrow_layer_can_be_asked_for_in_any_order(original, tmp_path):
    path = published.save_single(tmp_path / "x.safetensors", original.state_dict())
    records = read_network(path, "transformer").records
    whole = load(path, "int4", torch.float32).state_dict()
    network = build_empty(lambda: WanDiT(DIT))
    filling = Filling(
        network, Tensors(records), device=CPU, dtype=lambda _: torch.float32,
        narrow=narrow_as("int4", records, lambda _: torch.float32),
    )  # fmt: skip
    for name in reversed(list(whole)):
        target = torch.empty_like(whole[name])
        filling.copy_into(name, target)
        assert torch.equal(target, whole[name]), name


def test_tensors_that_are_not_the_modules_are_refused_before_anything_is_replaced(original, tmp_path):
    path = published.save_single(tmp_path / "x.safetensors", {**original.state_dict(), "extra": torch.ones(2)})
    with pytest.raises(UnexpectedTensor, match="extra"):
        load(path, "int8")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_pages_of_what_was_copied_do_not_stay_in_memory(tmp_path, dtype):
    size = 1 << 23
    save_file({f"{index}.weight": torch.ones(1, size) for index in range(4)}, tmp_path / "x.safetensors")
    module = build_empty(lambda: nn.ModuleList([nn.Linear(size, 1, bias=False) for _ in range(4)]))
    filling = Filling(module, open_tensors(tmp_path / "x.safetensors"), device=CPU, dtype=lambda _: dtype)
    before = mapped_bytes()
    filling.fill()
    assert float(sum(layer.weight.float().sum() for layer in module)) == 4 * size
    # Only what the module shares with the file is there.
    expected = 4 * 4 * size if dtype == torch.float32 else 0
    assert mapped_bytes() - before == pytest.approx(expected, abs=8 << 20)


def mapped_bytes():
    """Bytes of files that this process has in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))
