"""Who is in a clip: a character's look as a reader sees it, in the whole clip and in its thirds.

A look is five answers of the reader of richer worlds: shape, and the colours of body, head, limbs and hat. A third of a
clip is read stretched to the clip's own length. Whoever the reader takes for somebody else on renders it takes so on
generated clips: its own numbers on renders belong beside all of these. Legend: V clips, S object slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filmgate.spec.errors import InvalidRequest
from filmgate.training.readers import Reading
from filmgate.training.truth import Question
from filmgate.training.world import attributes as a
from filmgate.training.world.catalogue import RICH, Catalogue
from filmgate.training.world.characters import Look, look, with_look
from filmgate.training.world.scenes import Labels, Scenes, sample_labels, sample_scenes

Rows = dict[str, NDArray[np.float64]]
Read = Callable[[Tensor], Reading]
PARTS = ("shape", "body", "head", "limbs", "hat")
SAID = ("shape", "body", "hat")
"""What captions say of a character; a first frame shows the rest too."""
THIRDS = 3
ENOUGH = 4
"""So many of the five parts have to be right for a clip to show somebody: one may be hidden or misread."""


def looks_asked(asked: Sequence[Question]) -> tuple[list[int], list[Look]]:
    """Numbers of the questions about one character alone, and the looks that they state.

    A hat that a prompt does not mention is none.
    """
    found = [
        (number, Look(thing.shape, thing.colour, str(thing.head), str(thing.limbs), thing.hat))
        for number, question in enumerate(asked)
        if len(question.facts.things) == 1 and (thing := question.facts.things[0]).shape in a.CHARACTERS
    ]
    return [number for number, _ in found], [one for _, one in found]


def looks_read(reading: Reading) -> list[Look | None]:
    """The leftmost character of every clip; None where none is seen.

    Raises:
        InvalidRequest: the reader was never asked for looks.
    """
    objects, colours = reading.objects, (*a.COLOURS, None)
    if "hat" not in objects:
        raise InvalidRequest("readers", "these know no characters", allowed="readers of the world rich")
    looks: list[Look | None] = []
    for clip in range(len(reading.scene["count"])):
        seen: Look | None = None
        for slot in reversed(range(min(int(reading.scene["count"][clip]), a.SLOTS))):
            shape = a.SHAPES[int(objects["shape"][clip, slot])]
            if shape in a.CHARACTERS:
                body, head, limbs, hat = (colours[int(objects[name][clip, slot])]
                                          for name in ("colour", "head", "limbs", "hat"))  # fmt: skip
                seen = Look(shape, str(body), str(head), str(limbs), hat)
        looks.append(seen)
    return looks


def parts_right(seen: Look | None, wanted: Look, parts: Sequence[str] = PARTS) -> int:
    """How many of these parts are as wanted."""
    return 0 if seen is None else sum(getattr(seen, part) == getattr(wanted, part) for part in parts)


def thirds(rgb: Tensor) -> list[Tensor]:
    """Beginning, middle and end of clips [V, 3, F, H, W], each slowed down to F frames."""
    frames = rgb.shape[2]
    ends = torch.linspace(0, frames - 1, THIRDS + 1)
    return [rgb[:, :, torch.linspace(start, stop, frames).round().long()] for start, stop in pairwise(ends.tolist())]


def identity_rows(read: Read, rgb: Tensor, wanted: Sequence[Look], parts: Sequence[str] = PARTS) -> Rows:
    """Of every clip uint8 [V, 3, F, H, W] with its character: whether all ``parts`` are ``right``, the ``share`` of
    them that are, whether all are right in every third (``throughout``), and the share of all five that stay what they
    are in the first third, right or wrong (``kept``)."""
    whole = looks_read(read(rgb))
    by_third = [looks_read(read(part)) for part in thirds(rgb)]
    rows: dict[str, list[float]] = {"right": [], "share": [], "throughout": [], "kept": []}
    for clip, one in enumerate(wanted):
        first, *later = (seen[clip] for seen in by_third)
        right = parts_right(whole[clip], one, parts)
        rows["right"].append(right == len(parts))
        rows["share"].append(right / len(parts))
        rows["throughout"].append(all(parts_right(seen, one, parts) == len(parts) for seen in (first, *later)))
        kept = [0 if first is None else parts_right(seen, first) for seen in later]
        rows["kept"].append(sum(kept) / (len(PARTS) * len(kept)))
    return {name: np.array(values, dtype=np.float64) for name, values in rows.items()}


def scenes_with(wanted: Sequence[Look], seed: int, world: Catalogue = RICH) -> Scenes:
    """A scene of each of these characters, alone and doing one thing after another."""
    generator = torch.Generator().manual_seed(seed)
    labels = sample_labels(len(wanted), generator, world)
    rows = [with_look(labels.select(torch.tensor([i])), one, i) for i, one in enumerate(wanted)]
    together = Labels(*(torch.cat(tensors) for tensors in zip(*rows, strict=True)))
    return sample_scenes(len(wanted), generator, together, world=world)


def strangers(wanted: Look, count: int, seed: int) -> list[Look]:
    """Other looks that differ from one in two parts or more, so that a reader should not take them for it."""
    found: list[Look] = []
    while len(found) < count:
        other = look(seed)
        seed += 1
        if parts_right(other, wanted) <= len(PARTS) - 2:
            found.append(other)
    return found


def shows(reading: Reading, wanted: Look, enough: int = ENOUGH) -> list[bool]:
    """Which clips show somebody, as far as the reader sees it."""
    return [parts_right(seen, wanted) >= enough for seen in looks_read(reading)]
