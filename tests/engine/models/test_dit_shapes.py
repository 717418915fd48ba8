"""The table of shapes says what the module has."""

from dataclasses import replace

import pytest
import torch
from tests.engine.wan_directory import DIT

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.dit_shapes import tensor_shapes


@pytest.mark.parametrize(
    "config",
    [
        DIT,
        replace(DIT, in_dim=36, out_dim=48, num_layers=3, eps=1e-5),
        replace(DIT, image_dim=20),
        replace(DIT, image_dim=20, image_positions=10),
        replace(DIT, num_layers=4, vace_layers=(0, 2), vace_in_dim=40),
        replace(DIT, camera_scale=2, camera_blocks=2),
    ],
)
def test_every_tensor_of_the_module_is_in_the_table_and_no_other(config):
    with torch.device("meta"):
        state = WanDiT(config).state_dict()
    assert tensor_shapes(config) == {name: tuple(tensor.shape) for name, tensor in state.items()}
