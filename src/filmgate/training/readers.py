"""Readers: small networks that say what a clip of the toy world shows, trained on renders and never on generated clips.

They are the instruments of ``bench/toybox_truth.py``. Their own accuracy on held-out renders, and on those renders
after the VAE, is the ceiling that stands beside every number they measure.

Legend: V clips, F frames read (every fourth), S object slots sorted from left to right in the middle frame, L tokens,
D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filmgate.training.records import load_tensors
from filmgate.training.world import attributes as a
from filmgate.training.world.aesthetics import COMPOSITIONS, LIGHT_ANGLES, SHOTS, TINTS
from filmgate.training.world.catalogue import FIRST, Catalogue
from filmgate.training.world.enrichment import PACED
from filmgate.training.world.motion import camera_at, objects_at, project
from filmgate.training.world.scenes import Labels, Scenes, is_one_of

STRIDE = 4
"""Every fourth frame is read: 9 of 33."""
IGNORED = -100
TONES = ("warm", "cool", "mixed", "saturated", "desaturated")
"""Tones of a clip, whether of its light or of its grade."""
CLASSES: dict[str, tuple[str, ...]] = {
    "weather": a.WEATHERS, "pace": a.PACES, "lens": a.LENSES, "angle": a.ANGLES, "tone": TONES,
    "shot": SHOTS[1:], "composition": COMPOSITIONS[1:], "light_angle": LIGHT_ANGLES[1:],
    "interaction": ("none", *a.INTERACTIONS),
}  # fmt: skip
"""Answers about the film language of richer worlds, one head each."""


class Heads(NamedTuple):
    """Questions of a reader with their numbers of answers: asked of every object slot, and of the scene."""

    objects: dict[str, int]
    scene: dict[str, int]


def heads_of(world: Catalogue) -> Heads:
    """What can be asked of clips of a world."""
    objects = {
        "colour": len(world.colours), "shape": len(world.shapes), "material": len(world.materials),
        "size": len(world.sizes), "motion": len(world.motions), "depth": a.SLOTS,
    }  # fmt: skip
    scene = {
        "count": a.SLOTS + 1, "camera": len(world.cameras), "light": len(world.lights), "ground": len(world.grounds)
    }  # fmt: skip
    if not world.rich:
        return Heads(objects, scene)
    colours = len(world.colours)
    return Heads(
        {**objects, "hat": colours + 1, "head": colours, "limbs": colours},
        {**scene, **{name: len(answers) for name, answers in CLASSES.items()}},
    )


OBJECT_HEADS, SCENE_HEADS = heads_of(FIRST)
"""Of the first world."""


def reading_targets(scenes: Scenes) -> dict[str, Tensor]:
    """True answers: scene heads [V], object heads [V, S] (IGNORED on absent slots), objects from left to right.

    ``depth`` is an object's rank from near to far in the middle frame.
    """
    labels = scenes.labels
    middle = torch.tensor([0.5], device=scenes.uniforms.device)
    camera = camera_at(scenes, middle)
    across, depth = [], []
    for state in objects_at(scenes, middle):
        u, v, d = project(camera, state.x, state.y, state.z)
        if scenes.world.rich:
            u = u + 1e-3 * v  # of two that are stacked, the upper comes first
        across.append(torch.where(state.present, u[:, 0], 1e6))
        depth.append(torch.where(state.present, d[:, 0], 1e6))
    order = torch.stack(across, 1).argsort(1)
    rank = torch.stack(depth, 1).argsort(1).argsort(1)
    absent = torch.arange(a.SLOTS, device=order.device)[None] >= labels.count[:, None]
    by_object = {
        "colour": labels.colour, "shape": labels.shape, "material": labels.material, "size": labels.size,
        "motion": labels.motion, "depth": rank,
    }  # fmt: skip
    if scenes.world.rich:
        by_object |= _looks(labels)
    result = {name: value.gather(1, order).masked_fill(absent, IGNORED) for name, value in by_object.items()}
    result |= {"count": labels.count, "camera": labels.camera, "light": labels.light, "ground": labels.ground}
    return {**result, **_film_targets(labels)} if scenes.world.rich else result


def _looks(labels: Labels) -> dict[str, Tensor]:
    """Colours of a character's parts [V, S], IGNORED on everything else."""
    character = is_one_of(labels.shape[:, 0], a.SHAPES, a.CHARACTERS)
    rest = torch.full_like(labels.shape[:, 1:], IGNORED)
    return {
        name: torch.cat([torch.where(character, getattr(labels, name), IGNORED)[:, None], rest], 1)
        for name in ("hat", "head", "limbs")
    }


