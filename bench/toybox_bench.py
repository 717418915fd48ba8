"""What all measurements of the toy family share: the models, the reader, the questions, and the scenes that they are
about, as rendered and as the VAE returns them."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import filmgate
from filmgate.engine.checkpoints.describe import unpacked
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import ExpertName
from filmgate.training.conditions import path_of
from filmgate.training.fidelity import Fidelity, fidelity
from filmgate.training.painting import NOTHING, Given, Painter, Settings
from filmgate.training.readers import Reading, WorldReader, load_reader
from filmgate.training.samples import captioned_sheet
from filmgate.training.truth import Question, in_words, question_scenes, questions
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import CATALOGUES, Catalogue, Triples
from filmgate.training.world.motion import camera_at
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import Scenes
from filmgate.training.world.tokenizer import lexicon_words

HERE = Path(__file__).parent
SHOWN = 16
"""Clips on a contact sheet."""
RENDERED = 10
"""Clips that are rendered at once."""
KEPT = 64
"""Clips of which the pixels are kept, of a model's and of the scenes'."""
MEMBERS = ("toybox-t2v", "toybox-i2v", "toybox-ti2v", "toybox-2.1", "toybox-camera", "fewstep")
"""``fewstep``: toybox-t2v with two LoRAs, in four steps without guidance."""
SETTINGS = {"high": "guidance_high", "low": "guidance_low", "shift": "shift", "boundary": "boundary", "steps": "steps"}
BLUR = 2.0
"""Pixels (sigma) of a blur that a Fréchet distance should not take for worse than clips that do not move."""
READ_FACTOR = 8
"""Readers see clips in the size that a VAE of so many pixels a cell gives them."""


class Seen(NamedTuple):
    """What came of painting: the reading of all clips, their features [N, D], the first clips, uint8 [B, 3, F, H, W] on
    the CPU, and seconds for painting and decoding one clip (without those that warmed up, if there were others)."""

    reading: Reading
    features: Tensor
    clips: Tensor
    seconds: float


class Mirror(NamedTuple):
    """Scenes of questions as rendered and as the VAE returns them: what was seen, fidelity, latents [N, C, T, h, w],
    and features [N, D] of renders that are spoilt in known ways."""

    rendered: Seen
    coded: Seen
    fidelity: Fidelity
    latents: Tensor
    spoilt: dict[str, Tensor]


def joined(readings: Sequence[Reading]) -> Reading:
    """One reading of all clips."""
    parts = ({n: torch.cat([r[i][n] for r in readings]) for n in readings[0][i]} for i in range(2))
    return Reading(*parts)


class Bench:
    """The models, the reader and the questions that all parts share."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self.options, self.device = options, device
        self.batch = options.batch or (100 if device.type == "cuda" else 4)
        few = options.member == "fewstep"
        self.painter = self.open(model_directory(options), loras_of(options) if few else {})
        self.dense = None if options.dense is None else self.open(options.dense)
        self.own_world = world_of(Path(self.painter.model.path))
        world = options.world or self.own_world
        if world is None:
            said = f"{self.painter.model.path} does not tell by its words"
            raise InvalidRequest("world", said, allowed="--world NAME")
        self.world: Catalogue = world
        changes = {name: getattr(options, option) for name, option in SETTINGS.items()}
        settings = self.painter.settings.few("lightning") if few else self.painter.settings
        self.settings = settings.changed(
            ",".join(f"{name}={value}" for name, value in changes.items() if value is not None)
        )
        video = self.painter.video
        self.format = ClipFormat(video.frames, video.height, video.width)
        factor = self.painter.model.compression.spatial // READ_FACTOR
        self.read_size = video.height // factor, video.width // factor
        self.reader: WorldReader = load_reader(options.readers, ClipFormat(video.frames, *self.read_size)).to(device)
        self.asked = questions(options.prompts, world=self.world, triples=options.triples)

    @property
    def task(self) -> str:
        """Of the model."""
        return self.painter.model.task

    @property
    def text_alone(self) -> bool:
        """Whether questions are asked in words alone; a model that can do without a picture shows more by that."""
        return self.task in ("t2v", "ti2v")

    def told_beside(self, scenes: Scenes) -> Callable[[slice], Given] | None:
        """What questions about scenes come with, if they are not asked in words alone."""
        return None if self.text_alone else self.told(scenes)

    def open(self, directory: Path, loras: dict[ExpertName, Path] | None = None) -> Painter:
        """A model, ready to paint; a packed one is unpacked in the cache."""
        half, compiled = self.options.precision == "bf16", self.options.compile
        directory = unpacked(directory, self.options.cache)
        painter = Painter(directory, self.device, half=half, compiled=compiled, loras=loras)
        if self.device.type == "cuda":
            prepare(painter.vae, Choices(channels_last=True))
        return painter

    def examine(self, rgb: Tensor) -> tuple[Reading, Tensor]:
        """Answers and features, on the CPU."""
        rgb = rgb.to(self.device)
        if rgb.shape[-2:] != self.read_size:
            frames = rgb.transpose(1, 2).flatten(0, 1).float()
            small = F.interpolate(frames, self.read_size, mode="area").round().to(torch.uint8)
            rgb = small.unflatten(0, (len(rgb), -1)).transpose(1, 2)
        reading, features = self.reader.examine(rgb, batch=32 if self.device.type == "cuda" else 4)
        on_cpu = ({name: answer.cpu() for name, answer in part.items()} for part in reading)
        return Reading(*on_cpu), features.cpu()

    def read(self, rgb: Tensor) -> Reading:
        """Answers on the CPU."""
        return self.examine(rgb)[0]

    def see(
        self, painter: Painter, prompts: Sequence[str], seeds: Sequence[int], settings: Settings, keep: int = 0,
        given: Callable[[slice], Given] | None = None,
    ) -> Seen:  # fmt: skip
        """Paint prompts, batch by batch, read all clips and keep the first.

        Args:
            given: What a batch of the prompts is told beside them.
        """
        readings, features, clips, spent = [], [], [], []
        for start in range(0, len(prompts), self.batch):
            part = slice(start, min(start + self.batch, len(prompts)))
            told = NOTHING if given is None else given(part)
            began = self.now()
            rgb = painter.decode(painter.paint(prompts[part], seeds[part], settings, told))
            spent.append((self.now() - began) / len(rgb))
            reading, feature = self.examine(rgb)
            readings.append(reading)
            features.append(feature)
            clips.append(rgb[: max(0, keep - start)].cpu())
            if len(prompts) > self.batch:
                print(f"   {part.stop} of {len(prompts)}", file=sys.stderr, flush=True)
        steady = spent[1:] or spent
        return Seen(joined(readings), torch.cat(features), torch.cat(clips), sum(steady) / len(steady))

    def now(self) -> float:
        """Seconds on a clock, after the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def answers(
        self, painter: Painter, asked: Sequence[Question], settings: Settings, keep: int = 0,
        given: Callable[[slice], Given] | None = None,
    ) -> Seen:  # fmt: skip
        """Paint questions."""
        return self.see(painter, [q.prompt for q in asked], [q.seed for q in asked], settings, keep, given)

    def told(self, scenes: Scenes, *, last: bool = False) -> Callable[[slice], Given] | None:
        """What a model that reads pictures, or a path, is told of these scenes: first frames (and last ones), and the
        way of their cameras. None for models that read text only."""
        if self.task not in ("i2v", "ti2v", "camera"):
            return None
        video = self.painter.video
        ends = torch.tensor([0, video.frames - 1] if last else [0], device=self.device)
        moments = torch.arange(video.frames, device=self.device) / max(video.frames - 1, 1)

        def given(part: slice) -> Given:
            own = scenes.select(torch.arange(part.start, part.stop)).to(self.device)
            stills = torch.cat([self.renderer(own.select(i), ends).rgb for i in self.rendered_together(part)])
            path = path_of(camera_at(own, moments), video.width / video.height) if self.task == "camera" else None
            return self.painter.given(stills[:, :, 0], stills[:, :, -1] if last else None, path)

        return given

    def rendered_together(self, part: slice) -> list[Tensor]:
        """Numbers of scenes within a batch, in groups that are rendered at once."""
        return list(torch.arange(part.stop - part.start, device=self.device).split(RENDERED))

    @cached_property
    def scenes(self) -> Scenes:
        """Of all questions."""
        return question_scenes(len(self.asked), world=self.world, triples=self.options.triples)

    @cached_property
    def renderer(self) -> Renderer:
        """Of the model's clips."""
        return Renderer(self.format, compile_shader=self.options.compile and self.device.type == "cpu")

    @cached_property
    def painted(self) -> Seen:
        """All questions, painted by the model."""
        return self.answers(self.painter, self.asked, self.settings, KEPT, self.told_beside(self.scenes))

    @cached_property
    def painted_by_dense(self) -> Seen:
        """All questions, painted by the dense partner."""
        assert self.dense is not None
        return self.answers(self.dense, self.asked, self.settings, SHOWN)

    @cached_property
    def mirror(self) -> Mirror:
        """The questions' scenes."""
        return self.mirrored(self.scenes)

    def mirrored(self, scenes: Scenes) -> Mirror:
        """Render scenes, pass them through the VAE and read both."""
        seen: list[list[tuple[Reading, Tensor]]] = [[], []]
        clips: list[list[Tensor]] = [[], []]
        latents, quality = [], []
        spoilt: dict[str, list[Tensor]] = defaultdict(list)
        for start, (rgb, covered) in enumerate(self.renders(scenes)):
            latent = self.painter.encode(rgb)
            after = self.painter.decode(latent)
            quality.append(fidelity(rgb, after, covered))
            latents.append(latent.cpu())
            for name, worse in spoilt_clips(rgb).items():
                spoilt[name].append(self.examine(worse)[1])
            for found, kept, part in zip(seen, clips, (rgb, after), strict=True):
                found.append(self.examine(part))
                kept.append(part[: max(0, KEPT - start * RENDERED)].cpu())
        rendered, coded = (
            Seen(joined([reading for reading, _ in found]), torch.cat([f for _, f in found]), torch.cat(kept), 0.0)
            for found, kept in zip(seen, clips, strict=True)
        )
        features = {name: torch.cat(parts) for name, parts in spoilt.items()}
        return Mirror(rendered, coded, Fidelity.joined(quality), torch.cat(latents), features)

    def renders(self, scenes: Scenes) -> Iterator[tuple[Tensor, Tensor]]:
        """Clips of scenes, uint8 [B, 3, F, H, W], and where their objects are."""
        scenes = scenes.to(self.device)
        for index in torch.arange(len(scenes.uniforms), device=self.device).split(RENDERED):
            clip = self.renderer(scenes.select(index))
            yield clip.rgb, clip.number > 0

    def asked_about(self, count: int, triples: Triples) -> list[Question]:
        """Other questions of the same world."""
        return questions(count, world=self.world, triples=triples)


