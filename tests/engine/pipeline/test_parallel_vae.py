"""Ranks that divide the rows of a frame decode and encode what one process does; so do those that divide tiles.

Bounds, for values of -1 ... 1 or of a deviation of about 1: 1e-6 where the network computes in fp64, so that a row that
is wrong or missing cannot hide behind rounding, and 2e-5 in fp32, where convolutions of smaller frames sum in another
order.
"""

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
import torch
from tests.engine.processes import on_ranks
from tests.engine.wan_directory import VAE

from filmgate.engine.models.tiled_vae import TiledVae
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.parallel_vae import parallel_tiles, parallel_vae
from filmgate.engine.runtime.parallel import Group, Team, parts
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


TILED = ("even", "uneven", "a row each")
"""Six tiles, six of unequal number for four ranks, and two, which is fewer than ranks."""


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


def latents_of(network, shape):
    """Latent frames of a video of random numbers that has a latent of that shape."""
    torch.manual_seed(8)
    frames, height, width = shape
    factor = network.config.spatial_factor
    video = torch.rand(1, 3, 1 + 4 * (frames - 1), height * factor, width * factor) * 2 - 1
    return list(network.encode_chunks(video))


def tiles(name):
    """The same network, working in tiles of four latent positions with two of them overlapping."""
    whole = decoder(name, torch.float64)
    network = TiledVae(CONFIGS[name], 4 * whole.config.spatial_factor).to(torch.float64).eval()
    network.load_state_dict(whole.state_dict())
    return network


def everything(team):
    found = {}
    for name, shape, dtype in product(CONFIGS, SHAPES, BOUNDS):
        network = parallel_vae(decoder(name, dtype), team.everyone)
        found[name, shape, dtype] = chunks_of(network, SHAPES[shape])
        found[name, shape, dtype, "encoded"] = latents_of(network, SHAPES[shape])
    network, seen = parallel_vae(decoder("2.1", torch.float64), team.everyone), []
    network.encoder.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape[-2]))
    latents_of(network, SHAPES["uneven"])
    found["rows of pixels"] = [torch.tensor(seen)]
    for name, shape in product(CONFIGS, TILED):
        network = parallel_tiles(tiles(name), team)
        found[name, shape, "tiles"] = chunks_of(network, SHAPES[shape])
        found[name, shape, "tiles", "encoded"] = latents_of(network, SHAPES[shape])
    return {str(key): value for key, value in found.items()}


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


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_the_latent_is_that_of_the_whole(name, shape, count, dtype):
    expected = latents_of(decoder(name, dtype), SHAPES[shape])
    assert torch.cat(expected, 2).std() > 0.05, "something is to be seen"
    for result in made(count):
        found = result[str((name, shape, dtype, "encoded"))]
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=BOUNDS[dtype], rtol=0)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("shape", TILED)
@pytest.mark.parametrize("name", CONFIGS)
def test_tiles_add_up(name, shape, count):
    network = tiles(name)
    for key, work in (((name, shape, "tiles"), chunks_of), ((name, shape, "tiles", "encoded"), latents_of)):
        expected = work(network, SHAPES[shape])
        for result in made(count):
            for one, other in zip(result[str(key)], expected, strict=True):
                torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [2, 4])
def test_all_ranks_have_the_same_bits(count):
    first, *others = made(count)
    assert [result["rows of pixels"][0].unique().tolist() for result in made(count)] == [
        [8 * rows] for rows in parts(7, count)
    ]
    for key, chunks in first.items():
        for other in others if key != "rows of pixels" else ():
            assert all(map(torch.equal, chunks, other[key])), key


@pytest.mark.parametrize("count", [2, 3])
def test_each_tile_is_worked_on_by_one_rank(count):
    """Five tiles; and of one tile those that have none see the shape."""
    ranks = [
        parallel_tiles(tiles("2.1"), Team(everyone=Group((0,) * count, index, object()))) for index in range(count)
    ]
    parts = [[network.share(number, 5) for number in range(5)] for network in ranks]
    assert [sum(part or 0.0 for part in column) for column in zip(*parts, strict=True)] == [1.0] * 5
    assert sum(part is not None for row in parts for part in row) == 5
    assert [network.share(0, 1) for network in ranks] == [1.0] + [0.0] * (count - 1)
