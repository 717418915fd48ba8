"""The diffusion transformer of Wan 2.1 and Wan 2.2: latent video, noise level and text in, flow velocity out.

Legend: B batch, C latent channels, T H W latent frames, rows and columns, L = T·(H/2)·(W/2) tokens, D model dimension,
N heads, Dh head dimension, S text rows, U distinct timesteps, P image tokens.

Precision: time embedding, modulation, normalisation, rotary embedding, residual stream and head run in fp32 whatever
the dtype of the large linear layers (and under autocast). Everything that depends on the device, on several devices or
on a file is applied to this module from outside.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filmgate.engine.kernels.attention import Attend, sdpa
from filmgate.engine.kernels.gelu import GeluTanh
from filmgate.engine.kernels.rope import rope_table
from filmgate.engine.models.camera_adapter import CameraAdapter
from filmgate.engine.models.config import PATCH, RAY_CHANNELS, DitConfig
from filmgate.engine.models.dit_layers import (
    Block,
    FoldedText,
    Head,
    ImageEmbedding,
    KeysValues,
    Linear,
    PatchEmbedding,
    TextCache,
    timestep_sinusoid,
    unpatchify,
)
from filmgate.engine.models.vace import Step, VaceBlock, hints
from filmgate.spec.errors import InvalidRequest

__all__ = ["FoldedText", "KeysValues", "TextCache", "WanDiT"]


class WanDiT(nn.Module):
    """Velocity (noise minus video) of a noisy latent video.

    Args:
        config: Architecture.
        attend: Attention of every layer; wrap or replace it for other kernels or for several devices.
    """

    def __init__(self, config: DitConfig, attend: Attend = sdpa) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = PatchEmbedding(config.in_dim, dim)
        self.text_embedding = nn.Sequential(Linear(config.text_dim, dim), GeluTanh(), Linear(dim, dim))
        self.time_embedding = nn.Sequential(Linear(config.freq_dim, dim), nn.SiLU(), Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), Linear(dim, 6 * dim))
        if config.image_dim is not None:
            self.img_emb = ImageEmbedding(config.image_dim, dim, config.image_positions)
        self.blocks = nn.ModuleList([Block(config, attend) for _ in range(config.num_layers)])
        self.head = Head(config)
        if config.vace_layers:
            self.vace_patch_embedding = PatchEmbedding(config.vace_in_dim, dim)
            self.vace_blocks = nn.ModuleList(
                [VaceBlock(config, attend, first=layer == 0) for layer in config.vace_layers]
            )
        if config.camera_scale is not None:
            self.control_adapter = CameraAdapter(dim, config.camera_scale, config.camera_blocks)

    def text_blocks(self) -> list[Block]:
        """All blocks that read text, in the order of their text caches: those of VACE's branch after the others."""
        branch = self.vace_blocks if self.config.vace_layers else ()
        return [cast(Block, block) for block in (*self.blocks, *branch)]

    def embed_text(self, context: Tensor) -> Tensor:
        """Text features [B, S, text_dim] to [B, text_len, D]. Shorter texts are padded with zero rows first; the rows
        which these become are attended to like any other, as in training.

        Raises:
            InvalidRequest: More rows than ``text_len``, or features of another width.
        """
        rows, width = context.shape[1:]
        if rows > self.config.text_len or width != self.config.text_dim:
            raise InvalidRequest(
                "context",
                f"{rows} rows of {width} features",
                allowed=f"at most {self.config.text_len} rows of {self.config.text_dim}",
            )
        embedded: Tensor = self.text_embedding(F.pad(context, (0, 0, 0, self.config.text_len - rows)))
        return embedded

    def text_keys_values(self, context: Tensor, image: Tensor | None = None) -> list[KeysValues]:
        """What every layer's cross-attention reads: it depends on the prompt alone, so compute it once per prompt.

        Args:
            context: Text features [B, S ≤ text_len, text_dim]; rows of padding must be zero, as the text encoder's
                outputs there are not.
            image: Image features [B, P, image_dim], for models with that branch and for no others.

        Raises:
            InvalidRequest: The shapes do not fit the model.
        """
        if (image is None) != (self.config.image_dim is None):
            raise InvalidRequest(
                "image",
                "missing" if image is None else "this model has no image branch",
                allowed="none" if self.config.image_dim is None else f"[B, P, {self.config.image_dim}]",
            )
        text = self.embed_text(context)
        tokens = None if image is None else self.img_emb(image)
        return [block.cross_attn.keys_values(text, tokens) for block in self.text_blocks()]

    def fold_text(self, context: Tensor) -> list[FoldedText]:
        """A text cache for :meth:`forward` that costs less per step than :meth:`text_keys_values` does when the text is
        short; equal up to rounding. For inference without image branch.

        Args:
            context: As in :meth:`text_keys_values`; rows that are zero in all texts after their last word are padding.

        Raises:
            InvalidRequest: The shapes do not fit the model, or it has an image branch.
        """
        if self.config.image_dim is not None:
            raise InvalidRequest("context", "this model's text cannot be folded", allowed="models without image branch")
        text = self.embed_text(context)
        words = context.ne(0).any(-1).any(0).nonzero()
        used = int(words.max()) + 1 if len(words) else 0
        rows = min(used + 1, self.config.text_len)
        log_count = torch.zeros(rows, device=text.device)
        log_count[-1] = math.log(self.config.text_len - rows + 1)
        return [block.cross_attn.folded(text[:, :rows], log_count) for block in self.text_blocks()]

    def embed_timestep(self, timestep: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Timesteps [B] to (e [B, D], e0 [B, 6, D], None); [B, L] to (e [U, D], e0 [U, 6, D], index [B, L]), where each
        distinct value is embedded once. All fp32."""
        index = None
        if timestep.ndim == 2:
            timestep, index = torch.unique(timestep, return_inverse=True)
        with torch.autocast(timestep.device.type, enabled=False):
            e = self.time_embedding(timestep_sinusoid(timestep, self.config.freq_dim)).float()
            e0 = self.time_projection(e).float().unflatten(-1, (6, self.config.dim))
        return e, e0, index

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Tensor | None = None,
        image: Tensor | None = None,
        *,
        text_cache: TextCache | None = None,
        control: Tensor | None = None,
        control_scale: float = 1.0,
    ) -> Tensor:
        """Velocity of ``x``.

        One latent and several texts (a prompt and its negative) may go in together: what comes before the first
        cross-attention is then computed once.

        Args:
            x: [B, C_in, T, H, W], H and W even; noisy latents, then conditioning channels if the model has them.
            timestep: [B], 0 ... 1000; or [B, L] for models with per-token timesteps.
            context, image: As in :meth:`text_keys_values`, not needed with ``text_cache``; of batch B, or of any batch
                if that of ``x`` is 1.
            text_cache: Result of :meth:`text_keys_values` or of :meth:`fold_text`.
            control: For models that read one, of the batch of ``x``: VACE's context [B, vace_in_dim, T, H, W], or the
                packed rays of a camera [B, 24, T, s·H, s·W] at s = ``camera_scale`` pixels per latent.
            control_scale: Strength of VACE's hints.

        Returns:
            [B, C_out, T, H, W], fp32, B being the larger of the batches.

        Raises:
            InvalidRequest: The shapes do not fit the model.
        """
        grid = self._grid(x, timestep)
        self._check_control(x, control)
        if text_cache is None:
            if context is None:
                raise InvalidRequest("context", "neither text features nor their cache", allowed="one of the two")
            text_cache = self.text_keys_values(context, image)
        rope = rope_table(grid, self.config.head_dim, x.device)
        e, e0, index = self.embed_timestep(timestep)

        def step(block: Block, tokens: Tensor, keys_values: KeysValues | FoldedText) -> Tensor:
            result: Tensor = block(tokens, e0, index, keys_values, rope)
            return result

        # Embedded on the way in, so that nothing here holds what goes in while the blocks work.
        tokens = self.through_blocks(
            self._embedded(x, control), text_cache, step, self._context(control), control_scale
        )
        with torch.autocast(x.device.type, enabled=False):
            patches = self.head(tokens, e, index).float()
        return unpatchify(patches, grid)

    def _embedded(self, x: Tensor, control: Tensor | None) -> Tensor:
        """Tokens [B, L, D] of latents, with a camera's rays where the model reads them; fp32."""
        tokens: Tensor = self.patch_embedding(x).float()
        if self.config.camera_scale is not None:
            tokens = tokens + self.control_adapter(control).float()
        return tokens

    def _context(self, control: Tensor | None) -> Tensor | None:
        """What VACE's branch begins with, [B, L, D], fp32, if there is a branch."""
        return self.vace_patch_embedding(control).float() if self.config.vace_layers else None

    def through_blocks(
        self, tokens: Tensor, text_cache: TextCache, step: Step, given: Tensor | None, control_scale: float
    ) -> Tensor:
        """Tokens [B, L, D] as all blocks leave them, fp32; between it and the embedding, or the head, nothing depends
        on more than a token and the time.

        Args:
            tokens: Embedded patches.
            text_cache: As in :meth:`forward`.
            step: One block with what all blocks are told.
            given: Embedded context [B, L, D] of VACE's branch, if there is one.
            control_scale: Strength of its hints.
        """
        readers = list(zip(self.text_blocks(), text_cache, strict=True))
        main, branch = readers[: len(self.blocks)], readers[len(self.blocks) :]
        hinted = iter(()) if given is None else hints(branch, given, tokens, step)
        del given
        for layer, (block, keys_values) in enumerate(main):
            tokens = step(block, tokens, keys_values)
            if layer in self.config.vace_layers:
                tokens = tokens + control_scale * next(hinted)
        return tokens

    def _grid(self, x: Tensor, timestep: Tensor) -> tuple[int, int, int]:
        """Tokens along time, height and width; complains about inputs that do not fit the model."""
        channels, *size = x.shape[1:]
        if channels != self.config.in_dim:
            raise InvalidRequest("x", f"{channels} channels", allowed=str(self.config.in_dim))
        if any(length % patch for length, patch in zip(size, PATCH, strict=True)):
            raise InvalidRequest("x", f"a latent size of {tuple(size)}", allowed=f"multiples of {PATCH}")
        t, h, w = (length // patch for length, patch in zip(size, PATCH, strict=True))
        per_sample = (x.shape[0],)
        allowed = [per_sample, (x.shape[0], t * h * w)] if self.config.per_token_timestep else [per_sample]
        if tuple(timestep.shape) not in allowed:
            raise InvalidRequest(
                "timestep", f"shape {tuple(timestep.shape)}", allowed=" or ".join(str(shape) for shape in allowed)
            )
        return t, h, w

    def _check_control(self, x: Tensor, control: Tensor | None) -> None:
        config = self.config
        if config.vace_layers:
            expected = (config.vace_in_dim, *x.shape[2:])
        elif config.camera_scale is not None:
            expected = (RAY_CHANNELS, x.shape[2], *(config.camera_scale * side for side in x.shape[3:]))
        else:
            expected = None
        found = None if control is None else tuple(control.shape[1:])
        if found != expected:
            raise InvalidRequest(
                "control",
                "missing" if found is None else f"{found} in every sample",
                allowed="none: this model reads no control" if expected is None else f"{expected} in every sample",
            )