def spoilt_clips(rgb: Tensor) -> dict[str, Tensor]:
    """Clips that do not move, whose frames are out of order, and whose pixels are blurred."""
    frames = rgb.shape[2]
    order = torch.randperm(frames, generator=torch.Generator().manual_seed(0)).to(rgb.device)
    taps = torch.arange(-6, 7, device=rgb.device, dtype=torch.float32)
    kernel = torch.exp(-(taps**2) / (2 * BLUR**2))
    kernel = kernel / kernel.sum()
    flat = F.pad(rgb.transpose(1, 2).flatten(0, 2)[:, None].float(), (6, 6, 6, 6), mode="replicate")
    for view in ((1, 1, 1, 13), (1, 1, 13, 1)):
        flat = F.conv2d(flat, kernel.view(view))
    blurred = flat[:, 0].round().to(torch.uint8).unflatten(0, (len(rgb), frames, 3)).transpose(1, 2)
    return {"frozen": rgb[:, :, :1].expand_as(rgb), "shuffled": rgb[:, :, order], "blurred": blurred}


def shipped(cache: Path) -> Path:
    """The model that comes with the package, unpacked."""
    return unpacked(packaged("toybox-t2v"), cache)


def packaged(name: str) -> Path:
    """Where the package has a member, if it has it."""
    return Path(filmgate.__file__).parent / "toybox" / name


