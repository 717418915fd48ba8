"""Small attention with structure: tokens of a cube whose queries look for what is near and alike."""

import torch

from filmgate.engine.kernels.block_attention import HeadGroup, KeptBlocks
from filmgate.engine.kernels.token_order import token_order

GRID, BLOCK = (4, 6, 7), 16
LENGTH = 4 * 6 * 7
HEADS = 3


def random_qkv(batch=2, width=16, dtype=torch.float32, device="cpu", length=LENGTH):
    draw = torch.Generator().manual_seed(length + width)
    q, k, v = torch.randn(3, batch, length, HEADS, width, generator=draw)
    k = k + 2 * torch.randn(1, 1, HEADS, width, generator=draw)
    return tuple(x.to(device, dtype) for x in (q, k, v))


def local_qkv(width=16):
    """One sample in which keys are like the queries of their surroundings, in the order by cells."""
    draw = torch.Generator().manual_seed(3)
    order = token_order(GRID, (3, 3))
    axes = torch.meshgrid(*(torch.arange(side) for side in GRID), indexing="ij")
    places = torch.stack(axes, -1).view(-1, 3).float()[order.places]
    waves = torch.randn(3, width // 2, generator=draw) * torch.tensor([0.3, 0.3, 0.3])[:, None]
    shared = torch.cat([(places @ waves).cos(), (places @ waves).sin()], dim=1)
    q = (3 * shared + 0.3 * torch.randn(LENGTH, width, generator=draw))[None, :, None].repeat(1, 1, HEADS, 1)
    k = (2 * shared + 0.3 * torch.randn(LENGTH, width, generator=draw))[None, :, None].repeat(1, 1, HEADS, 1)
    return q, k, torch.randn(1, LENGTH, HEADS, width, generator=draw), order


def some_blocks(blocks, kept, heads=HEADS, batch=1, device="cpu"):
    """Random lists that have every block's own in them."""
    draw = torch.Generator().manual_seed(7)
    wanted = torch.rand(batch, heads, blocks, blocks, generator=draw) + torch.eye(blocks)
    index = wanted.topk(kept, dim=-1).indices.sort(-1).values.int()
    return KeptBlocks((HeadGroup(None, index.to(device)),), BLOCK)


def masked_attention(q, k, v, kept):
    """Dense attention in fp64 with everything that is not kept at minus infinity; the plainest form there is."""
    batch, length, heads, width = q.shape
    number = torch.arange(length) // kept.block
    allowed = torch.zeros(batch, heads, length, length, dtype=torch.bool)
    for group in kept.groups:
        own = range(heads) if group.heads is None else group.heads.tolist()
        for place, head in enumerate(own):
            for sample in range(batch):
                lists = group.index[sample % len(group.index), place]
                table = torch.zeros(len(lists), len(lists), dtype=torch.bool)
                for row, listed in enumerate(lists.tolist()):
                    table[row, listed] = True
                allowed[sample, head] = table[number][:, number]
    scores = torch.einsum("blnd,bsnd->bnls", q.double(), k.double()) * width**-0.5
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
    return torch.einsum("bnls,bsnd->blnd", weights, v.double())


def relative(found, expected):
    wide = expected.double()
    return float((found.double() - wide).norm() / wide.norm())
