"""What is compiled must stay one graph: a break in it costs a GPU run its speed, and nobody notices."""

import pytest
import torch

from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.training.autoencoder import Recipe, training_loss
from filmgate.training.conditions import token_timesteps
from filmgate.training.members import SMALL_VAE, TI2V, TOYBOX_VAE
from filmgate.training.precision import mixed, multiplies_bf16
from filmgate.training.trainee import Recipe as FlowRecipe
from filmgate.training.trainee import Trainee, new_trainee


@pytest.mark.parametrize("config", [TOYBOX_VAE, SMALL_VAE], ids=["8x8", "16x16"])
def test_the_vae_step_is_one_graph(config: VaeConfig) -> None:
    side = 4 * config.spatial_factor
    video = torch.rand(1, 3, 5, side, side) * 2 - 1
    objects, noise = (video[:, :1] > 0.5).float(), torch.randn(2, 1, config.z_dim, 2, 4, 4)
    step = torch.compile(training_loss, backend="eager", dynamic=False, fullgraph=True)
    vae = WanVae(config)
    recipe = Recipe(batch=1, pool=1)
    assert torch.equal(step(vae, video, objects, noise, recipe), training_loss(vae, video, objects, noise, recipe))


def test_all_blocks_share_one_graph() -> None:
    model: Trainee = new_trainee(FlowRecipe(), [], torch.device("cpu"), compiled=False)
    graphs = 0

    def count(module: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        nonlocal graphs
        graphs += 1
        return module

    for block in model.dit.blocks:
        block.forward = torch.compile(block.forward, backend=count, dynamic=False, fullgraph=True)
    velocity, _ = model(torch.randn(1, 16, 1, 4, 4), torch.tensor([500.0]), torch.randn(1, 64, 192))
    velocity.sum().backward()
    assert graphs == 1


def test_timesteps_per_token_are_one_graph_more() -> None:
    model = new_trainee(FlowRecipe(member=TI2V), [], torch.device("cpu"), compiled=False)
    graphs = 0

    def count(module: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        nonlocal graphs
        graphs += 1
        return module

    for block in model.dit.blocks:
        block.forward = torch.compile(block.forward, backend=count, dynamic=False, fullgraph=True)
    x, text = torch.randn(2, 48, 2, 4, 4), torch.randn(2, 64, 192)
    for levels in ([500.0, 20.0], [1000.0, 999.9], [3.0, 4.0]):
        model(x, torch.tensor(levels), text)
        model(x, token_timesteps(torch.tensor(levels), 2, 4, 4), text)
    assert graphs == 2


def test_mixed_precision_only_where_the_hardware_has_it() -> None:
    device = torch.device("cpu")
    with mixed(device):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if multiplies_bf16(device) else torch.float32)
    assert multiplies_bf16(torch.device("cuda"))
    assert not multiplies_bf16(torch.device("mps"))
