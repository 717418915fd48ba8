"""A test of the tests: every quiet mistake that a port of these models can make must move the golden vectors.

Each mutation rewrites one rule of the model. A mutation that changed nothing would mean that a wrong model passes. On
the tiny text-to-video transformer they range from total failure down to 3e-5 (the wrong GELU in the text embedding).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from tests.engine.models.dit_cases import (
    DIT_TOLERANCE,
    GOLDEN_DIT,
    TEXT_TOLERANCE,
    dit_deviation,
    golden_dit,
    golden_text_encoder,
    text_deviation,
)
from torch import Tensor, nn

from filmgate.engine.kernels.attention import sdpa
from filmgate.engine.kernels.norm import layer_norm, layer_norm_modulate, rms_norm
from filmgate.engine.kernels.rope import apply_rope, rope_table
from filmgate.engine.models import dit, dit_layers, umt5
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.dit_layers import Block, Head
from filmgate.engine.models.umt5 import Umt5Encoder

Patch = pytest.MonkeyPatch
DIT_FLOOR = 1e-5
"""Our own distance from the published numbers is at most this; they are printed with five decimals."""


def affine_norm_before_ffn(patch: Patch, model: WanDiT) -> None:
    """The weighted norm belongs to the cross-attention, not to the feed-forward network."""

    def forward(
        self: Block, x: Tensor, e0: Tensor, index: None, keys_values: dit_layers.KeysValues, rope: Any
    ) -> Tensor:
        m = (self.modulation + e0).unbind(1)
        x = x + self.self_attn(layer_norm_modulate(x, m[0][:, None], m[1][:, None], self.eps), rope) * m[2][:, None]
        x = x + self.cross_attn(layer_norm(x, None, None, self.eps), keys_values)
        y: Tensor = self.ffn(self.norm3(x) * (1 + m[4][:, None]) + m[3][:, None])
        return x + y * m[5][:, None]

    patch.setattr(Block, "forward", forward)


def text_not_padded(patch: Patch, model: WanDiT) -> None:
    patch.setattr(WanDiT, "embed_text", lambda self, context: self.text_embedding(context))


def text_padded_after_embedding(patch: Patch, model: WanDiT) -> None:
    patch.setattr(WanDiT, "embed_text", lambda self, c: F.pad(self.text_embedding(c), (0, 0, 0, 512 - c.shape[1])))


def norm_per_head(patch: Patch, model: WanDiT) -> None:
    def per_head(x: Tensor, weight: Tensor, eps: float) -> Tensor:
        return rms_norm(x.view(*x.shape[:-1], 2, -1), torch.ones(()), eps).flatten(-2) * weight

    patch.setattr(dit_layers, "rms_norm", per_head)


def norm_without_weight(patch: Patch, model: WanDiT) -> None:
    patch.setattr(dit_layers, "rms_norm", lambda x, _weight, eps: rms_norm(x, torch.ones(()), eps))


def rotate_halves(patch: Patch, model: WanDiT) -> None:
    def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        cos, sin = cos[:, None], sin[:, None]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    patch.setattr(dit_layers, "apply_rope", rotated)


def axes_height_width_time(patch: Patch, model: WanDiT) -> None:
    original = rope_table

    def reordered(*args: Any) -> tuple[Tensor, Tensor]:
        cos, sin = original(*args)
        return cos.roll(-6, 1), sin.roll(-6, 1)

    patch.setattr(dit, "rope_table", reordered)


def positions_on_values_too(patch: Patch, model: WanDiT) -> None:
    tables = rope_table((3, 4, 5), 32)
    for block in model.blocks:
        attention: Any = block.self_attn
        attention.attend = lambda q, k, v, /: sdpa(q, k, apply_rope(v, *tables))


def head_reads_the_activated_embedding(patch: Patch, model: WanDiT) -> None:
    original = Head.forward
    patch.setattr(Head, "forward", lambda self, x, e, index: original(self, x, F.silu(e), index))


def projection_without_activation(patch: Patch, model: WanDiT) -> None:
    model.time_projection[0] = nn.Identity()


def sines_before_cosines(patch: Patch, model: WanDiT) -> None:
    original = dit.timestep_sinusoid
    patch.setattr(dit, "timestep_sinusoid", lambda t, dim: original(t, dim).roll(dim // 2, 1))


def frequencies_over_half_minus_one(patch: Patch, model: WanDiT) -> None:
    def sinusoid(t: Tensor, dim: int) -> Tensor:
        angles = torch.outer(t.double(), 10_000 ** (-torch.arange(dim // 2).double() / (dim // 2 - 1)))
        return torch.cat([angles.cos(), angles.sin()], 1).float()

    patch.setattr(dit, "timestep_sinusoid", sinusoid)


def shift_and_scale_swapped(patch: Patch, model: WanDiT) -> None:
    original = layer_norm_modulate
    patch.setattr(dit_layers, "layer_norm_modulate", lambda x, shift, scale, eps: original(x, scale, shift, eps))


def gates_swapped(patch: Patch, model: WanDiT) -> None:
    original = Block.forward
    order = torch.tensor([0, 1, 5, 3, 4, 2])

    def forward(self: Block, x: Tensor, e0: Tensor, *rest: Any) -> Tensor:
        modulation = self.modulation.data
        self.modulation.data = modulation[:, order]
        result = original(self, x, e0[:, order], *rest)
        self.modulation.data = modulation
        return result

    patch.setattr(Block, "forward", forward)


def channel_slowest(patch: Patch, model: WanDiT) -> None:
    original = rearrange
    patch.setattr(
        dit_layers, "rearrange", lambda x, p, /, **sizes: original(x, p.replace("(p q c)", "(c p q)"), **sizes)
    )


def rows_and_columns_of_a_patch_swapped(patch: Patch, model: WanDiT) -> None:
    original = rearrange
    patch.setattr(
        dit_layers, "rearrange", lambda x, p, /, **sizes: original(x, p.replace("(p q c)", "(q p c)"), **sizes)
    )


def modulation_rounded_to_half_precision(patch: Patch, model: WanDiT) -> None:
    original = WanDiT.embed_timestep

    def rounded(self: WanDiT, timestep: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        e, e0, index = original(self, timestep)
        return e, e0.bfloat16().float(), index

    patch.setattr(WanDiT, "embed_timestep", rounded)


def exact_gelu_in_ffn(patch: Patch, model: WanDiT) -> None:
    for block in model.blocks:
        ffn: Any = block.ffn
        ffn[1] = nn.GELU()


def exact_gelu_in_text(patch: Patch, model: WanDiT) -> None:
    model.text_embedding[1] = nn.GELU()


def key_biases_dropped(patch: Patch, model: WanDiT) -> None:
    for block in model.blocks:
        for attention in (block.self_attn, block.cross_attn):
            layer: Any = attention
            layer.k.bias = None


DIT_MUTATIONS: tuple[Callable[[Patch, WanDiT], None], ...] = (
    affine_norm_before_ffn, text_not_padded, text_padded_after_embedding, norm_per_head, norm_without_weight,
    rotate_halves, axes_height_width_time, positions_on_values_too, head_reads_the_activated_embedding,
    projection_without_activation, sines_before_cosines, frequencies_over_half_minus_one, shift_and_scale_swapped,
    gates_swapped, channel_slowest, rows_and_columns_of_a_patch_swapped, modulation_rounded_to_half_precision,
    exact_gelu_in_ffn, exact_gelu_in_text, key_biases_dropped,
)  # fmt: skip


@pytest.mark.parametrize("mutation", DIT_MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_the_golden_transformer_notices(mutation: Callable[[Patch, WanDiT], None], monkeypatch: Patch) -> None:
    case = GOLDEN_DIT["t2v"]
    model = golden_dit(case)
    assert dit_deviation(model, case) <= DIT_FLOOR
    mutation(monkeypatch, model)
    assert dit_deviation(model, case) > DIT_TOLERANCE


def image_not_attended(patch: Patch, model: WanDiT) -> None:
    original = dit_layers.CrossAttention.forward
    patch.setattr(dit_layers.CrossAttention, "forward", lambda self, x, kv: original(self, x, kv[:1]))


def tanh_gelu_on_image(patch: Patch, model: WanDiT) -> None:
    model.img_emb.proj[2] = nn.GELU(approximate="tanh")


def one_softmax_over_text_and_image(patch: Patch, model: WanDiT) -> None:
    original = dit_layers.CrossAttention.forward

    def joined(self: dit_layers.CrossAttention, x: Tensor, kv: dit_layers.KeysValues) -> Tensor:
        return original(self, x, ((torch.cat([k for k, _ in kv], 1), torch.cat([v for _, v in kv], 1)),))

    patch.setattr(dit_layers.CrossAttention, "forward", joined)


@pytest.mark.parametrize(
    "mutation", [image_not_attended, tanh_gelu_on_image, one_softmax_over_text_and_image], ids=lambda m: m.__name__
)
def test_the_golden_image_branch_notices(mutation: Callable[[Patch, WanDiT], None], monkeypatch: Patch) -> None:
    case = GOLDEN_DIT["i2v-2.1"]
    model = golden_dit(case)
    mutation(monkeypatch, model)
    assert dit_deviation(model, case) > DIT_TOLERANCE


def image_positions_forgotten(patch: Patch, model: WanDiT) -> None:
    model.img_emb.emb_pos = None


def test_the_golden_first_last_frame_model_notices_missing_positions(monkeypatch: Patch) -> None:
    case = GOLDEN_DIT["flf2v-2.1"]
    model = golden_dit(case)
    image_positions_forgotten(monkeypatch, model)
    assert dit_deviation(model, case) > DIT_TOLERANCE


def test_the_golden_per_token_model_notices_one_embedding_for_all_tokens(monkeypatch: Patch) -> None:
    case = GOLDEN_DIT["ti2v-2.2"]
    model = golden_dit(case)
    original = Head.forward
    # The head must read each token's own timestep, as the blocks do.
    monkeypatch.setattr(Head, "forward", lambda self, x, e, index: original(self, x, e, torch.ones_like(index)))
    assert dit_deviation(model, case) > DIT_TOLERANCE


def scaled_scores(patch: Patch, model: Umt5Encoder) -> None:
    def scaled(q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor, scale: float) -> Tensor:
        return sdpa(q, k, v, bias=bias, scale=scale * q.shape[-1] ** -0.5)

    patch.setattr(umt5, "sdpa", scaled)


def padding_attended(patch: Patch, model: Umt5Encoder) -> None:
    original = Umt5Encoder.forward
    patch.setattr(Umt5Encoder, "forward", lambda self, ids, mask: original(self, ids, torch.ones_like(mask)))


def one_bias_table_for_all_layers(patch: Patch, model: Umt5Encoder) -> None:
    first: Any = model.blocks[0]
    for block in model.blocks:
        layer: Any = block
        layer.pos_embedding = first.pos_embedding


def distance_from_key_to_query(patch: Patch, model: Umt5Encoder) -> None:
    original = umt5.relative_buckets
    patch.setattr(umt5, "relative_buckets", lambda *args: original(*args).T)


def one_sided_buckets(patch: Patch, model: Umt5Encoder) -> None:
    original = umt5.relative_buckets
    patch.setattr(umt5, "relative_buckets", lambda *args: original(*args) % 16)


def exact_gelu_in_gate(patch: Patch, model: Umt5Encoder) -> None:
    for block in model.blocks:
        ffn: Any = block.ffn
        ffn.gate[1] = nn.GELU()


def gate_and_value_swapped(patch: Patch, model: Umt5Encoder) -> None:
    for block in model.blocks:
        ffn: Any = block.ffn
        ffn.gate[0], ffn.fc1 = ffn.fc1, ffn.gate[0]


def mean_subtracted(patch: Patch, model: Umt5Encoder) -> None:
    patch.setattr(umt5, "rms_norm", lambda x, weight, eps: F.layer_norm(x, x.shape[-1:], weight, None, eps))


TEXT_MUTATIONS: tuple[Callable[[Patch, Umt5Encoder], None], ...] = (
    scaled_scores, padding_attended, one_bias_table_for_all_layers, distance_from_key_to_query, one_sided_buckets,
    exact_gelu_in_gate, gate_and_value_swapped, mean_subtracted,
)  # fmt: skip


@pytest.mark.parametrize("mutation", TEXT_MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_the_golden_text_encoder_notices(mutation: Callable[[Patch, Umt5Encoder], None], monkeypatch: Patch) -> None:
    model = golden_text_encoder()
    mutation(monkeypatch, model)
    assert text_deviation(model) > TEXT_TOLERANCE
