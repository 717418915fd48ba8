"""Published models without their files: the counts are those of the networks that are built."""

import pytest
import torch

from filmgate.direction.architectures import DESCRIBED, describe_published
from filmgate.direction.presets import PRESETS
from filmgate.direction.published import PUBLISHED
from filmgate.engine.models.dit import WanDiT
from filmgate.spec import UnknownName
from true_size_models import ROWS

CONFIGS = {row.variant: row.sizes.dit for row in ROWS}


@pytest.mark.parametrize("variant", DESCRIBED)
def test_parameters_are_those_of_the_network(variant):
    with torch.device("meta"):
        network = WanDiT(CONFIGS[variant])
    described = describe_published(variant)
    assert described.experts[0].parameters == sum(value.numel() for value in network.parameters())
    assert described.dit.in_channels == CONFIGS[variant].in_dim
    assert described.dit.branch_layers == len(CONFIGS[variant].vace_layers)


@pytest.mark.parametrize(
    ("variant", "parameters", "dimensions", "vae_bytes"),
    [
        ("wan2.2-t2v-a14b", 14_288_491_584, (5120, 13824, 40, 40, 16, 16), 507_570_124),
        ("wan2.2-ti2v-5b", 4_999_787_712, (3072, 14336, 24, 30, 48, 48), 2_818_754_672),
        ("wan2.1-t2v-1.3b", 1_418_996_800, (1536, 8960, 12, 30, 16, 16), 507_570_124),
    ],
)
def test_descriptions_are_those_of_the_published_files(variant, parameters, dimensions, vae_bytes):
    described = describe_published(variant)
    dit = described.dit
    assert {expert.parameters for expert in described.experts} == {parameters}
    assert (dit.dim, dit.ffn_dim, dit.heads, dit.layers, dit.in_channels, dit.out_channels) == dimensions
    assert (described.vae_bytes, described.text_encoder_parameters) == (vae_bytes, 5_680_910_336)
    assert not described.here


def test_bytes_are_as_published_where_that_is_asked():
    halved, whole = (describe_published("wan2.2-ti2v-5b", size).experts[0] for size in (2, 4))
    assert (2 * halved.bytes, halved.dtype, whole.dtype) == (whole.bytes, "bfloat16", "float32")
    assert {PUBLISHED[name].weight_bytes for name in ("wan2.2-t2v-a14b", "wan2.1-vace-1.3b")} == {4}
    assert PUBLISHED["wan2.2-camera-5b"].weight_bytes == 2


def test_every_published_model_has_a_description_and_defaults():
    assert set(DESCRIBED) == set(PUBLISHED)
    assert set(DESCRIBED) <= set(PRESETS)


def test_an_unknown_name_gets_its_neighbours():
    with pytest.raises(UnknownName, match=r"wan2\.2-ti2v-5b"):
        describe_published("wan2.2-ti2v-5")
