"""Runs the Triton kernels in Triton's interpreter, on a CPU, and prints how far each is from its reference as JSON.

TRITON_INTERPRET=1 python -m tests.engine.kernels.interpreted
"""

import json
import sys
from unittest import mock

import torch
from tests.engine.golden_fill import fill_parameters, golden_tensor
from tests.engine.kernels.block_cases import BLOCK, random_qkv, some_blocks

from filmgate.engine.kernels import channel_norm, conv, triton_blocks, triton_channels, triton_rows
from filmgate.engine.kernels.block_attention import part_reference
from filmgate.engine.kernels.eight_bit_product import rounded_rows_reference
from filmgate.engine.kernels.gelu import gelu_tanh
from filmgate.engine.kernels.head_norm import norm_heads_reference
from filmgate.engine.kernels.residual_norm import Modulation, gated_sum, residual_norm_reference
from filmgate.engine.kernels.rope import rope_table
from filmgate.engine.kernels.skipped_blocks import Tokens, kept_mask, pooled, with_skipped_reference
from filmgate.engine.models import vae_layers
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.engine.runtime.prepare import Choices, prepare

EPS = 1e-6
BATCH, LENGTH, HEADS = 2, 12, (4, 24)
DIM = HEADS[0] * HEADS[1]


def farthest(found, expected):
    return float((found - expected).abs().max())


def residual_norms():
    """Largest error over all ways in which rows can be given."""
    x, update, rows = torch.randn(BATCH, LENGTH, DIM), torch.randn(BATCH, LENGTH, DIM), torch.randn(BATCH, 6, DIM)
    shared = torch.randint(0, BATCH, (1, LENGTH))
    worst = 0.0
    for stream in (x, x[:1]):
        for modulation in (
            Modulation(rows[:, 0], rows[:, 1], rows[:, 2]), Modulation(rows[:, 0], rows[:, 1]),
            Modulation(rows[:1, 0], rows[:1, 1], rows[:1, 2]), Modulation(rows[:, 0], rows[:, 1], rows[:, 2], shared),
            Modulation(rows[0, :1].expand(BATCH, DIM), rows[0, 1:2].expand(BATCH, DIM), rows[:, 2], shared),
        ):  # fmt: skip
            expected = residual_norm_reference(stream, update, modulation, EPS, torch.float32)
            summed, normed = torch.empty_like(update), torch.empty_like(update)
            triton_rows.launch_residual_norm(stream, update, modulation, EPS, summed, normed)
            worst = max(worst, farthest(summed, expected[0]), farthest(normed, expected[1]))
            triton_rows.launch_gated_sum(stream, update, modulation.gate, modulation.row, summed)
            worst = max(worst, farthest(summed, gated_sum(stream, update, modulation.gate, modulation.row)))
    alone = Modulation(rows[:, 0], rows[:, 1])
    normed = torch.empty_like(x)
    triton_rows.launch_residual_norm(x, None, alone, EPS, x, normed)
    return max(worst, farthest(normed, residual_norm_reference(x, None, alone, EPS, torch.float32)[1]))


def rounded():
    """Rows divided by their scale, before the last conversion: the interpreter's own to e4m3 is wrong where a mantissa
    is rounded up to the next power of two."""
    x, update, rows = torch.randn(BATCH, LENGTH, DIM), torch.randn(BATCH, LENGTH, DIM), torch.randn(BATCH, 3, DIM)
    modulation = Modulation(*rows.unbind(1))
    normed = residual_norm_reference(x, update, modulation, EPS, torch.float32)[1]
    numbers, scale, summed = torch.empty_like(x), torch.empty(BATCH, LENGTH, 1), torch.empty_like(x)
    triton_rows.launch_residual_norm(x, update, modulation, EPS, summed, numbers, scale)
    worst = max(farthest(numbers * scale, normed), farthest(scale, rounded_rows_reference(normed).scale))
    apart = x.view(BATCH, LENGTH, *HEADS).transpose(1, 2).contiguous().transpose(1, 2)
    for given, gelu, expected in ((x[:, :, None], False, x), (x[:, :, None], True, gelu_tanh(x)), (apart, False, x)):
        triton_rows.launch_rounded_rows(given, numbers, scale, gelu=gelu)
        scales = rounded_rows_reference(expected).scale
        worst = max(worst, farthest(numbers * scale, expected), farthest(scale, scales))
    return worst


