"""Rendered clips as files: frames, caption, labels, camera poses and G-buffer, for demos, tests and start images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.captions import Captioner, Facts, facts
from filmgate.training.world.render import Clip, Renderer
from filmgate.training.world.scenes import sample_scenes


@dataclass(frozen=True)
class RenderedClip:
    """One clip with everything that is known of it.

    ``frames`` uint8 [F, H, W, 3]; ``number`` int8 [F, H, W] (-1 sky, 0 ground, 1 ... objects); ``distance`` fp32
    [F, H, W] metres along the ray; ``camera_to_world`` [F, 3, 4] (OpenCV axes, metres); ``focal`` [F] in image widths.
    """

    frames: NDArray[np.uint8]
    caption: str
    facts: Facts
    number: NDArray[np.int8]
    distance: NDArray[np.float32]
    camera_to_world: NDArray[np.float32]
    focal: NDArray[np.float32]
    fps: int

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
            "fps": self.fps,
            "camera_to_world": self.camera_to_world.round(6).tolist(),
            "focal_in_image_widths": self.focal.round(6).tolist(),
        }


def render_clips(seed: int, count: int, clip: ClipFormat | None = None) -> Iterator[RenderedClip]:
    """``count`` clips of the toy world; the same seed gives the same clips, whatever ``count`` is."""
    clip = clip or ClipFormat()
    renderer = Renderer(clip)
    for index in range(count):
        scenes = sample_scenes(1, torch.Generator().manual_seed(seed * 1_000_003 + index))
        known = facts(scenes.labels)[0]
        yield _collect(renderer(scenes), known, Captioner(f"{seed}-{index}", complete=True)(known), clip.fps)


def _collect(clip: Clip, known: Facts, caption: str, fps: int) -> RenderedClip:
    pose = torch.cat([clip.camera.rotation, clip.camera.position[..., None]], -1)
    return RenderedClip(
        clip.rgb[0].permute(1, 2, 3, 0).contiguous().numpy(), caption, known, clip.number[0].numpy(),
        clip.distance[0].float().numpy(), pose[0].numpy(), clip.camera.focal[0].numpy(), fps,
    )  # fmt: skip


def write_truth(clip: RenderedClip, stem: Path) -> list[Path]:
    """Write ``STEM.json`` (caption, labels, poses) and ``STEM.npz`` (object numbers, distances); returns the paths."""
    text, arrays = stem.with_suffix(".json"), stem.with_suffix(".npz")
    text.write_text(json.dumps(clip.truth(), indent=2) + "\n")
    with arrays.open("wb") as file:
        np.savez_compressed(file, number=clip.number, distance=clip.distance)
    return [text, arrays]
