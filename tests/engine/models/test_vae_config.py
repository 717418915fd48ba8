"""The VAE's configuration: consistency, and recognition from the shapes of a checkpoint."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import WAN21_VAE, WAN22_VAE, VaeConfig, vae_config_from_shapes
from filmgate.spec.errors import InvalidRequest, MissingTensor, WrongShape, WrongVariant
from filmgate.spec.shape import VideoShape

STATISTICS = ("latents_mean", "latents_std")


def shapes_of(config):
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in WanVae(config).state_dict().items()}


@pytest.mark.parametrize("config", [WAN21_VAE, WAN22_VAE, VaeConfig(dim=16, dim_mult=(2, 3, 4, 4), num_res_blocks=1)])
def test_known_vaes_are_recognised_with_their_statistics(config):
    assert vae_config_from_shapes(shapes_of(config)) == config


@st.composite
def configs(draw):
    factors = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4)))
    nested = draw(st.booleans())
    # The shortcuts of Wan 2.2 average and repeat whole groups of channels, so its widths grow by powers of two.
    factors = tuple(1 if factor == 3 else factor for factor in factors) if nested else factors
    z_dim = draw(st.integers(1, 8))
    return VaeConfig(
        dim=draw(st.sampled_from([2, 4, 6])),
        dim_mult=factors,
        num_res_blocks=draw(st.integers(1, 3)),
        z_dim=z_dim,
        temporal_downsample=tuple(draw(st.booleans()) for _ in factors[1:]),
        latents_mean=tuple(0.5 * i for i in range(z_dim)),
        latents_std=tuple(1.0 + i for i in range(z_dim)),
        decoder_dim=draw(st.sampled_from([None, 8])),
        patch=draw(st.integers(1, 2)),
        level_shortcuts=nested,
    )


@settings(max_examples=40, deadline=None)
@given(configs())
def test_every_architecture_is_recognised_from_its_shapes(config):
    given_statistics = {name: getattr(config, name) for name in STATISTICS}
    assert vae_config_from_shapes(shapes_of(config), **given_statistics) == config


def test_statistics_are_never_guessed():
    config = VaeConfig(z_dim=4, latents_mean=(0.0,) * 4, latents_std=(1.0,) * 4)
    with pytest.raises(InvalidRequest, match="4 latent channels"):
        vae_config_from_shapes(shapes_of(config))


def test_what_is_not_a_vae_is_a_named_error():
    shapes = shapes_of(WAN21_VAE)
    for key in (
        "encoder.conv1.weight",
        "conv2.weight",
        "decoder.conv1.weight",
        "encoder.downsamples.0.residual.2.weight",
    ):
        with pytest.raises(MissingTensor) as caught:
            vae_config_from_shapes({name: shape for name, shape in shapes.items() if name != key}, source="x.pth")
        assert caught.value.key == key
        assert caught.value.path == "x.pth"
    with pytest.raises(WrongShape, match="RGB"):
        vae_config_from_shapes({**shapes, "encoder.conv1.weight": (96, 4, 3, 3, 3)})
    with pytest.raises(WrongShape, match="5 axes"):
        vae_config_from_shapes({**shapes, "conv2.weight": (16, 16)})
    with pytest.raises(WrongShape, match="multiple of 4"):
        vae_config_from_shapes({**shapes, "decoder.conv1.weight": (385, 16, 3, 3, 3)})
    with pytest.raises(WrongVariant):
        vae_config_from_shapes({n: s for n, s in shapes.items() if not n.startswith("encoder.downsamples.4.")})
    with pytest.raises(WrongVariant, match="multiples of 96"):
        vae_config_from_shapes(
            {
                **shapes,
                "encoder.downsamples.3.residual.2.weight": (200, 96, 3, 3, 3),
                "encoder.downsamples.4.residual.2.weight": (200, 200, 3, 3, 3),
            }
        )


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"z_dim": 4}, "latents_mean"),
        ({"latents_std": (0.0,) * 16}, "latents_std"),
        ({"temporal_downsample": (True,)}, "temporal_downsample"),
        ({"dim": 0}, "dim"),
    ],
)
def test_contradictions_are_refused(fields, name):
    with pytest.raises(InvalidRequest) as caught:
        VaeConfig(**fields)
    assert caught.value.field == name


def test_factors_follow_from_the_levels():
    assert (WAN21_VAE.spatial_factor, WAN21_VAE.temporal_factor) == (8, 4)
    assert (WAN22_VAE.spatial_factor, WAN22_VAE.temporal_factor) == (16, 4)
    latent = WAN22_VAE.compression.latent(VideoShape(frames=121, height=704, width=1280))
    assert (latent.channels, latent.frames, latent.height, latent.width) == (48, 31, 44, 80)
    with pytest.raises(dataclasses.FrozenInstanceError):
        WAN21_VAE.dim = 3


def test_reading_a_configuration_does_not_load_torch():
    code = "import sys, filmgate.engine.models.vae_config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
