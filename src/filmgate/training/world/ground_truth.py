"""Rendered clips as files: frames, caption, labels, camera poses and G-buffer, for demos, tests and start images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from filmgate.camera.poses import CameraPath, format_poses
from filmgate.spec.errors import InvalidRequest
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.captions import Captioner, Facts, facts, with_few_terms
from filmgate.training.world.catalogue import FIRST, RICH, Catalogue, catalogue
from filmgate.training.world.characters import look, with_look
from filmgate.training.world.render import Clip, Renderer
from filmgate.training.world.scenes import sample_labels, sample_scenes

__all__ = ["RenderedClip", "catalogue", "render_clips", "write_truth"]


@dataclass(frozen=True)
class RenderedClip:
    """One clip with everything that is known of it.

    ``frames`` uint8 [F, H, W, 3]; ``number`` int8 [F, H, W] (-1 sky, 0 ground, 1 ... objects); ``distance`` fp32
    [F, H, W] metres along the ray; ``camera_to_world`` [F, 3, 4] (OpenCV axes, metres); ``focal`` [F] in image
    widths; ``path`` is the same as world-to-camera poses and lenses.
    """

    frames: NDArray[np.uint8]
    caption: str
    facts: Facts
    number: NDArray[np.int8]
    distance: NDArray[np.float32]
    camera_to_world: NDArray[np.float32]
    focal: NDArray[np.float32]
    fps: int
    path: CameraPath

    def truth(self) -> dict[str, object]:
        """Caption, labels and poses as JSON values."""
        return {
            "caption": self.caption,
            "objects": [thing._asdict() for thing in self.facts.things],
            "alike": self.facts.alike,
            "relation": self.facts.relation,
            "camera": self.facts.camera,
            "light": self.facts.light,
            "ground": self.facts.ground,
            "weather": self.facts.weather,
            "pace": self.facts.pace,
            "aesthetics": dict(self.facts.aesthetics),
            "fps": self.fps,
            "camera_to_world": self.camera_to_world.round(6).tolist(),
            "focal_in_image_widths": self.focal.round(6).tolist(),
        }


def render_clips(
    seed: int, count: int, clip: ClipFormat | None = None, world: Catalogue = FIRST, character: int | None = None
) -> Iterator[RenderedClip]:
    """``count`` clips of a toy world; the same seed gives the same clips, whatever ``count`` is.

    Args:
        character: Seed of the look of a character that is in all of them; richer worlds only.

    Raises:
        InvalidRequest: the world has no characters.
    """
    if character is not None and not world.rich:
        raise InvalidRequest(
            "look", f"there are no characters in the world {world.name!r}", allowed=f"world {RICH.name}"
        )
    clip = clip or ClipFormat()
    renderer = Renderer(clip, samples=8)
    for index in range(count):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        labels = None
        if character is not None:
            labels = with_look(sample_labels(1, generator, world), look(character), index)
        scenes = sample_scenes(1, generator, labels, world=world)
        known = with_few_terms(facts(scenes.labels, world), f"{seed}-{index}")[0]
        writer = Captioner(f"{seed}-{index}", complete=True, world=world)
        yield _collect(renderer(scenes), known, writer(known), clip.fps)


def _collect(clip: Clip, known: Facts, caption: str, fps: int) -> RenderedClip:
    pose = torch.cat([clip.camera.rotation, clip.camera.position[..., None]], -1)
    height, width = clip.rgb.shape[-2:]
    path = CameraPath(
        clip.camera.lenses(width / height)[0].double().numpy(), clip.camera.world_to_camera()[0].double().numpy()
    )
    return RenderedClip(
        clip.rgb[0].permute(1, 2, 3, 0).contiguous().numpy(), caption, known, clip.number[0].numpy(),
        clip.distance[0].float().numpy(), pose[0].numpy(), clip.camera.focal[0].numpy(), fps, path,
    )  # fmt: skip


def write_truth(clip: RenderedClip, stem: Path) -> list[Path]:
    """Write ``STEM.json`` (caption, labels, poses), ``STEM.npz`` (object numbers, distances) and ``STEM.txt`` (the
    camera's path in RealEstate10K's form); returns the paths."""
    text, arrays, poses = stem.with_suffix(".json"), stem.with_suffix(".npz"), stem.with_suffix(".txt")
    text.write_text(json.dumps(clip.truth(), indent=2) + "\n")
    with arrays.open("wb") as file:
        np.savez_compressed(file, number=clip.number, distance=clip.distance)
    poses.write_text(format_poses(clip.path, source="filmgate world render"))
    return [text, arrays, poses]
