"""The fused operations between layers: formulas in fp64, and on a GPU the kernels against them."""

import pytest
import torch
from tests.engine.pipeline.modes import DEVICES

from filmgate.engine.kernels.norm import layer_norm_modulate_reference
from filmgate.engine.kernels.residual_norm import Modulation, gated_sum, residual_norm, residual_norm_reference

EPS = 1e-6


def drawn(device, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(device, dtype)


def cases(device, batch, length, dim):
    rows = [drawn(device, batch, 6, dim)[:, part] for part in (0, 1, 2)]
    yield Modulation(1 + rows[0], rows[1], rows[2])
    yield Modulation(1 + rows[0], rows[1])
    yield Modulation(1 + rows[0][:1], rows[1][:1], rows[2][:1])
    row = torch.randint(0, batch, (batch, length), generator=torch.Generator().manual_seed(3)).to(device)
    yield Modulation(1 + rows[0], rows[1], rows[2], row)
    weight = drawn(device, dim)
    yield Modulation(weight.expand(batch, dim), weight.expand(batch, dim), rows[2], row)


def exactly(x, update, modulation, dtype=torch.float64):
    wide = Modulation(*(part if part is None or not part.is_floating_point() else part.double() for part in modulation))
    return residual_norm_reference(x.double(), None if update is None else update.double(), wide, EPS, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dim", [48, 96, 5120])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_its_formula(device, dim, dtype):
    batch, length = 2, 7
    x, update = drawn(device, batch, length, dim), drawn(device, batch, length, dim, dtype=dtype)
    bound = 2e-6 if dtype is torch.float32 else 0.004
    for modulation in cases(device, batch, length, dim):
        for added in (update, None):
            summed, normed = residual_norm(x, added, modulation, EPS, dtype)
            expected = exactly(x, added, modulation)
            assert summed.dtype == torch.float32
            assert normed.dtype == dtype
            torch.testing.assert_close(summed.double(), expected[0], atol=2e-6, rtol=2e-6)
            torch.testing.assert_close(normed.double(), expected[1], atol=10 * bound, rtol=bound)
            if added is not None:
                result = gated_sum(x, added, modulation.gate, modulation.row)
                torch.testing.assert_close(result.double(), expected[0], atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_one_stream_may_serve_several_texts(device):
    x, update = drawn(device, 1, 5, 64), drawn(device, 3, 5, 64)
    modulation = Modulation(*(drawn(device, 1, size)[:, :64] for size in (64, 65, 66)))
    summed, normed = residual_norm(x, update, modulation, EPS, torch.float32)
    assert summed.shape == normed.shape == (3, 5, 64)
    for sample in range(3):
        alone = residual_norm(x, update[sample : sample + 1], modulation, EPS, torch.float32)
        assert torch.equal(summed[sample], alone[0][0])
        assert torch.equal(normed[sample], alone[1][0])


def test_it_is_the_modulation_of_the_plain_block():
    x, shift, scale = drawn("cpu", 2, 5, 64), drawn("cpu", 2, 64), 0.1 * drawn("cpu", 2, 64)
    _, found = residual_norm(x, None, Modulation(1 + scale, shift), EPS, torch.float32)
    torch.testing.assert_close(found, layer_norm_modulate_reference(x, shift[:, None], scale[:, None], EPS))


def test_on_shapes_alone_it_needs_what_it_needs_on_a_gpu():
    x, update = torch.empty(1, 5, 64, device="meta"), torch.empty(1, 5, 64, device="meta", dtype=torch.bfloat16)
    row = torch.empty(1, 64, device="meta")
    summed, normed = residual_norm(x, update, Modulation(row, row, row), EPS, torch.bfloat16)
    assert (summed.dtype, normed.dtype) == (torch.float32, torch.bfloat16)
    assert gated_sum(x, update, row).shape == x.shape
