"""Published models without their files: the counts are those of the networks that are built."""

import pytest
import torch
from tests.direction.models import model_of

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


@pytest.mark.parametrize("variant", ["wan2.2-t2v-a14b", "wan2.2-ti2v-5b", "wan2.1-t2v-1.3b"])
def test_the_rest_is_as_files_are_described(variant):
    same = {"dit", "compression", "family", "task", "vae_bytes", "text_encoder_parameters"}
    assert describe_published(variant).model_dump(include=same) == model_of(variant).model_dump(include=same)


def test_every_published_model_has_a_description_and_defaults():
    assert set(DESCRIBED) == set(PUBLISHED)
    assert set(DESCRIBED) <= set(PRESETS)


def test_an_unknown_name_gets_its_neighbours():
    with pytest.raises(UnknownName, match=r"wan2\.2-ti2v-5b"):
        describe_published("wan2.2-ti2v-5")
