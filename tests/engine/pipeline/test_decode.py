"""From latents to frames."""

import numpy as np
import pytest
import torch
from tests.engine.pipeline.networks import RandomNetworks

from filmgate.engine.pipeline.decode import decode, to_rgb
from filmgate.spec import NotFinite


def test_codes_are_rounded_and_clamped():
    values = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.999, 1.0, 3.0])
    codes = to_rgb(values.view(1, 1, 1, 7).expand(3, 1, 1, 7))
    assert codes.shape == (1, 1, 7, 3)
    assert codes.dtype == np.uint8
    assert codes[0, 0, :, 1].tolist() == [0, 0, 64, 128, 255, 255, 255]


def test_axes_are_frames_rows_columns_colours():
    video = torch.zeros(3, 2, 4, 5)
    video[1, 1, 2, 3] = 1
    assert np.argwhere(to_rgb(video) == 255).tolist() == [[1, 2, 3, 1]]


def test_chunks_are_the_whole_video():
    vae = RandomNetworks().vae()
    latent = torch.randn(16, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    chunks = list(decode(latent, vae))
    assert [chunk.shape for chunk in chunks] == [(1, 32, 48, 3), (4, 32, 48, 3), (4, 32, 48, 3)]
    with torch.no_grad():
        whole = to_rgb(vae.decode_sequence(vae.denormalise(latent[None]))[0])
    assert np.abs(np.concatenate(chunks).astype(int) - whole).max() <= 1
    assert whole.std() > 5, "a video of one colour proves nothing"


def test_a_damaged_vae_makes_no_black_video():
    vae = RandomNetworks().vae()
    vae.decoder.head["2"].bias.data[0] = float("nan")
    with pytest.raises(NotFinite, match="VAE are damaged"):
        next(decode(torch.randn(16, 3, 4, 6), vae))


def test_frames_are_made_when_they_are_asked_for():
    chunks = decode(torch.randn(16, 3, 4, 6), RandomNetworks().vae())
    assert next(chunks).shape[0] == 1
    chunks.close()
