"""What clips of the toy world show of their prompts, one clip at a time: the truth of a gate.

Legend: F frames, H W pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from filmgate.spec.errors import CheckpointError
from filmgate.spec.shape import VideoShape
from filmgate.training.readers import WorldReader, heads_of, load_reader
from filmgate.training.truth import Question, questions, score
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import FIRST, RICH, Catalogue


class TruthReader:
    """Held-out prompts of a reader's world, and the reader, which never saw a generated clip.

    Args:
        path: The reader's weights.
        video: Size and length of the clips; those that it was trained for.
        count: How many prompts.

    Raises:
        CheckpointError: the weights are missing or damaged, or of no reader of a world that there is.
    """

    def __init__(self, path: Path, video: VideoShape, count: int) -> None:
        self._reader = load_reader(path, ClipFormat(video.frames, video.height, video.width))
        self.questions: list[Question] = questions(count, world=_world_of(self._reader, path))

    @property
    def prompts(self) -> list[tuple[str, int]]:
        """Prompts, each with its seed."""
        return [(question.prompt, question.seed) for question in self.questions]

    @torch.no_grad()
    def share(self, number: int, frames: NDArray[np.uint8]) -> float:
        """The share of the facts of prompt ``number`` that a clip [F, H, W, 3] shows."""
        clip = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None]
        rows = score(self._reader.read(clip), [self.questions[number]])
        return float(np.mean(np.concatenate(list(rows.values()))))


def _world_of(reader: WorldReader, path: Path) -> Catalogue:
    """The world that a reader was trained for, by what it can be asked."""
    for world in (RICH, FIRST):
        if heads_of(world) == reader.heads:
            return world
    raise CheckpointError(path, f"reads neither the world {RICH.name} nor {FIRST.name}")
