"""The autoencoder in tiles: how far it is from the whole one, and that no more than a tile is worked on."""

import math

import pytest
import torch
from tests.engine.wan_directory import network

from filmgate.app import Filmgate
from filmgate.engine.checkpoints.wan import load_vae
from filmgate.engine.models.tiled_vae import TiledVae
from filmgate.engine.models.vae import Decoder, WanVae
from filmgate.engine.models.vae_config import VaeConfig

SMALL = VaeConfig(dim=4, dim_mult=(1, 2, 2, 2), num_res_blocks=1, z_dim=16)


def in_tiles(vae, tile):
    module = TiledVae(vae.config, tile).requires_grad_(False).eval()
    module.load_state_dict(vae.state_dict())
    return module


def decibel(signal, noise):
    """Of a peak-to-peak signal of -1 ... 1, or of a tensor's own power."""
    power = 4.0 if signal is None else float(signal.square().mean())
    return 10 * math.log10(power / float(noise.square().mean()))


def scene(frames=5, height=192, width=320):
    """A ball that moves before planes of colour."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1.6, 1.6, width), indexing="ij")
    pictures = []
    for frame in range(frames):
        picture = torch.stack([y / 2, x / 2, x * y / 2])
        picture = torch.where((x + 0.8 - 0.2 * frame) ** 2 + y**2 < 0.2, 0.7, picture)
        picture = torch.where(((x - 0.9).abs() < 0.3) & ((y - 0.2).abs() < 0.4), -0.6, picture)
        pictures.append(picture)
    return torch.stack(pictures, 1)[None]


@pytest.fixture(scope="module")
def toybox():
    model = next(model for model in Filmgate().models() if model.id == "toybox-t2v")
    vae = load_vae(model, device=torch.device("cpu"))
    latent = vae.encode(scene())
    return vae, latent, vae.decode(latent)


@pytest.mark.parametrize(("tile", "decoded", "encoded"), [(96, 47, 28), (128, 50, 35), (256, 65, 52)])
def test_the_shipped_autoencoder_in_tiles(toybox, tile, decoded, encoded):
    vae, latent, video = toybox
    tiles = in_tiles(vae, tile)
    assert decibel(None, tiles.decode(latent) - video) > decoded
    assert decibel(latent, tiles.encode(scene()) - latent) > encoded


def test_tiles_that_cover_all_are_the_whole_bit_by_bit(toybox):
    vae, latent, video = toybox
    assert torch.equal(in_tiles(vae, 320).decode(latent), video)
    assert torch.equal(in_tiles(vae, 320).encode(scene()), latent)


def without_attention(vae):
    """The same, seeing only as far as its convolutions reach."""
    for name, tensor in vae.named_parameters():
        if ".proj." in name:
            tensor.zero_()
    return vae


@pytest.mark.parametrize("frames", [1, 5])
def test_without_attention_wide_overlaps_make_it_exact(frames):
    vae = without_attention(network(WanVae, SMALL, 3))
    latent = torch.randn(1, 16, 1 + (frames - 1) // 4, 4, 140, generator=torch.Generator().manual_seed(1))
    tiles = in_tiles(vae, 96 * 8)
    tiles.overlap = 60
    whole, found = vae.decode(latent), tiles.decode(latent)
    assert whole.shape == found.shape
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)
    tiles.overlap = 2
    assert not torch.allclose(tiles.decode(latent), whole, atol=1e-4)


def test_chunks_are_as_long_as_those_of_the_whole():
    tiles = in_tiles(network(WanVae, SMALL, 3), 64)
    latent = torch.randn(1, 16, 3, 12, 20)
    assert [chunk.shape[2:] for chunk in tiles.decode_chunks(latent)] == [(1, 96, 160), (4, 96, 160), (4, 96, 160)]
    video = torch.randn(1, 3, 9, 96, 160)
    assert [chunk.shape[2:] for chunk in tiles.encode_chunks(video)] == [(1, 12, 20)] * 3


def test_no_more_than_a_tile_is_worked_on(monkeypatch):
    sizes = set()
    forward = Decoder.forward
    monkeypatch.setattr(Decoder, "forward", lambda self, x, memory: sizes.add(x.shape[3:]) or forward(self, x, memory))
    in_tiles(network(WanVae, SMALL, 3), 64).decode(torch.randn(1, 16, 2, 12, 20))
    assert sizes == {(8, 8)}
