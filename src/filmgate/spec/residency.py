"""Where the networks of a model lie while a plan is carried out, and in which format."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from filmgate.spec.shape import Frozen

MemoryMode = Literal["resident", "one_expert", "sharded", "streamed"]
"""What is on the device at once: every network; one of them; of a transformer a part, the others being on the other
devices of the run; or of a transformer only a few blocks."""
TextEncoderPlace = Literal["device", "cpu", "freed"]
"""The text encoder stays on the device; works on the CPU; or is on the device for as long as it works."""
WeightFormat = Literal["as_computed", "as_stored", "bf16", "fp8", "int8", "int4"]
"""How the large layers of the transformers are kept on the device. ``as_computed``: in the format of the arithmetic.
``as_stored``: as in the file wherever that takes fewer bytes (fp8, GGUF), for the text encoder too. The others are made
on loading: 2, 1, 1 and 0.53 bytes per weight, scales included. Whatever the format, the arithmetic is the plan's."""
HostPlace = Literal["pinned", "mapped"]
"""Where streamed blocks come from: page-locked memory of the size of one expert, or the mapped file."""


class ResidencyPlan(Frozen):
    """Where networks lie. The defaults are one network at a time, loaded when it is needed.

    ``resident`` keeps all on the device once they are loaded. ``one_expert`` frees each before the next comes.
    ``streamed`` keeps, of the transformer and of the text encoder, what is outside their blocks, ``kept_blocks`` of the
    transformer's blocks, and two buffers of the size of one block; the other blocks come from ``host`` in every pass.
    ``sharded`` keeps the same of a transformer, and of the other blocks an equal part on each device of the run; they
    come from all of them in every pass. Networks are there one at a time.
    ``vae_tile`` is the side in pixels of the tiles in which the VAE works; None: whole frames.

    Mode, host and kept blocks never change the result, not by a bit. The format of the weights, tiles, and a text
    encoder on the CPU do.
    """

    mode: MemoryMode = "one_expert"
    text_encoder: TextEncoderPlace = "freed"
    weights: WeightFormat = "as_computed"
    host: HostPlace = "pinned"
    kept_blocks: int = Field(default=0, ge=0)
    vae_tile: int | None = None

    @property
    def moves_blocks(self) -> bool:
        """Whether a transformer's blocks come and go while it works."""
        return self.mode in ("streamed", "sharded")

    @property
    def deciding(self) -> ResidencyPlan:
        """The same with everything at its default that does not decide the picture."""
        place: TextEncoderPlace = "cpu" if self.text_encoder == "cpu" else "freed"
        return ResidencyPlan(text_encoder=place, weights=self.weights, vae_tile=self.vae_tile)
