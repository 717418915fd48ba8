"""Prompt to conditioning.

Legend: B texts, L tokens, S tokens of one text, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.pipeline.values import Conditioning, Tokenise

PAD = 0


def encode(prompt: str, negative: str | None, tokenise: Tokenise, encoder: Umt5Encoder) -> Conditioning:
    """Features of a prompt and, unless it is None, of a negative prompt.

    Both are encoded in one batch as long as the longer of them; the originals pad to the model's text length, which
    changes nothing but the time it takes, since padding is masked. Rows of padding hold numbers without meaning and are
    cut off here.
    """
    device = next(encoder.parameters()).device
    texts = [list(tokenise(text)) for text in (prompt, negative) if text is not None]
    longest = max(map(len, texts))
    ids = torch.tensor([text + [PAD] * (longest - len(text)) for text in texts], device=device)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    with torch.no_grad():
        features = encoder(ids, torch.arange(longest, device=device) < lengths[:, None])
    rows: list[Tensor] = [row[: len(text)].clone() for row, text in zip(features, texts, strict=True)]
    return Conditioning(text=rows[0], negative=rows[1] if len(rows) > 1 else None)
