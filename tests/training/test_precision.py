"""What is compiled must stay one graph: a break in it costs a GPU run its speed, and nobody notices."""

import torch

from filmgate.engine.models.vae import WanVae
from filmgate.training.autoencoder import Recipe, training_loss
from filmgate.training.members import TOYBOX_VAE
from filmgate.training.precision import mixed, multiplies_bf16
from filmgate.training.trainee import Recipe as FlowRecipe
from filmgate.training.trainee import Trainee, new_trainee


def test_the_vae_step_is_one_graph() -> None:
    video = torch.rand(1, 3, 5, 32, 32) * 2 - 1
    objects, noise = (video[:, :1] > 0.5).float(), torch.randn(2, 1, 16, 2, 4, 4)
    step = torch.compile(training_loss, backend="eager", dynamic=False, fullgraph=True)
    vae = WanVae(TOYBOX_VAE)
    recipe = Recipe(batch=1, pool=1)
    assert torch.equal(step(vae, video, objects, noise, recipe), training_loss(vae, video, objects, noise, recipe))


def test_all_blocks_share_one_graph() -> None:
    model: Trainee = new_trainee(FlowRecipe(), None, torch.device("cpu"), compiled=False)
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


def test_mixed_precision_only_where_the_hardware_has_it() -> None:
    device = torch.device("cpu")
    with mixed(device):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if multiplies_bf16(device) else torch.float32)
    assert multiplies_bf16(torch.device("cuda"))
    assert not multiplies_bf16(torch.device("mps"))