def model_directory(options: argparse.Namespace) -> Path:
    """The directory that is asked for: ``--model``, or a member in ``--family`` or in the package."""
    if options.model is not None:
        return Path(options.model)
    name = "toybox-t2v" if options.member in (None, "fewstep") else options.member
    places = [*([options.family / name] if options.family else []), packaged(name)]
    for place in places:
        if place.is_dir():
            return Path(place)
    raise InvalidRequest("member", f"{name} is not in {' nor in '.join(map(str, places))}", allowed="--family DIR")


def loras_of(options: argparse.Namespace) -> dict[ExpertName, Path]:
    """The two LoRAs of few steps."""
    folder = options.loras or (options.family or Path()).parent / "fewstep"
    names: tuple[ExpertName, ExpertName] = ("high_noise", "low_noise")
    files = {name: folder / f"toybox-t2v-4steps_{name}.safetensors" for name in names}
    for file in files.values():
        if not file.is_file():
            raise InvalidRequest("loras", f"there is no {file}", allowed="--loras DIR")
    return files


def world_of(directory: Path) -> Catalogue | None:
    """The world whose words a model was exported with; None where it has no such vocabulary."""
    vocabulary = directory / "vocabulary.txt"
    words = vocabulary.read_text().split() if vocabulary.is_file() else []
    return next((world for world in CATALOGUES.values() if words == lexicon_words(world)), None)


def draw_sheet(path: Path | None, suffix: str, seen: Seen, prompts: Sequence[str], count: int = SHOWN) -> None:
    """Contact sheet of the first prompts, with what the reader saw."""
    if path is None:
        return
    clips = seen.clips[:count]
    captions = [f"{prompt}\n    read: {in_words(seen.reading, i)}" for i, prompt in enumerate(prompts[: len(clips)])]
    captioned_sheet(clips, captions, path.with_stem(path.stem + suffix))
