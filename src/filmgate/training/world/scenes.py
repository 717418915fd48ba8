"""Random scenes as tensors: labels (what a caption may say) and parameters (what it may not), a batch at a time.

Legend: V videos, S object slots, K candidate parameter draws.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.training.world import attributes as a

PARAMETERS = 48
"""Uniform numbers that a scene consumes beside its labels."""
_COLOUR_COUNT = len(a.COLOURS)


class Labels(NamedTuple):
    """Everything that a caption may state. Integer tensors; [V] or [V, S] with slots beyond ``count`` unused.

    ``alike`` is 1 where all objects share one appearance ("two red balls"); ``relation`` is that of object 0 to
    object 1 and only meaningful for two or more different objects.
    """

    count: Tensor  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    alike: Tensor
    colour: Tensor
    shape: Tensor
    material: Tensor
    size: Tensor
    motion: Tensor
    relation: Tensor
    camera: Tensor
    light: Tensor
    ground: Tensor

    def select(self, index: Tensor) -> Labels:
        """The scenes at ``index`` [V']."""
        return Labels(*(tensor[index] for tensor in self))

    def to(self, device: torch.device | str) -> Labels:
        """Copy on another device."""
        return Labels(*(tensor.to(device) for tensor in self))


def _choose(weights: tuple[float, ...], count: int, generator: torch.Generator) -> Tensor:
    table = torch.tensor(weights, device=generator.device).expand(count, -1)
    return torch.multinomial(table, 1, generator=generator)[:, 0]


def sample_labels(count: int, generator: torch.Generator) -> Labels:
    """Draw labels of ``count`` scenes on the generator's device.

    Combinations that could not be seen are not drawn: a plain ball does not spin, an object that crosses the frame is
    related to the other by depth, objects that differ never share both colour and shape.
    """
    device = generator.device

    def uniform(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, device=device, generator=generator)

    arrangement = _choose(tuple(a.ARRANGEMENT_WEIGHTS.values()), count, generator)
    number = torch.tensor([0, 1, 2, 2, 3, 3], device=device)[arrangement]
    alike = ((arrangement == 3) | (arrangement == 4)).long()
    colour = uniform(_COLOUR_COUNT, count, a.SLOTS)
    colour[:, 1] = (colour[:, 0] + 1 + uniform(_COLOUR_COUNT - 1, count)) % _COLOUR_COUNT
    shape = uniform(len(a.SHAPES), count, a.SLOTS)
    material = torch.stack([_choose(a.MATERIAL_WEIGHTS, count, generator) for _ in range(a.SLOTS)], 1)
    size = torch.stack([_choose(a.SIZE_WEIGHTS, count, generator) for _ in range(a.SLOTS)], 1)
    size = torch.where((number == 3)[:, None], size.clamp_max(1), size)
    motion = torch.stack([_choose(a.MOTION_WEIGHTS, count, generator) for _ in range(a.SLOTS)], 1)
    # Later objects mostly rest: two movers at once are harder to caption truthfully than to draw.
    rest = torch.rand(count, a.SLOTS - 1, device=device, generator=generator) < 0.8
    motion[:, 1:] = torch.where(rest, 0, torch.where(uniform(2, count, a.SLOTS - 1) == 0, 5, 6))
    third = (colour[:, 2:3] == colour[:, :2]).any(1)
    colour[:, 2] = torch.where(third, _first_free(colour[:, :2]), colour[:, 2])
    same = alike.bool()[:, None]
    colour, shape, material, size = (
        torch.where(same, tensor[:, :1], tensor) for tensor in (colour, shape, material, size)
    )
    group = torch.tensor([0, 0, 1, 2, 5, 5], device=device)[uniform(6, count)]
    motion = torch.where(same, group[:, None], motion)
    spin_hidden = (motion == 6) & ((shape == 3) | (shape == 2) | (shape == 0)) & (material != 1)
    motion = torch.where(spin_hidden, torch.where(shape == 1, motion, 5), motion)
    crosses = (number == 3) & ~same[:, 0] & ((motion[:, 0] == 1) | (motion[:, 0] == 2))
    motion[:, 0] = torch.where(crosses, 0, motion[:, 0])
    depth_only = (motion[:, 0] == 1) | (motion[:, 0] == 2)
    side_only = (motion[:, 0] == 3) | (motion[:, 0] == 4)
    relation = uniform(4, count)
    relation = torch.where(depth_only, 2 + relation % 2, torch.where(side_only, relation % 2, relation))
    relation = torch.where(number == 3, relation % 2, relation)
    return Labels(
        number, alike, colour, shape, material, size, motion, relation,
        _choose(a.CAMERA_WEIGHTS, count, generator), uniform(len(a.LIGHTS), count), uniform(len(a.GROUNDS), count),
    )  # fmt: skip


def _first_free(taken: Tensor) -> Tensor:
    """The lowest colour index that is not in ``taken`` [V, 2]."""
    order = torch.arange(3, device=taken.device)
    free = (order[None, :, None] != taken[:, None, :]).all(2)
    return free.float().argmax(1)


class Scenes(NamedTuple):
    """Labels with the parameters ``uniforms`` [V, PARAMETERS] that fix everything else."""

    labels: Labels
    uniforms: Tensor

    def select(self, index: Tensor) -> Scenes:
        """The scenes at ``index`` [V']."""
        return Scenes(self.labels.select(index), self.uniforms[index])

    def to(self, device: torch.device | str) -> Scenes:
        """Copy on another device."""
        return Scenes(self.labels.to(device), self.uniforms.to(device))


def sample_scenes(count: int, generator: torch.Generator, labels: Labels | None = None, candidates: int = 6) -> Scenes:
    """Draw scenes in which the labels are true in pixels, in all but a few.

    For each scene ``candidates`` parameter sets are drawn and the one with the best visibility (see
    :func:`filmgate.training.world.motion.visibility`) is kept; a scene that is still not truthful gets a static camera,
    which mends some. Less than two scenes in a thousand stay untruthful.

    Args:
        labels: Keep these instead of drawing some.
    """
    from filmgate.training.world.motion import visibility

    labels = sample_labels(count, generator) if labels is None else labels
    shape = (candidates, count, PARAMETERS)
    uniforms = torch.rand(shape, device=generator.device, generator=generator)
    scores = torch.stack([visibility(Scenes(labels, uniforms[k])) for k in range(candidates)])
    best = scores.argmax(0)
    chosen = uniforms[best, torch.arange(count, device=best.device)]
    poor = scores.amax(0) < 0
    camera = torch.where(poor, 0, labels.camera)
    return Scenes(labels._replace(camera=camera), chosen)
