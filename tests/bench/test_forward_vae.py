"""The autoencoders of diffusers are built in the shape of ours."""

import pytest
import torch

from filmgate.engine.models.vae import WanVae
from forward_measure import row_of
from forward_vae import VAES, peer_shape, vae_peer

diffusers = pytest.importorskip("diffusers")


@pytest.mark.parametrize("name", VAES)
def test_both_have_the_same_parameters(name):
    config = row_of(VAES[name], small=False).sizes.vae
    with torch.device("meta"):
        ours, theirs = WanVae(config), diffusers.AutoencoderKLWan(**peer_shape(config))
    sizes = [sorted(parameter.numel() for parameter in network.parameters()) for network in (ours, theirs)]
    assert sizes[0] == sizes[1]


def test_a_trial_decodes_and_encodes():
    found = vae_peer("vae22", torch.device("cpu"), small=True)
    assert found["decode"][0] > 0
    assert found["encode"][0] > 0
