"""Ranks that divide the rows of a frame decode what one process decodes.

Bounds, for values of -1 ... 1: 1e-6 where the network computes in fp64, so that a row that is wrong or missing cannot
hide behind rounding, and 2e-5 in fp32, where convolutions of smaller frames sum in another order.
"""

from dataclasses import replace
from functools import cache

import pytest
import torch
from tests.engine.processes import on_ranks
from tests.engine.wan_directory import VAE

from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.parallel_vae import parallel_vae
from filmgate.spec import Layout

BOUNDS = {torch.float64: 1e-6, torch.float32: 2e-5}
CONFIGS = {
    "2.1": VAE,
    "2.2": replace(VAE, dim=4, patch=2, level_shortcuts=True),
}
SHAPES = {
    "even": (3, 8, 6),
    "uneven": (4, 7, 5),
    "a row each": (2, 4, 5),
    "fewer rows than ranks": (2, 1, 5),
    "still": (1, 6, 4),
}


def decoder(name, dtype):
    torch.manual_seed(6)
    network = WanVae(CONFIGS[name]).requires_grad_(False).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.mul_(1.5)
    return network.to(dtype)


def chunks_of(network, shape):
    torch.manual_seed(7)
    latent = torch.randn(1, network.config.z_dim, *shape)
    return [chunk.contiguous() for chunk in network.decode_chunks(latent)]


def everything(team):
    return {
        str((name, shape, dtype)): chunks_of(parallel_vae(decoder(name, dtype), team.everyone), SHAPES[shape])
        for name in CONFIGS
        for shape in SHAPES
        for dtype in BOUNDS
    }


@cache
def made(count):
    return on_ranks(everything, Layout(sequence=count))


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_the_rows_are_those_of_the_whole(name, shape, count, dtype):
    expected = chunks_of(decoder(name, dtype), SHAPES[shape])
    spread = torch.cat(expected, 2).std()
    assert spread > 0.05, "something is to be seen"
    for result in made(count):
        found = result[str((name, shape, dtype))]
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=BOUNDS[dtype], rtol=0)
