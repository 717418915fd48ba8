"""What a camera's adapter begins with: the numbers of a patch's rays that differ from clip to clip, all equally loud.

A token's patch has 6,144 numbers of rays. Nearly all of what they say is where in the picture the patch is; what a
camera does moves them by a few hundredths, and a convolution that begins anywhere, or at nothing, hears the picture's
geometry long before it hears a pan. So the first layer begins as the principal components of the rays that are trained
on, each divided by its spread (whitening; LeCun et al., Efficient BackProp, 1998). The residual block begins as that
which takes them away again: its hidden numbers are the components' positive and negative parts, and nothing is added
to the tokens until it has learnt what to keep. The architecture stays the released models': these are values of its
weights.

Legend: B clips, T latent frames, H W pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from filmgate.engine.models.camera_adapter import CameraAdapter, Residual
from filmgate.engine.models.config import PATCH

SAMPLED = 6000
"""Patches that components are found in."""
MOST = 96
"""Components at most; the rays of moving cameras have some 25."""
FAINTEST = 5e-4
"""Root mean square per ray of what still counts: bf16 rounds rays to some 1e-3, and a patch averages that."""


def begin_quietly(adapter: CameraAdapter) -> None:
    """Nothing is added at first: what reads the rays, and what ends each residual block, is zero."""
    for layer in (adapter.conv, *(block.conv2 for block in adapter.residual_blocks)):
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


@torch.no_grad()
def begin_with_components(adapter: CameraAdapter, rays: Tensor, seed: int = 0) -> int:
    """Let the hidden layer of the first residual block be whitened components of packed rays [B, 24, T, H, W], and add
    nothing to the tokens; returns how many components there are."""
    begin_quietly(adapter)
    conv, block = adapter.conv, adapter.residual_blocks[0]
    assert isinstance(block, Residual)
    bias = block.conv1.bias
    assert conv.bias is not None
    assert bias is not None
    frames = F.pixel_unshuffle(rearrange(rays.float(), "b c t h w -> (b t) c h w"), adapter.scale)
    patches = rearrange(F.unfold(frames, PATCH[1:], stride=PATCH[1:]), "b n l -> (b l) n")
    generator = torch.Generator().manual_seed(seed)
    patches = patches[torch.randperm(len(patches), generator=generator)[:SAMPLED].to(patches.device)]
    mean = patches.mean(0)
    with torch.random.fork_rng(devices=[patches.device] if patches.is_cuda else []):
        torch.manual_seed(seed)
        _, values, vectors = torch.svd_lowrank(patches - mean, q=min(MOST, *patches.shape), niter=3)
    spread = values / len(patches) ** 0.5
    count = min(int((spread > FAINTEST * patches.shape[1] ** 0.5).sum()), len(conv.weight) // 2)
    weight = (vectors[:, :count] / spread[:count]).mT
    conv.weight[:count] = weight.view(count, *conv.weight.shape[1:])
    conv.bias[:count] = -(weight @ mean)
    nn.init.zeros_(block.conv1.weight[: 2 * count])
    nn.init.zeros_(bias[: 2 * count])
    component = torch.arange(count, device=weight.device)
    for sign, hidden in ((1.0, component), (-1.0, component + count)):
        block.conv1.weight[hidden, component, 1, 1] = sign
        block.conv2.weight[component, hidden, 1, 1] = -sign
    return count