def _film_targets(labels: Labels) -> dict[str, Tensor]:
    """Answers of :data:`CLASSES` [V], IGNORED where nothing is to be said."""
    unnamed = labels.camera == a.CAMERAS.index("free")
    tints = torch.tensor(
        [TONES.index(TINTS[light]) if light in TINTS else IGNORED for light in a.LIGHTS], device=labels.light.device
    )
    grades = torch.tensor([TONES.index(tone) if tone in TONES else IGNORED for tone in a.TONES], device=tints.device)
    pair = (labels.count == 2) & (labels.alike == 0)
    measured = {
        name: torch.where(getattr(labels, name) > 0, getattr(labels, name) - 1, IGNORED)
        for name in ("shot", "composition", "light_angle")
    }
    paced = is_one_of(labels.camera, a.CAMERAS, PACED)
    return {
        "camera": torch.where(unnamed, IGNORED, labels.camera),
        "weather": labels.weather, "lens": labels.lens, "angle": labels.angle,
        "pace": torch.where(paced, labels.pace, IGNORED),
        "tone": torch.where(labels.tone > 0, grades[labels.tone], tints[labels.light]),
        "interaction": torch.where(pair, (labels.relation - 3).clamp_min(0), 0),
        **measured,
    }  # fmt: skip


class Reading(NamedTuple):
    """What a reader saw in V clips: class numbers, objects from left to right ([V, S]; slots ≥ count mean nothing)."""

    objects: dict[str, Tensor]
    scene: dict[str, Tensor]


