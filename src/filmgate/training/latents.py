"""A buffer of encoded clips for diffusion training: latents, captions as tokens, and where the objects are.

Legend: N clips in the buffer, z T h w latent shape, L text tokens, S object slots, K patch tokens (T·h/2·w/2).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.engine.checkpoints.headers import read_safetensors
from filmgate.engine.models.vae import WanVae
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.training.autoencoder import to_unit
from filmgate.training.conditions import PATH_NUMBERS, beside, only_known, packed_rays, path_of
from filmgate.training.members import T2V, Member
from filmgate.training.precision import mixed
from filmgate.training.records import load_tensors, save_tensors
from filmgate.training.text_encoder import encode_captions
from filmgate.training.world import attributes as a
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.captions import Captioner, facts, with_few_terms
from filmgate.training.world.catalogue import FIRST, Catalogue
from filmgate.training.world.render import CHUNK, Renderer
from filmgate.training.world.scenes import Labels, SceneStream

CAPTIONS_PER_CLIP = 3
WORLD = "world"
"""In the metadata of a kept buffer: whose captions its clips have."""
ENCODED_TOGETHER = 32
"""Clips of one pass of the VAE."""


class Batch(NamedTuple):
    """``latents`` [B, z, T, h, w] normalised fp32; ``ids`` [B, L] int64; ``cover`` [B, K, S] share of each patch that
    each object covers; ``labels`` of the scenes. For members that are told of them: known frames ``beside`` the noise
    [B, 4 + z, T, h, w], and the camera's ``path`` [B, F, 16]."""

    latents: Tensor
    ids: Tensor
    cover: Tensor
    labels: Labels
    beside: Tensor | None = None
    path: Tensor | None = None

    def part(self, clips: slice) -> Batch:
        """Some of the clips."""
        index = torch.arange(clips.start, clips.stop, device=self.ids.device)
        return Batch(
            self.latents[clips], self.ids[clips], self.cover[clips], self.labels.select(index),
            None if self.beside is None else self.beside[clips], None if self.path is None else self.path[clips],
        )  # fmt: skip


def token_cover(number: Tensor, side: int = 16) -> Tensor:
    """Share of each patch token that each object slot covers: [V, F, H, W] to [V, K, S] in 0 ... 1.

    Frames are pooled as the causal VAE groups them: the first alone, then fours; patches have ``side`` pixels a side.
    """
    masks = torch.stack([(number == slot + 1).float() for slot in range(a.SLOTS)], 2)
    videos, frames = masks.shape[:2]
    small = F.avg_pool2d(masks.flatten(0, 1), side).unflatten(0, (videos, frames))
    later = small[:, 1:].unflatten(1, (-1, 4)).mean(2)
    pooled = torch.cat([small[:, :1], later], 1)
    return pooled.permute(0, 1, 3, 4, 2).flatten(1, 3)


