"""Random scenes as tensors: labels (what a caption may say) and parameters (what it may not), a batch at a time.

Legend: V videos, S object slots, K candidate parameter draws.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.catalogue import FIRST, Catalogue, Triples

PARAMETERS = FIRST.parameters
"""Uniform numbers that a scene of the first world consumes beside its labels."""
_COLOUR_COUNT = len(a.COLOURS)


class Labels(NamedTuple):
    """Everything that a caption may state. Integer tensors; [V] or [V, S] with slots beyond ``count`` unused.

    ``alike`` is 1 where all objects share one appearance ("two red balls"); ``relation`` is that of object 0 to
    object 1 and only meaningful for two or more different objects. ``hat``, ``head`` and ``limbs`` are colours of the
    character, if object 0 is one (``hat`` may be :data:`.attributes.NO_HAT`). The last three are not drawn but measured
    in the finished scene (:mod:`.aesthetics`); 0 there means that nothing is to be said.
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
    weather: Tensor
    pace: Tensor
    lens: Tensor
    angle: Tensor
    tone: Tensor
    hat: Tensor
    head: Tensor
    limbs: Tensor
    shot: Tensor
    composition: Tensor
    light_angle: Tensor

    def select(self, index: Tensor) -> Labels:
        """The scenes at ``index`` [V']."""
        return Labels(*(tensor[index] for tensor in self))

    def to(self, device: torch.device | str) -> Labels:
        """Copy on another device."""
        return Labels(*(tensor.to(device) for tensor in self))


def choose(weights: tuple[float, ...], count: int, generator: torch.Generator) -> Tensor:
    """Numbers [count] of entries drawn with ``weights``."""
    table = torch.tensor(weights, device=generator.device).expand(count, -1)
    return torch.multinomial(table, 1, generator=generator)[:, 0]


def sample_labels(
    count: int, generator: torch.Generator, world: Catalogue = FIRST, triples: Triples | None = None
) -> Labels:
    """Draw labels of ``count`` scenes on the generator's device.

    Combinations that could not be seen are not drawn: a plain ball does not spin, an object that crosses the frame is
    related to the other by depth, objects that differ never share both colour and shape.

    Args:
        triples: Instead of what the world draws in training: ``"seen"``, ``"held out"`` (scenes in which the colour,
            shape and motion of object 0 never came together in training) or ``"any"``.
    """
    labels = _first_labels(count, generator, world)
    if not world.rich:
        return labels
    from filmgate.training.world.enrichment import enriched, held_out_scenes, without_held_out

    wanted = triples or world.triples
    if wanted == "held out":
        return held_out_scenes(count, generator, world)
    labels = enriched(labels, generator)
    return without_held_out(labels, world) if wanted == "seen" else labels


def _first_labels(count: int, generator: torch.Generator, world: Catalogue) -> Labels:
    """What every world draws alike, and all that the first one draws."""
    device = generator.device

    def uniform(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, device=device, generator=generator)

    arrangement = choose(world.arrangements, count, generator)
    number = torch.tensor([0, 1, 2, 2, 3, 3], device=device)[arrangement]
    alike = ((arrangement == 3) | (arrangement == 4)).long()
    colour = uniform(_COLOUR_COUNT, count, a.SLOTS)
    colour[:, 1] = (colour[:, 0] + 1 + uniform(_COLOUR_COUNT - 1, count)) % _COLOUR_COUNT
    shape = uniform(world.simple_shapes, count, a.SLOTS)
    material = torch.stack([choose(world.material_weights, count, generator) for _ in range(a.SLOTS)], 1)
    size = torch.stack([choose(world.size_weights, count, generator) for _ in range(a.SLOTS)], 1)
    size = torch.where((number == 3)[:, None], size.clamp_max(1), size)
    motion = torch.stack([choose(world.motion_weights, count, generator) for _ in range(a.SLOTS)], 1)
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
    motion = torch.where(spin_hidden(motion, shape, material), 5, motion)
    crosses = (number == 3) & ~same[:, 0] & ((motion[:, 0] == 1) | (motion[:, 0] == 2))
    motion[:, 0] = torch.where(crosses, 0, motion[:, 0])
    depth_only = (motion[:, 0] == 1) | (motion[:, 0] == 2)
    side_only = (motion[:, 0] == 3) | (motion[:, 0] == 4)
    relation = uniform(4, count)
    relation = torch.where(depth_only, 2 + relation % 2, torch.where(side_only, relation % 2, relation))
    relation = torch.where(number == 3, relation % 2, relation)
    zero = torch.zeros_like(number)
    return Labels(
        number, alike, colour, shape, material, size, motion, relation,
        choose(world.camera_weights, count, generator), uniform(len(world.lights), count),
        uniform(len(world.grounds), count), *(zero,) * 5, zero + a.NO_HAT, *(zero,) * 5,
    )  # fmt: skip


