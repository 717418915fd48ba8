"""What richer worlds draw on top of the first one: figures, interactions, film language; and what training never sees.

Legend: V videos, S object slots, C colours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.catalogue import Catalogue
from filmgate.training.world.scenes import Labels, choose, is_one_of, patterned, sample_labels, spin_hidden

_LIGHTS = tuple(a.LIGHTS)
_DARK = ("night", "dusk", "firelight", "studio", "neon", "fluorescent")
_INDOORS = ("firelight", "studio", "neon", "fluorescent")
_GRADED = ("noon", "overcast", "studio")
"""Lights without a tint of their own, so that a grade is what the tone comes from."""
_BY_ANGLE = {
    "low": (
        "static", "pan left", "pan right", "dolly in", "dolly out", "truck left", "truck right", "orbit left",
        "orbit right", "zoom in", "zoom out", "handheld", "pedestal up", "crane up",
    ),
    "high": (
        "static", "pan left", "pan right", "dolly in", "dolly out", "truck left", "truck right", "orbit left",
        "orbit right", "zoom in", "zoom out", "handheld", "roll clockwise", "roll counterclockwise",
    ),
    "overhead": (
        "static", "truck left", "truck right", "zoom in", "zoom out", "handheld", "roll clockwise",
        "roll counterclockwise",
    ),
    "dutch": (
        "static", "pan left", "pan right", "dolly in", "dolly out", "truck left", "truck right", "zoom in", "zoom out",
        "handheld",
    ),
}  # fmt: skip
"""Camera moves under which an angle still shows for what it is."""
PACED = tuple(name for name in a.CAMERAS if name not in ("static", "handheld", "follow", "free"))
"""Camera moves that can be slow or fast."""
_FLOORS = ("wood", "tiles", "stripes", "tiles", "stripes", "asphalt", "asphalt", "wood")
"""What stands under a roof for each ground."""
_FIGURES, _INTERACTING, _FOLLOWED = 0.36, 0.34, 0.16


def motion_of(name: str) -> int:
    """Number of a motion."""
    return a.MOTIONS.index(name)


def enriched(labels: Labels, generator: torch.Generator) -> Labels:
    """Labels of the first kind, with everything that only richer worlds have. Keeps what a caption says visible."""
    labels = _figures(_interactions(labels, generator), generator)
    count, device = len(labels.count), labels.count.device

    def chance(probability: float) -> Tensor:
        return torch.rand(count, device=device, generator=generator) < probability

    dark = is_one_of(labels.light, _LIGHTS, _DARK)
    glowing = labels.material == a.MATERIALS.index("glowing")
    material = torch.where(glowing & ~dark[:, None], 0, labels.material)
    motion = torch.where(spin_hidden(labels.motion, labels.shape, material), motion_of("bounce"), labels.motion)
    stacked = labels.relation == a.RELATIONS.index("on top of")
    motion[:, 0] = torch.where(stacked & (motion[:, 0] == motion_of("bounce")), 0, motion[:, 0])
    crossing = is_one_of(motion[:, 0], a.MOTIONS, ("left", "right")) & (labels.count <= 2) & (labels.alike == 0)
    follow = a.CAMERAS.index("follow")
    camera = torch.where((labels.camera == follow) & ~crossing, 0, labels.camera)
    camera = torch.where(crossing & chance(_FOLLOWED), follow, camera)
    angle = choose((0.62, 0.13, 0.13, 0.06, 0.06), count, generator)
    for name, moves in _BY_ANGLE.items():
        angle = torch.where((angle == a.ANGLES.index(name)) & ~is_one_of(camera, a.CAMERAS, moves), 0, angle)
    # No meadows under a roof: those become floors.
    roofed = is_one_of(labels.light, _LIGHTS, ("studio", "fluorescent"))
    floors = torch.tensor([tuple(a.GROUNDS).index(name) for name in _FLOORS], device=device)
    ground = torch.where(roofed, floors[labels.ground], labels.ground)
    pace = choose((0.5, 0.27, 0.23), count, generator)
    weather = chance(0.14) & ~is_one_of(labels.light, _LIGHTS, _INDOORS)
    tone = choose((0.5, 0.14, 0.14, 0.10, 0.12), count, generator)
    return labels._replace(
        material=material, motion=motion, ground=ground, camera=camera, angle=angle, weather=weather.long(),
        pace=torch.where(is_one_of(camera, a.CAMERAS, PACED), pace, 0),
        lens=choose((0.56, 0.22, 0.22), count, generator),
        tone=torch.where(is_one_of(labels.light, _LIGHTS, _GRADED), tone, 0),
    )  # fmt: skip


def _interactions(labels: Labels, generator: torch.Generator) -> Labels:
    """Some pairs stand on each other, move after each other, or one is thrown back by the other."""
    count, device = len(labels.count), labels.count.device

    def uniform(high: int) -> Tensor:
        return torch.randint(0, high, (count,), device=device, generator=generator)

    pair = (labels.count == 2) & (labels.alike == 0)
    pair &= torch.rand(count, device=device, generator=generator) < _INTERACTING
    relation = torch.where(pair, 4 + uniform(3), labels.relation)
    stacked, follows, bounces = (relation == a.RELATIONS.index(name) for name in a.INTERACTIONS)
    shape, size, motion = labels.shape.clone(), labels.size.clone(), labels.motion.clone()
    shape[:, 1] = torch.where(stacked | bounces, 1 + uniform(2), shape[:, 1])
    size[:, 1] = torch.where(stacked, size[:, 1].clamp_min(1), size[:, 1])
    size[:, 0] = torch.where(stacked, torch.minimum(size[:, 0], size[:, 1] - 1).clamp_min(0), size[:, 0])
    spins = (motion[:, 0] == motion_of("spin")) & ((shape[:, 0] == 1) | patterned(labels.material[:, 0]))
    motion[:, 0] = torch.where(stacked & ~spins, 0, motion[:, 0])
    motion[:, 1] = torch.where(stacked | bounces, 0, motion[:, 1])
    way = 1 + uniform(2)
    motion[:, :2] = torch.where(follows[:, None], way[:, None], motion[:, :2])
    size = torch.where(follows[:, None], size.clamp_max(1), size)
    shape[:, 0] = torch.where(bounces, 0, shape[:, 0])
    motion[:, 0] = torch.where(bounces, motion_of("rebound"), motion[:, 0])
    # Two that circle and stand side by side would run into each other.
    circles = (motion == motion_of("circle")) & (labels.count >= 2)[:, None]
    motion = torch.where(circles, motion_of("bounce"), motion)
    return labels._replace(relation=relation, shape=shape, size=size, motion=motion)


def _figures(labels: Labels, generator: torch.Generator) -> Labels:
    """Some objects 0 are a sign or a character, with a look of its own."""
    count, device = len(labels.count), labels.count.device
    kind = choose((0.16, 0.42, 0.42), count, generator) + a.SHAPES.index("sign")
    free = (labels.count >= 1) & (labels.count <= 2) & (labels.alike == 0)
    free &= (labels.relation < 4) | (labels.relation == a.RELATIONS.index("follows"))
    free &= torch.rand(count, device=device, generator=generator) < _FIGURES
    sign = free & (kind == a.SHAPES.index("sign")) & (labels.relation < 4)
    person = free & (kind != a.SHAPES.index("sign"))
    shape, material, motion = labels.shape.clone(), labels.material.clone(), labels.motion.clone()
    shape[:, 0] = torch.where(sign | person, kind, shape[:, 0])
    material[:, 0] = torch.where(sign | person, 0, material[:, 0])
    waves = torch.rand(count, device=device, generator=generator) < 0.45
    airborne = is_one_of(motion[:, 0], a.MOTIONS, ("rise", "fall"))
    waves = person & (airborne | ((motion[:, 0] == 0) & waves))
    motion[:, 0] = torch.where(waves, motion_of("wave"), motion[:, 0])
    restless = sign & (motion[:, 0] != motion_of("spin"))
    motion[:, 0] = torch.where(restless, 0, motion[:, 0])
    colours = [torch.randint(0, len(a.COLOURS), (count,), device=device, generator=generator) for _ in range(2)]
    offset = 1 + torch.randint(0, len(a.COLOURS) - 1, (count,), device=device, generator=generator)
    hat = (labels.colour[:, 0] + offset) % len(a.COLOURS)
    bare = torch.rand(count, device=device, generator=generator) < 0.4
    return labels._replace(
        shape=shape, material=material, motion=motion, head=colours[0], limbs=colours[1],
        hat=torch.where(person & ~bare, hat, a.NO_HAT),
    )  # fmt: skip


def unseen(labels: Labels, world: Catalogue) -> Tensor:
    """Which objects that are there have a colour, shape and motion that training never draws together: [V, S] bool."""
    table = world.unseen.to(labels.colour.device)
    there = torch.arange(a.SLOTS, device=labels.count.device) < labels.count[:, None]
    return table[labels.colour, labels.shape, labels.motion] & there


def without_held_out(labels: Labels, world: Catalogue) -> Labels:
    """The same scenes with objects of held-out triples in another colour: the next that no other object has."""
    table, colours = world.unseen.to(labels.colour.device), len(world.colours)
    colour = labels.colour.clone()
    steps = torch.arange(colours, device=colour.device)
    for slot in range(a.SLOTS):
        # Step 0 is the colour that was drawn, so that nothing changes where it may stay.
        options = (colour[:, slot, None] + steps) % colours
        shape, motion = labels.shape[:, slot, None], labels.motion[:, slot, None]
        bad = table[options, shape, motion] | (options == labels.hat[:, None]) & (slot == 0)
        for other in range(a.SLOTS):
            if other != slot:
                shared = (options == colour[:, other, None]) & (labels.alike == 0)[:, None]
                bad = bad | shared & (labels.count > max(slot, other))[:, None]
        first = (~bad).float().argmax(1)
        colour[:, slot] = options.gather(1, first[:, None])[:, 0]
    colour = torch.where((labels.alike == 1)[:, None], colour[:, :1], colour)
    return labels._replace(colour=colour)


def held_out_scenes(count: int, generator: torch.Generator, world: Catalogue) -> Labels:
    """Scenes whose object 0 has a held-out triple, and whose others have none: drawn until there are enough."""
    kept: list[Labels] = []
    while sum(len(part.count) for part in kept) < count:
        drawn = sample_labels(count * HELD_OUT_DRAWS, generator, world, "any")
        odd = unseen(drawn, world)
        wanted = odd[:, 0] & ((odd.sum(1) == 1) | (drawn.alike == 1))
        kept.append(drawn.select(wanted.nonzero()[:, 0]))
    joined = Labels(*(torch.cat(parts) for parts in zip(*kept, strict=True)))
    return joined.select(torch.arange(count, device=joined.count.device))


HELD_OUT_DRAWS = 30
"""Scenes drawn per scene with a held-out triple that is wanted: one in twenty has one."""
