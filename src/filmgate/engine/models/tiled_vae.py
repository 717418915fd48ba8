"""The video autoencoder in tiles, for devices that do not hold what it makes of a whole frame.

It is not exactly the same network: its middle layers attend to all positions of a frame, here of a tile. How far the
results are apart is in docs/residency.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from filmgate.engine.kernels.tiling import Share, every_tile, tiled
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig

OVERLAP = 4
"""Of a tile's side, one part in so many is shared with the next tile."""
LEAST_OVERLAP = 2


class TiledVae(WanVae):
    """A :class:`~.vae.WanVae` whose streams work in tiles; the tensors are the same.

    Args:
        config: Architecture.
        tile: Side of a tile in pixels, a multiple of the spatial factor.

    Attributes:
        share: Which tiles are computed here; what others compute must be added.
    """

    def __init__(self, config: VaeConfig, tile: int) -> None:
        super().__init__(config)
        self.tile = tile // config.spatial_factor
        self.overlap = max(LEAST_OVERLAP, self.tile // OVERLAP)
        self.share: Share = every_tile

    def encode_chunks(self, video: Tensor) -> Iterator[Tensor]:
        """See :meth:`~.vae.WanVae.encode_chunks`."""
        self._check_video(video)
        yield from tiled(
            super().encode_chunks, video, tile=self.tile, overlap=self.overlap, into=self.config.spatial_factor,
            device=self._device, share=self.share,
        )  # fmt: skip

    def decode_chunks(self, latent: Tensor) -> Iterator[Tensor]:
        """See :meth:`~.vae.WanVae.decode_chunks`. Frames are given when all tiles are done."""
        self._check_latent(latent)
        yield from tiled(
            super().decode_chunks, latent, tile=self.tile, overlap=self.overlap, out=self.config.spatial_factor,
            device=self._device, share=self.share,
        )  # fmt: skip

    @property
    def _device(self) -> torch.device:
        return self.conv2.weight.device
