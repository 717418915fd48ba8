"""The published models that run here: where they are, and what they weigh on disk.

Sizes are in GB (10⁹ bytes) and rounded up. Those of Wan-AI are sums of the files that are needed: transformers in fp32,
as they are published, umT5 in bf16, the autoencoder in fp32, CLIP where there is one. Those of Alibaba PAI are the
storage sizes of the model tables in VideoX-Fun's README.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from filmgate.spec.errors import InvalidRequest


@dataclass(frozen=True)
class Published:
    """A published model.

    Attributes:
        repository: Its name on huggingface.co.
        gigabytes: What its files take on disk, in GB.
    """

    repository: str
    gigabytes: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of a transformer's weight in the files: Wan-AI publishes fp32, Alibaba PAI bf16."""
        return 4 if self.repository.startswith("Wan-AI/") else 2


PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "wan2.1-t2v-1.3b": Published("Wan-AI/Wan2.1-T2V-1.3B", 18),
        "wan2.1-t2v-14b": Published("Wan-AI/Wan2.1-T2V-14B", 70),
        "wan2.1-i2v-14b-480p": Published("Wan-AI/Wan2.1-I2V-14B-480P", 83),
        "wan2.1-i2v-14b-720p": Published("Wan-AI/Wan2.1-I2V-14B-720P", 83),
        "wan2.1-flf2v-14b": Published("Wan-AI/Wan2.1-FLF2V-14B-720P", 83),
        "wan2.1-vace-1.3b": Published("Wan-AI/Wan2.1-VACE-1.3B", 20),
        "wan2.1-vace-14b": Published("Wan-AI/Wan2.1-VACE-14B", 82),
        "wan2.1-camera-1.3b": Published("alibaba-pai/Wan2.1-Fun-V1.1-1.3B-Control-Camera", 19),
        "wan2.1-camera-14b": Published("alibaba-pai/Wan2.1-Fun-V1.1-14B-Control-Camera", 47),
        "wan2.2-t2v-a14b": Published("Wan-AI/Wan2.2-T2V-A14B", 127),
        "wan2.2-i2v-a14b": Published("Wan-AI/Wan2.2-I2V-A14B", 127),
        "wan2.2-ti2v-5b": Published("Wan-AI/Wan2.2-TI2V-5B", 35),
        "wan2.2-camera-a14b": Published("alibaba-pai/Wan2.2-Fun-A14B-Control-Camera", 64),
        "wan2.2-camera-5b": Published("alibaba-pai/Wan2.2-Fun-5B-Control-Camera", 23),
        "wan2.2-vace-a14b": Published("alibaba-pai/Wan2.2-VACE-Fun-A14B", 64),
    }
)
"""By the public name of the architecture."""


def how_to_fetch(variant: str) -> str:
    """The command that brings a published model here, and what it takes on disk."""
    return f"filmgate fetch {variant} ({PUBLISHED[variant].gigabytes} GB)"


def not_here(variant: str) -> InvalidRequest:
    """What is said where a published model's files are needed."""
    return InvalidRequest(
        "model", f"{variant} is a published model that is not here", allowed=f"{how_to_fetch(variant)}, and then again",
        nearest=f"filmgate fetch {variant}",
    )  # fmt: skip
