"""A decoder that is trained by itself leaves every latent as it was."""

from __future__ import annotations

import torch

from filmgate.engine.models.vae import WanVae
from filmgate.training.autoencoder import Recipe, optimisers, training_loss, without_encoder
from filmgate.training.members import TOYBOX_VAE


def test_latents_stay_while_the_decoder_learns() -> None:
    torch.manual_seed(0)
    vae = without_encoder(WanVae(TOYBOX_VAE))
    video, recipe = torch.rand(1, 3, 5, 32, 32) * 2 - 1, Recipe(decoder_only=True)
    before = {name: parameter.detach().clone() for name, parameter in vae.named_parameters()}
    with torch.no_grad():
        latent = vae.encode_sequence(video)[0]
    loss = training_loss(vae, video, (video[:, :1] > 0.5).float(), torch.randn(2, 1, 16, 2, 4, 4), recipe)
    loss.backward()
    for optimiser in optimisers(vae, recipe):
        optimiser.step()
    moved = {name.partition(".")[0] for name, parameter in vae.named_parameters() if not parameter.equal(before[name])}
    assert moved == {"decoder", "conv2"}
    with torch.no_grad():
        assert torch.equal(vae.encode_sequence(video)[0], latent)