@dataclass(frozen=True)
class ReaderConfig:
    """Size of a reader; ``refinements``: residual convolutions between the frames and the tokens."""

    dim: int = 192
    layers: int = 6
    heads: int = 6
    refinements: int = 2
    frames: int = 9
    height: int = 96
    width: int = 160


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 3 * dim), nn.GELU(), nn.Linear(3 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """[V, L, D] to [V, L, D]."""
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        y: Tensor = x + self.mlp(self.norm_mlp(x))
        return y


class Refinement(nn.Module):
    """Pre-norm residual convolutions. A shape is told by its edges and shades from close by: where objects fill the
    frame as well as a fiftieth of it, tokens of 16 pixels alone learn that by heart before they learn it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, dim), nn.Conv2d(dim, dim, 3, 1, 1), nn.GELU(), nn.Conv2d(dim, dim, 3, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, D, H, W] to [N, D, H, W]."""
        y: Tensor = x + self.layers(x)
        return y


def with_neighbours(video: Tensor) -> Tensor:
    """Clips [V, C, F, H, W] as frames [V·F, 3·C, H, W] with the frame before and after each as more channels.

    A first convolution that sees them finds motion as it finds edges. Attention would have to learn it from where the
    same thing stands in frames that were described one by one, which took it longer than all other questions.
    """
    around = F.pad(video, (0, 0, 0, 0, 1, 1), mode="replicate")
    return torch.cat([around[:, :, :-2], video, around[:, :, 2:]], 1).transpose(1, 2).flatten(0, 1)


class WorldReader(nn.Module):
    """Convolutional stem per frame and neighbours, transformer over space and time, one query token per question."""

    def __init__(self, config: ReaderConfig | None = None, heads: Heads | None = None) -> None:
        super().__init__()
        self.config = c = config or ReaderConfig()
        self.heads = heads = heads or heads_of(FIRST)
        self.stem = nn.Sequential(
            nn.Conv2d(9, 48, 5, 2, 2), nn.GELU(), nn.Conv2d(48, 96, 3, 2, 1), nn.GELU(), nn.Conv2d(96, 128, 3, 2, 1),
            nn.GELU(), nn.Conv2d(128, c.dim, 2, 2),
        )  # fmt: skip
        self.refinements = nn.Sequential(*[Refinement(128) for _ in range(c.refinements)])
        self.position = nn.Parameter(torch.randn(1, c.frames * (c.height // 16) * (c.width // 16), c.dim) * 0.02)
        self.questions = nn.Parameter(torch.randn(1, a.SLOTS + 1, c.dim) * 0.02)
        self.blocks = nn.ModuleList([Block(c.dim, c.heads) for _ in range(c.layers)])
        self.norm = nn.LayerNorm(c.dim)
        self.object_heads = nn.ModuleDict({name: nn.Linear(c.dim, size) for name, size in heads.objects.items()})
        self.scene_heads = nn.ModuleDict({name: nn.Linear(c.dim, size) for name, size in heads.scene.items()})

    def thoughts(self, video: Tensor, seen: Tensor | None = None) -> Tensor:
        """What the questions gathered [V, 1 + S, D] (scene, then slots) from clips [V, 3, F, H, W] in [-1, 1] that are
        already strided in time.

        Args:
            seen: Numbers of the tokens that are looked at; None: all.
        """
        clips, _, frames = video.shape[:3]
        features = self.stem[-1](self.refinements(self.stem[:-1](with_neighbours(video))))
        tokens = features.flatten(2).transpose(1, 2).unflatten(0, (clips, frames)).flatten(1, 2) + self.position
        tokens = tokens if seen is None else tokens[:, seen]
        x = torch.cat([self.questions.expand(clips, -1, -1), tokens], 1)
        for block in self.blocks:
            x = block(x)
        gathered: Tensor = self.norm(x[:, : a.SLOTS + 1]).float()
        return gathered

    def answers(self, thoughts: Tensor) -> dict[str, Tensor]:
        """Logits per question."""
        result = {name: head(thoughts[:, 1:]) for name, head in self.object_heads.items()}
        return {**result, **{name: head(thoughts[:, 0]) for name, head in self.scene_heads.items()}}

    def forward(self, video: Tensor, seen: Tensor | None = None) -> dict[str, Tensor]:
        """Logits per question from clips as in :meth:`thoughts`."""
        return self.answers(self.thoughts(video, seen))

    def read(self, rgb: Tensor, batch: int = 64) -> Reading:
        """Read uint8 clips [V, 3, 33, H, W]."""
        return self.examine(rgb, batch)[0]

    def examine(self, rgb: Tensor, batch: int = 64) -> tuple[Reading, Tensor]:
        """Read uint8 clips [V, 3, 33, H, W]; also features [V, D] of each as a whole, from which all of the scene's
        answers follow by one matrix each."""
        return self.look_at(rgb[:, :, ::STRIDE], batch)

    @torch.no_grad()
    def look_at(self, frames: Tensor, batch: int = 64) -> tuple[Reading, Tensor]:
        """The same of every fourth frame [V, 3, F, H, W], uint8."""
        parts, features = [], []
        for start in range(0, len(frames), batch):
            thoughts = self.thoughts(frames[start : start + batch].float() / 127.5 - 1)
            features.append(thoughts[:, 0])
            parts.append({name: logits.argmax(-1) for name, logits in self.answers(thoughts).items()})
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        reading = Reading({n: joined[n] for n in self.heads.objects}, {n: joined[n] for n in self.heads.scene})
        return reading, torch.cat(features)


def load_reader(path: Path, clip: a.ClipFormat) -> WorldReader:
    """A trained reader of clips of that format, in fp32 whatever its file has; what it was asked is in its weights."""
    tensors = {name: tensor.float() for name, tensor in load_tensors(path).items()}
    layers, refinements = (
        len({name.split(".")[1] for name in tensors if name.startswith(f"{part}.")})
        for part in ("blocks", "refinements")
    )
    frames = len(range(0, clip.frames, STRIDE))
    dim = tensors["questions"].shape[-1]
    objects, scene = (
        {name.split(".")[1]: len(tensor) for name, tensor in tensors.items() if name.startswith(f"{kind}_heads.")}
        for kind in ("object", "scene")
    )
    shape = ReaderConfig(dim, layers, ReaderConfig.heads, refinements, frames, clip.height, clip.width)
    reader = WorldReader(shape, Heads(objects, scene))
    reader.load_state_dict(tensors)
    return reader.requires_grad_(False).eval()


def reading_loss(logits: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    """Sum of cross-entropies over what is to be answered; object heads count twice, and only present slots."""
    total = logits["count"].new_zeros(())
    for name, value in logits.items():
        by_object = value.ndim == 3
        target = targets[name].flatten()
        errors = F.cross_entropy(value.flatten(0, -2), target, ignore_index=IGNORED, reduction="sum")
        total = total + (2 if by_object else 1) * errors / (target != IGNORED).sum().clamp_min(1)
    return total


def accuracies(reading: Reading, targets: dict[str, Tensor]) -> dict[str, float]:
    """Share of right answers per question, over what is to be answered; no entry where nothing is."""
    result = {}
    for name, answer in {**reading.scene, **reading.objects}.items():
        asked = targets[name] != IGNORED
        if asked.any():
            result[name] = (answer == targets[name])[asked].float().mean().item()
    return result


def degrade(video: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, noise and brightness changes that generated clips may have; video [V, 3, F, H, W] in [-1, 1]."""
    clips, device = len(video), video.device

    def random() -> Tensor:
        return torch.rand(clips, 1, 1, 1, 1, device=device, generator=generator)

    height, width = video.shape[-2:]
    flat = video.transpose(1, 2).flatten(0, 1)
    soft = F.interpolate(F.avg_pool2d(flat, 2), (height, width), mode="bilinear", align_corners=False)
    soft = soft.unflatten(0, (clips, -1)).transpose(1, 2)
    video = torch.lerp(video, soft, random() * (random() < 0.6))
    video = video * (1 + 0.1 * (random() - 0.5)) + 0.1 * (random() - 0.5)
    noise = torch.randn(video.shape, device=device, generator=generator)
    return (video + noise * 0.08 * random() * (random() < 0.5)).clamp(-1, 1)


def rounds(
    videos: Tensor, targets: dict[str, Tensor], batch: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Endless shuffled batches of strided uint8 clips [N, 3, F, H, W], degraded, with their targets."""
    while True:
        order = torch.randperm(len(videos), device=videos.device, generator=generator)
        for start in range(0, len(order) - batch + 1, batch):
            index = order[start : start + batch]
            yield degrade(videos[index].float() / 127.5 - 1, generator), {n: t[index] for n, t in targets.items()}
