"""Previews, by a linear map and by the VAE."""

import io

import numpy as np
import torch
from PIL import Image
from tests.engine.pipeline.networks import RandomNetworks

from filmgate.engine.pipeline.decode import decode
from filmgate.engine.pipeline.preview import preview
from filmgate.engine.pipeline.values import ColourMap


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def never():
    raise AssertionError("the VAE was asked for")


def test_the_linear_map():
    factors = np.zeros((16, 3))
    factors[0, 0] = factors[1, 1] = factors[2, 2] = 0.5
    latent = torch.zeros(16, 9, 4, 6)
    for frame in range(9):
        latent[0, frame] = -2 + frame / 2
    latent[1] = 1.0
    image = pixels(preview(latent, ColourMap(tuple(map(tuple, factors)), (0.0, 0.0, -1.0)), never, spatial=8))
    assert image.shape == (32, 4 * 48, 3)
    assert image[:, :, 1].min() == image[:, :, 1].max() == 191
    assert image[:, :, 2].max() == 0
    columns = image[5, 24::48, 0]
    assert columns[0] == 0
    assert columns[-1] == 255
    assert (np.diff(columns.astype(int)) > 0).all(), "first to last, in order"


def test_large_videos_give_small_previews():
    latent = torch.zeros(16, 3, 90, 160)
    image = pixels(preview(latent, ColourMap(((0.1, 0.1, 0.1),) * 16), never, spatial=8))
    assert image.shape == (180, 3 * 320, 3)


def test_without_a_map_the_vae_decodes_the_first_frame():
    networks = RandomNetworks()
    latent = torch.randn(16, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    image = pixels(preview(latent, None, networks.vae, spatial=8))
    assert np.abs(image.astype(int) - next(decode(latent, networks.vae()))[0]).max() <= 1