def spin_hidden(motion: Tensor, shape: Tensor, material: Tensor) -> Tensor:
    """Where an object spins and that cannot be seen: it is round and has no pattern."""
    return (motion == a.MOTIONS.index("spin")) & is_one_of(shape, a.SHAPES, a.ROUND_SHAPES) & ~patterned(material)


def patterned(material: Tensor) -> Tensor:
    """Where a material shows how its object turns."""
    return is_one_of(material, a.MATERIALS, a.PATTERNS)


def is_one_of(index: Tensor, table: tuple[str, ...], names: tuple[str, ...]) -> Tensor:
    """Where numbers of entries of ``table`` are those of ``names``."""
    found = torch.zeros_like(index, dtype=torch.bool)
    for name in names:
        found = found | (index == table.index(name))
    return found


def _first_free(taken: Tensor) -> Tensor:
    """The lowest colour index that is not in ``taken`` [V, 2]."""
    order = torch.arange(3, device=taken.device)
    free = (order[None, :, None] != taken[:, None, :]).all(2)
    return free.float().argmax(1)


class Scenes(NamedTuple):
    """Labels with the parameters ``uniforms`` [V, ``world.parameters``] that fix everything else."""

    labels: Labels
    uniforms: Tensor
    world: Catalogue = FIRST

    def select(self, index: Tensor) -> Scenes:
        """The scenes at ``index`` [V']."""
        return Scenes(self.labels.select(index), self.uniforms[index], self.world)

    def to(self, device: torch.device | str) -> Scenes:
        """Copy on another device."""
        return Scenes(self.labels.to(device), self.uniforms.to(device), self.world)


def sample_scenes(
    count: int, generator: torch.Generator, labels: Labels | None = None, candidates: int = 6,
    world: Catalogue = FIRST,
) -> Scenes:  # fmt: skip
    """Draw scenes in which the labels are true in pixels, in all but a few.

    For each scene ``candidates`` parameter sets are drawn and the one with the best visibility (see
    :func:`filmgate.training.world.motion.visibility`) is kept; a scene that is still not truthful gets a static camera
    (in richer worlds at eye level, with an ordinary lens and nothing large), which mends some. Less than two scenes in
    a thousand stay untruthful.

    Args:
        labels: Keep these instead of drawing some.
    """
    labels = sample_labels(count, generator, world) if labels is None else labels
    shape = (candidates, count, world.parameters)
    uniforms = torch.rand(shape, device=generator.device, generator=generator)
    chosen, score = _best(labels, uniforms, world)
    poor = score < 0
    labels = labels._replace(camera=torch.where(poor, 0, labels.camera))
    if not world.rich:
        return Scenes(labels, chosen)
    from filmgate.training.world.aesthetics import measured

    flat = {name: torch.where(poor, 0, getattr(labels, name)) for name in ("pace", "angle", "lens")}
    labels = labels._replace(**flat, size=torch.where(poor[:, None], labels.size.clamp_max(1), labels.size))
    # Without the move another draw may be the best.
    again, _ = _best(labels, uniforms, world)
    return measured(Scenes(labels, torch.where(poor[:, None], again, chosen), world))


AHEAD = 8
"""Chunks whose scenes a GPU draws at once. Drawing is some thirty thousand small operations, however many scenes they
are for, and so a fifth of the time in which 256 clips are rendered and encoded."""


class SceneStream:
    """Scenes without end, a chunk at a time.

    Args:
        chunk: Scenes that are handed out at once.
        generator: Where they are drawn, with it.
    """

    def __init__(self, chunk: int, generator: torch.Generator, world: Catalogue = FIRST) -> None:
        self.chunk, self.generator, self.world = chunk, generator, world
        self.ahead = AHEAD if generator.device.type == "cuda" else 1
        self._drawn: list[Scenes] = []

    def __next__(self) -> Scenes:
        """The next ones, on the generator's device."""
        if not self._drawn:
            scenes = sample_scenes(self.ahead * self.chunk, self.generator, world=self.world)
            order = torch.arange(len(scenes.uniforms), device=scenes.uniforms.device)
            self._drawn = [scenes.select(part) for part in order.split(self.chunk)]
        return self._drawn.pop(0)


def _best(labels: Labels, uniforms: Tensor, world: Catalogue) -> tuple[Tensor, Tensor]:
    """The best of the parameter draws [K, V, P] for each scene, and how well its labels show [V]."""
    from filmgate.training.world.motion import visibility

    scores = torch.stack([visibility(Scenes(labels, draw, world)) for draw in uniforms])
    best = scores.argmax(0)
    return uniforms[best, torch.arange(len(best), device=best.device)], scores.amax(0)