def heads():
    x, weight, worst = torch.randn(BATCH, LENGTH, DIM), torch.randn(DIM), 0.0
    for rope in (None, rope_table((2, 3, 2), HEADS[1])):
        found = torch.empty(BATCH, LENGTH, *HEADS)
        triton_rows.launch_norm_heads(x, weight, EPS, rope, found)
        worst = max(worst, farthest(found, norm_heads_reference(x, weight, EPS, HEADS, rope)))
    return worst


def channels():
    x = torch.randn(1, 12, 3, 4, 5).contiguous(memory_format=torch.channels_last_3d)
    gamma, bias, y = torch.rand(12, 1, 1, 1), torch.randn(12), torch.empty_like(x)
    triton_channels.launch_channel_rms(x, gamma, y, 1e-12, activated=True, bias=bias)
    shifted = x + bias.view(-1, 1, 1, 1)
    worst = farthest(y, channel_norm.channel_rms_silu_reference(shifted, gamma))
    triton_channels.launch_channel_rms(x, gamma, y, 1e-12, activated=False)
    worst = max(worst, farthest(y, channel_norm.channel_rms_reference(x, gamma)))
    wide = torch.full((1, 16, 3, 4, 5), torch.nan).contiguous(memory_format=torch.channels_last_3d)
    triton_channels.launch_channel_rms(x, gamma, wide, 1e-12, activated=False)
    expected = torch.cat([channel_norm.channel_rms_reference(x, gamma), torch.zeros(1, 4, 3, 4, 5)], 1)
    worst = max(worst, farthest(wide, expected))
    frames = x[0].transpose(0, 1).contiguous(memory_format=torch.channels_last)
    y = torch.empty(3, 8, 10, 12).permute(0, 3, 1, 2)
    triton_channels.launch_doubled(frames, y)
    worst = max(worst, farthest(y, conv.doubled(frames)))
    y = torch.empty_like(x)
    triton_channels.launch_biased_sum(x, bias, x, y)
    return max(worst, farthest(y, shifted + x))


def skipped():
    """Means of skipped blocks, of a length that ends within a block and heads of a width that is no power of two."""
    worst = 0.0
    for width in (16, 24):
        q, k, v = random_qkv(width=width)
        index = some_blocks(-(-q.shape[1] // BLOCK), 4).groups[0].index
        expected = with_skipped_reference(part_reference(q, k, v, index, BLOCK), Tokens(q, k, v), index, BLOCK)
        found = part_reference(q, k, v, index, BLOCK)
        keys, values = (pooled(x, BLOCK).contiguous() for x in (k, v))
        triton_blocks.launch_skipped(found, q, keys, values, kept_mask(index, len(q)), BLOCK)
        worst = max(worst, *(farthest(one, other) for one, other in zip(found, expected, strict=True)))
    return worst


def autoencoder():
    """A whole VAE with all of its kernels, whatever layout its convolutions leave, and with channels that some of them
    read beside zeros."""
    vae = fill_parameters(WanVae(VaeConfig(dim=8, dim_mult=(1, 2, 2, 2), num_res_blocks=1)))
    video, latent = golden_tensor("video", (3, 9, 16, 24))[None], golden_tensor("latent", (16, 3, 2, 3))[None]
    with torch.no_grad():
        expected = vae.encode(video), vae.decode(latent)
        prepare(vae, Choices(channels_last=True))
        kernels = mock.patch.object(channel_norm, "has_kernel", channel_norm.lies_side_by_side)
        with kernels, mock.patch.object(conv, "has_kernel", channel_norm.lies_side_by_side):
            found = [vae.encode(video), vae.decode(latent)]
            with mock.patch.object(vae_layers, "width_to_read", lambda x: {8: 11, 16: 32}[x.shape[1]]):
                found += [vae.encode(video), vae.decode(latent)]
    return max(farthest(one, other) for one, other in zip(found, expected + expected, strict=True))


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    made = (residual_norms, rounded, heads, channels, skipped, autoencoder)
    sys.stdout.write(json.dumps({function.__name__: function() for function in made}))