@dataclass
class Moments:
    """Running per-channel mean and variance of raw latents: becomes ``latents_mean`` and ``latents_std``."""

    count: int = 0
    total: Tensor | None = None
    squared: Tensor | None = None

    def add(self, latents: Tensor) -> None:
        """Take in raw latents [B, z, T, h, w]."""
        x = latents.double()
        total, squared = x.sum((0, 2, 3, 4)), (x * x).sum((0, 2, 3, 4))
        self.total = total if self.total is None else self.total + total
        self.squared = squared if self.squared is None else self.squared + squared
        self.count += x[:, 0].numel()

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation per channel [z]."""
        assert self.total is not None
        assert self.squared is not None
        mean = self.total / self.count
        return mean.float(), (self.squared / self.count - mean * mean).clamp_min(1e-8).sqrt().float()


def clips_in(path: Path) -> int:
    """How many clips a buffer has that was kept in a file."""
    return read_safetensors(path).tensors["latents"].shape[0]


class LatentBuffer:
    """Renders, encodes and captions clips into a ring of ``capacity`` (rounded up to whole chunks); hands out
    random batches.

    Latents are kept raw in half precision and normalised when handed out. Captions are written in a background thread
    while the device renders the next clips; a clip is handed out once :meth:`settle` has brought its own. Of members
    that read known frames beside the noise only a share of the clips has them (``told.first``): the others
    need not be encoded twice.
    """

    CHUNK = CHUNK

    def __init__(
        self, vae_weights: Path, device: torch.device, capacity: int, *, clip: ClipFormat, seed: int,
        chunk: int = CHUNK, compiled: bool, world: Catalogue = FIRST, member: Member = T2V,
    ) -> None:  # fmt: skip
        self.device, self.chunk = device, chunk
        self.capacity = capacity = -(-capacity // chunk) * chunk
        self.generator = torch.Generator(device).manual_seed(seed)
        self.world, self.scenes = world, SceneStream(chunk, self.generator, world)
        self.captioner = Captioner(seed, world=world)
        self.renderer = Renderer(clip, compile_shader=compiled)
        self.told, self.aspect = member.told, clip.width / clip.height
        self.vae = WanVae(member.vae).to(device).requires_grad_(False)
        self.vae.load_state_dict(load_tensors(vae_weights))
        prepare(self.vae, Choices(channels_last=True))
        self._encode = torch.compile(self._encode_eagerly, dynamic=False) if compiled else self._encode_eagerly
        factor, z = member.vae.spatial_factor, member.vae.z_dim
        t, h, w = (clip.frames + 3) // 4, clip.height // factor, clip.width // factor
        self.side = 2 * factor
        self.latents = torch.empty(capacity, z, t, h, w, dtype=torch.float16, device=device)
        kept = capacity if self.told.beside else 0
        self.known = torch.zeros(kept, z, t, h, w, dtype=torch.float16, device=device)
        self.ends = torch.zeros(kept, dtype=torch.bool, device=device)
        self.shown = torch.zeros(kept, dtype=torch.bool, device=device)
        self.path = torch.empty(capacity if self.told.rays else 0, clip.frames, PATH_NUMBERS, device=device)
        self.cover = torch.empty(capacity, t * (h // 2) * (w // 2), a.SLOTS, dtype=torch.uint8, device=device)
        self.ids = torch.zeros(capacity, CAPTIONS_PER_CLIP, 64, dtype=torch.int16)
        self.ids_on_device = self.ids.to(device)
        self.labels: list[Labels] = []
        self.filled = self.cursor = 0
        self.ready, self.renewed = 0, slice(0, 0)  # clips with captions; those of them that wait for new ones
        self._writer = ThreadPoolExecutor(1)
        self._pending: list[Future[None]] = []
        self.mean = self.std = torch.zeros(0)

    def _encode_eagerly(self, video: Tensor) -> Tensor:
        with mixed(video.device):
            return self.vae.encode_sequence(video)[0].float()

    def _encoded(self, rgb: Tensor) -> Tensor:
        part = min(ENCODED_TOGETHER, self.chunk)
        return torch.cat([self._encode(to_unit(rgb[i : i + part])) for i in range(0, self.chunk, part)])

    def _told(self) -> int:
        """Clips of a chunk with known frames: whole passes of the VAE."""
        part = min(ENCODED_TOGETHER, self.chunk)
        return min(self.chunk, max(part, round(self.told.first * self.chunk / part) * part))

    def _known_frames(self, rgb: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Raw latents of clips of which only the first frame is known, or the last too, and where it is."""
        last = torch.rand(len(rgb), device=self.device, generator=generator) < self.told.last
        part = min(ENCODED_TOGETHER, self.chunk)
        starts = range(0, len(rgb), part)
        latents = [self._encode(only_known(to_unit(rgb[i : i + part]), last[i : i + part])) for i in starts]
        return torch.cat(latents), last

    @torch.no_grad()
    def add_chunk(self) -> None:
        """Render, encode and store one chunk of new clips, over the oldest where the ring is full."""
        if self.ready:
            self.settle()
        scenes = next(self.scenes)
        clip = self.renderer(scenes)
        place = torch.arange(self.cursor, self.cursor + self.chunk) % self.capacity
        spot = place.to(self.device)
        self.latents[spot] = self._encoded(clip.rgb).half()
        self.cover[spot] = (token_cover(clip.number, self.side) * 255).round().to(torch.uint8)
        if self.told.beside:
            some = spot[: self._told()]
            known, self.ends[some] = self._known_frames(clip.rgb[: len(some)], self.generator)
            self.known[some], self.shown[spot] = known.half(), False
            self.shown[some] = True
        if self.told.rays:
            self.path[spot] = path_of(clip.camera, self.aspect)
        labels = scenes.labels.to("cpu")
        if self.filled < self.capacity:
            self.labels.append(labels)
        else:
            for kept, new in zip(self._all_labels(), labels, strict=True):
                kept[place] = new
        self._pending.append(self._writer.submit(self._caption, labels, place))
        if self.cursor < self.ready:
            self.renewed = slice(self.cursor, self.cursor + self.chunk)
        self.cursor = (self.cursor + self.chunk) % self.capacity
        self.filled = min(self.capacity, self.filled + self.chunk)

    def _caption(self, labels: Labels, place: Tensor) -> None:
        values = facts(labels, self.world)
        texts = [self.captioner(v) for v in values for _ in range(CAPTIONS_PER_CLIP)]
        self.ids[place] = encode_captions(texts, self.world).view(len(values), CAPTIONS_PER_CLIP, -1)

    def _all_labels(self) -> Labels:
        if len(self.labels) > 1:
            self.labels = [Labels(*(torch.cat(parts) for parts in zip(*self.labels, strict=True)))]
        return self.labels[0]

    def settle(self) -> None:
        """Wait for captions and bring them to the device; compute latent statistics the first time."""
        for future in self._pending:
            future.result()
        self._pending.clear()
        self.ready, self.renewed = self.filled, slice(0, 0)
        self.ids_on_device = self.ids.to(self.device)
        self.labels_on_device = self._all_labels().to(self.device)
        if not self.mean.numel():
            moments = Moments()
            for start in range(0, min(self.filled, 8192), 512):
                moments.add(self.latents[start : min(start + 512, self.filled)])
            self.mean, self.std = moments.result()

    def save(self, path: Path) -> None:
        """Keep the whole buffer in a file, so that the next command on this machine need not render it again."""
        labels = {f"label.{name}": tensor for name, tensor in self._all_labels()._asdict().items()}
        told = {"known": self.known, "ends": self.ends, "shown": self.shown, "path": self.path}
        clips = {"latents": self.latents, "cover": self.cover, "ids": self.ids}
        clips |= {name: tensor for name, tensor in told.items() if len(tensor)}
        there = {name: tensor[: self.filled] for name, tensor in clips.items()}
        save_tensors(path, {**there, "mean": self.mean, "std": self.std, **labels}, {WORLD: self.world.name})

    def load(self, paths: Sequence[Path]) -> None:
        """Take over buffers that :meth:`save` kept, as the first clips of this one, which may be larger.

        Clips of a world that differs in its captions alone get those of this one.
        """
        clips = {"latents": self.latents, "cover": self.cover, "ids": self.ids, "known": self.known}
        clips |= {"ends": self.ends, "shown": self.shown, "path": self.path}
        self.labels, statistics = [], []
        for path in paths:
            kept = load_tensors(path)
            part = slice(self.filled, self.filled + len(kept["latents"]))
            for name, own in clips.items():
                if len(own):
                    own[part].copy_(kept[name])
            self.labels.append(Labels(*(kept[f"label.{name}"] for name in Labels._fields)))
            statistics.append((kept["mean"], kept["std"]))
            if read_safetensors(path).metadata.get(WORLD, self.world.name) != self.world.name:
                for start in range(part.start, part.stop, self.chunk):
                    place = torch.arange(start, min(start + self.chunk, part.stop))
                    self._caption(self.labels[-1].select(place - part.start), place)
            self.filled = part.stop
        self.cursor = self.filled % self.capacity
        self.use_statistics(*statistics[0])
        self.settle()

    @torch.no_grad()
    def fresh(self, count: int, seed: int) -> Batch:
        """Clips that are not in the buffer and, with a seed of their own, never will be: what a run is judged by. All
        of them have their known frames."""
        generator = torch.Generator(self.device).manual_seed(seed)
        writer = Captioner(seed, complete=True, world=self.world)
        latents, covers, ids, labels, known, paths = [], [], [], [], [], []
        stream = SceneStream(self.chunk, generator, self.world)
        for _ in range(0, count, self.chunk):
            scenes = next(stream)
            clip = self.renderer(scenes)
            latents.append(self._encoded(clip.rgb))
            covers.append(token_cover(clip.number, self.side))
            if self.told.beside:
                raw, ends = self._known_frames(clip.rgb, generator)
                known.append(beside(self._normal(raw), ends))
            if self.told.rays:
                paths.append(path_of(clip.camera, self.aspect))
            labels.append(scenes.labels)
            listed = with_few_terms(facts(scenes.labels.to("cpu"), self.world), seed)
            ids.append(encode_captions([writer(f) for f in listed], self.world))
        return Batch(
            self._normal(torch.cat(latents)), torch.cat(ids).to(self.device).long(), torch.cat(covers),
            Labels(*(torch.cat(parts) for parts in zip(*labels, strict=True))),
            torch.cat(known) if known else None, torch.cat(paths) if paths else None,
        )  # fmt: skip

    def some_rays(self, clips: int = 256) -> Tensor | None:
        """Packed rays [B, 24, T, H, W] of the first clips; None for members that read none."""
        if not self.told.rays:
            return None
        height, width = (side * self.side // 2 for side in self.latents.shape[3:])
        return packed_rays(self.path[: min(clips, self.filled)], height, width)

    def _normal(self, raw: Tensor) -> Tensor:
        return (raw.float() - self.mean.view(1, -1, 1, 1, 1)) / self.std.view(1, -1, 1, 1, 1)

    def _beside(self, index: Tensor) -> Tensor:
        known = beside(self._normal(self.known[index]), self.ends[index])
        return torch.where(self.shown[index].view(-1, 1, 1, 1, 1), known, 0.0)

    def use_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Normalise with these instead of statistics of the buffer (a resumed run must not shift)."""
        self.mean, self.std = mean.to(self.device), std.to(self.device)

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Random clips, one of their captions each."""
        gap = self.renewed.stop - self.renewed.start
        index = torch.randint(0, self.ready - gap, (size,), device=self.device, generator=generator)
        index = torch.where(index < self.renewed.start, index, index + gap)
        which = torch.randint(0, CAPTIONS_PER_CLIP, (size,), device=self.device, generator=generator)
        told = self.told
        return Batch(
            self._normal(self.latents[index]),
            self.ids_on_device[index, which].long(),
            self.cover[index].float() / 255,
            self.labels_on_device.select(index),
            self._beside(index) if told.beside else None,
            self.path[index] if told.rays else None,
        )
