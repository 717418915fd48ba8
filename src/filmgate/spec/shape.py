"""Shapes of videos and latents, and the only conversions between them.

Wan's causal VAEs encode the first frame alone and then groups of ``temporal`` frames: F = 1 + temporal·n pixel frames
become T = 1 + n latent frames (Wan 2.1: 4×8×8 to 16 channels; Wan 2.2 5B: 4×16×16 to 48 channels; arXiv 2503.20314).
The transformer then takes patches of 1×2×2 latents, so height and width must divide by twice the spatial factor.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from filmgate.spec.errors import InvalidRequest

Positive = Annotated[int, Field(gt=0)]


class Frozen(BaseModel):
    """Base of every noun in this room: immutable, hashable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class VideoShape(Frozen):
    """Pixel video: ``frames`` × ``height`` × ``width``, RGB."""

    frames: Positive
    height: Positive
    width: Positive

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.frames}"


class LatentShape(Frozen):
    """Latent video: ``channels`` × ``frames`` × ``height`` × ``width``."""

    channels: Positive
    frames: Positive
    height: Positive
    width: Positive


class Compression(Frozen):
    """What a VAE does to a video, and the patch that the transformer takes of the result.

    ``temporal`` and ``spatial`` are the VAE's factors, ``channels`` its latent channels, ``patch`` the spatial patch of
    the transformer (2 in every Wan model).
    """

    temporal: Positive = 4
    spatial: Positive = 8
    channels: Positive = 16
    patch: Positive = 2

    @property
    def multiple(self) -> int:
        """Width and height must be multiples of this many pixels."""
        return self.spatial * self.patch

    def latent(self, video: VideoShape) -> LatentShape:
        """Latent shape of a pixel video.

        Raises:
            InvalidRequest: frames are not ``temporal``·n + 1, or a side does not divide by :attr:`multiple`.
        """
        self.check_frames(video.frames)
        for side in ("height", "width"):
            self.check_side(side, getattr(video, side))
        return LatentShape(
            channels=self.channels,
            frames=1 + (video.frames - 1) // self.temporal,
            height=video.height // self.spatial,
            width=video.width // self.spatial,
        )

    def video(self, latent: LatentShape) -> VideoShape:
        """Pixel shape that a latent decodes to; inverse of :meth:`latent`."""
        return VideoShape(
            frames=1 + (latent.frames - 1) * self.temporal,
            height=latent.height * self.spatial,
            width=latent.width * self.spatial,
        )

    def tokens(self, latent: LatentShape) -> int:
        """Length of the transformer's sequence."""
        return latent.frames * (latent.height // self.patch) * (latent.width // self.patch)

    def nearest_frames(self, frames: int) -> int:
        """The valid frame count closest to ``frames`` (ties go up)."""
        n = max(0, (2 * (frames - 1) + self.temporal) // (2 * self.temporal))
        return 1 + n * self.temporal

    def nearest_side(self, pixels: int) -> int:
        """The valid width or height closest to ``pixels`` (ties go up)."""
        n = max(1, (2 * pixels + self.multiple) // (2 * self.multiple))
        return n * self.multiple

    def check_frames(self, frames: int) -> None:
        """Raise InvalidRequest unless ``frames`` is temporal·n + 1, n ≥ 0."""
        if frames < 1 or (frames - 1) % self.temporal:
            raise InvalidRequest(
                "frames",
                f"{frames} is not of the form {self.temporal}n+1, which the causal VAE needs",
                allowed=f"1, {self.temporal + 1}, {2 * self.temporal + 1}, ...",
                nearest=str(self.nearest_frames(frames)),
            )

    def check_side(self, side: str, pixels: int) -> None:
        """Raise InvalidRequest unless ``pixels`` is a positive multiple of :attr:`multiple`."""
        if pixels < 1 or pixels % self.multiple:
            what = "is too small" if pixels < 1 else f"does not divide by {self.multiple}"
            raise InvalidRequest(
                side,
                f"{pixels} {what}",
                allowed=f"positive multiples of {self.multiple}",
                nearest=str(self.nearest_side(pixels)),
            )
