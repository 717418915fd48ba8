"""The gallery: what the shipped models paint, unselected, from a fixed list of prompts and seeds (bench/gallery.json).

    python bench/gallery.py [--only older,camera] [--lora-high FILE --lora-low FILE]

Every clip is made by the command that stands beside it in docs/gallery/README.md. Sections of models that are not
shipped are left out. A clip is an animated WebP, enlarged twice by Lanczos (said on the page, since that looks smoother
than the clip is); beside it stands what the model was given: pictures, and the camera's path seen from above. The
README's picture has the first eight prompts of the first section in one.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from filmgate.app import Filmgate
from filmgate.camera.poses import CameraPath, format_poses, read_poses
from filmgate.media.read import read_video
from filmgate.spec.errors import CheckpointError, UnknownName
from filmgate.training.world.catalogue import catalogue
from filmgate.training.world.ground_truth import render_clips

ROOT = Path(__file__).parents[1]
LIST, GALLERY, README_PICTURE = (
    ROOT / "bench/gallery.json",
    ROOT / "docs/gallery",
    ROOT / "docs/images/toybox-eight.webp",
)
SHOWN_IN_README, SHEET_MOMENTS = 8, 6
ENLARGED = 2
"""Times, by Lanczos."""
QUALITY = 82
"""Of WebP."""
INK, PAPER, FAINT = (235, 235, 235), (18, 18, 20), (120, 120, 126)
_LINE, _GAP = 15, 6
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """A clip to make: its name, prompt and options, and what the model is given, by the request's fields."""

    name: str
    prompt: str
    model: str
    seed: int
    options: tuple[str, ...] = ()
    given: Mapping[str, Path] = field(default_factory=dict)
    beside: str | None = None

    def command(self, output: str) -> list[str]:
        """What is typed."""
        files = [text for name, path in self.given.items()
                 for text in (f"--{name.replace('_', '-')}", path.relative_to(ROOT).as_posix())]  # fmt: skip
        return [
            "filmgate", "generate", self.prompt, "--model", self.model, "--seed", str(self.seed), *self.options, *files,
            "--output", output,
        ]  # fmt: skip


def items(section: Mapping[str, Any], sections: Mapping[str, Any], seed: int, loras: Sequence[str]) -> list[Item]:
    """Clips of a section; pictures and paths that they are given are rendered."""
    name, options = section["name"], tuple(section.get("options", ()))
    if "rendered" in section:
        return _from_rendered(section, seed, (*options, *(loras if section.get("loras") else ())))
    prompts = sections[section["prompts_of"]]["prompts"] if "prompts_of" in section else section["prompts"]
    prompts = prompts[: section.get("count")]
    return [
        Item(f"{name}-{number:02}", prompt, section["model"], seed, options, {}, section.get("beside"))
        for number, prompt in enumerate(prompts, 1)
    ]


def _from_rendered(section: Mapping[str, Any], seed: int, options: tuple[str, ...]) -> list[Item]:
    wish = section["rendered"]
    clips = render_clips(wish["seed"], wish["count"], None, catalogue(wish["world"]), wish.get("look"))
    found = []
    for number, clip in enumerate(clips, 1):
        stem = GALLERY / "given" / f"{section['name']}-{number:02}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        given: dict[str, Path] = {}
        for role, frame in (("image", 0), ("last_image", -1)):
            if role in section["given"]:
                given[role] = stem.with_name(f"{stem.name}-{role.replace('_', '-')}.png")
                Image.fromarray(clip.frames[frame]).save(given[role])
        if "camera" in section["given"]:
            given["camera"] = stem.with_suffix(".txt")
            given["camera"].write_text(format_poses(clip.path))
        found.append(Item(stem.name, clip.caption, section["model"], seed, options, given))
    return found


def painted(item: Item) -> tuple[Frames, dict[str, Any]]:
    """Frames [F, H, W, 3] of an item, made by its command, and its take."""
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "clip.mp4")
        command = [str(Path(sys.executable).with_name("filmgate")), *item.command(output)[1:], "--json", "--quiet"]
        run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        return read_video(Path(output)).frames, json.loads(run.stdout)["take"]


def path_from_above(path: CameraPath, height: int, frame: int) -> Frames:
    """A square picture of a camera's path seen from above, where it is at ``frame`` and where it looks then."""
    rotation, shift = path.world_to_camera[:, :, :3], path.world_to_camera[:, :, 3]
    places = -np.einsum("fji,fj->fi", rotation, shift)[:, (0, 2)]
    ahead = rotation[:, 2, (0, 2)]
    middle, extent = (places.max(0) + places.min(0)) / 2, max(np.ptp(places, 0).max(), 1.0)
    scale = 0.62 * height / extent

    def spot(place: NDArray[np.float64]) -> tuple[float, float]:
        x, z = (place - middle) * scale
        return height / 2 + float(x), height / 2 - float(z)

    picture = Image.new("RGB", (height, height), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.line([spot(place) for place in places], fill=FAINT, width=2)
    here = spot(places[frame])
    tip = spot(places[frame] + 0.22 * extent * ahead[frame])
    pen.line([here, tip], fill=(250, 190, 60), width=2)
    pen.ellipse([here[0] - 3, here[1] - 3, here[0] + 3, here[1] + 3], fill=(250, 190, 60))
    pen.text((4, height - 14), f"{extent:.1f} m, from above", fill=FAINT, font=ImageFont.load_default(10))
    return np.asarray(picture)


def stills(item: Item, height: int, width: int) -> Frames:
    """Pictures that an item was given, side by side: [H, W', 3]; W' is 0 where there are none."""
    given = [Image.open(item.given[role]).convert("RGB") for role in ("image", "last_image") if role in item.given]
    shown = [np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS)) for picture in given]
    gap = np.full((height, _GAP, 3), PAPER, np.uint8)
    parts = [part for picture in shown for part in (picture, gap)]
    return np.concatenate(parts, 1) if parts else gap[:, :0]


def columns(item: Item, frames: Frames, others: Mapping[str, Frames]) -> Frames:
    """What moves of what is shown of an item, frame by frame: the camera's path that it was given, the clip that it
    stands beside, and the clip."""
    height = frames.shape[1]
    parts = []
    if "camera" in item.given:
        path = read_poses(item.given["camera"])
        parts.append(np.stack([path_from_above(path, height, number) for number in range(len(frames))]))
    other = others.get(f"{item.beside}-{item.name.rpartition('-')[2]}")
    if other is not None:
        parts.append(other)
    gap = np.full((len(frames), height, _GAP, 3), PAPER, np.uint8)
    spaced = [part for pair in zip([*parts, frames], [gap] * (len(parts) + 1), strict=True) for part in pair][:-1]
    return np.concatenate(spaced, 2)


def enlarged(frames: Frames, times: int) -> list[Image.Image]:
    """Pictures, a whole number of times larger."""
    height, width = frames.shape[1:3]
    return [Image.fromarray(f).resize((width * times, height * times), Image.Resampling.LANCZOS) for f in frames]


def save_loop(pictures: Sequence[Image.Image], path: Path, fps: float) -> None:
    """An endless animated WebP."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = pictures
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, quality=QUALITY, method=4)


def captioned(clips: Sequence[tuple[str, Frames]], across: int, times: int) -> list[Image.Image]:
    """Clips of one size side by side, each under its prompt."""
    grown = [enlarged(frames, times) for _, frames in clips]
    width, height = grown[0][0].size
    line, font = _LINE + 4, ImageFont.load_default(12)
    down = -(-len(clips) // across)
    pictures = []
    for number in range(len(grown[0])):
        page = Image.new("RGB", (across * (width + _GAP) - _GAP, down * (height + line)), PAPER)
        pen = ImageDraw.Draw(page)
        for place, ((prompt, _), frames) in enumerate(zip(clips, grown, strict=True)):
            left, top = place % across * (width + _GAP), place // across * (height + line)
            pen.text((left + 3, top + 3), _fitting(prompt, font, width - 6), fill=INK, font=font)
            page.paste(frames[number], (left, top + line))
        pictures.append(page)
    return pictures


def _fitting(text: str, font: Any, width: int) -> str:
    """As much of a text as a line holds."""
    if font.getlength(text) <= width:
        return text
    while font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def contact_sheet(clips: Sequence[tuple[str, Frames, Frames]], path: Path) -> None:
    """PNG with a row for every clip, as it is, under its prompt: the pictures that it was given [H, W', 3], then evenly
    spaced frames [F, H, W, 3]."""
    _, given, first = clips[0]
    font, (height, width) = ImageFont.load_default(11), first.shape[1:3]
    across = given.shape[1] + SHEET_MOMENTS * (width + 2)
    page = Image.new("RGB", (across, len(clips) * (height + _LINE + 2)), PAPER)
    pen = ImageDraw.Draw(page)
    for row, (prompt, given, frames) in enumerate(clips):
        top = row * (height + _LINE + 2)
        pen.text((3, top + 1), _fitting(prompt, font, page.width - 6), fill=INK, font=font)
        if given.size:
            page.paste(Image.fromarray(given), (0, top + _LINE))
        for place, number in enumerate(np.linspace(0, len(frames) - 1, SHEET_MOMENTS).round().astype(int)):
            page.paste(Image.fromarray(frames[number]), (given.shape[1] + place * (width + 2), top + _LINE))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, optimize=True)


def page(made: Mapping[str, list[tuple[Item, dict[str, Any]]]], sections: Mapping[str, Any], before: str = "") -> str:
    """docs/gallery/README.md.

    Args:
        before: The page as it was: its sections stay where nothing new was made.
    """
    lines = [
        "# Gallery", "",
        "What the shipped models paint, unselected: every prompt of `bench/gallery.json`, one seed each, made by"
        " `python bench/gallery.py`.",
        f"Clips are enlarged {ENLARGED} times by Lanczos, which looks smoother than they are; `sheet-*.png` show frames"
        " as they are. Beside a clip stands what the model was given.", "",
    ]  # fmt: skip
    kept = {text.partition("\n")[0]: text.rstrip() for text in before.split("\n## ")[1:]}
    for name, section in sections.items():
        if name in made:
            beside = sections[section["beside"]]["title"] if "beside" in section else None
            lines += [f"## {section['title']}", "", *_listed(name, made[name], beside)]
        elif section["title"] in kept:
            lines += [f"## {kept[section['title']]}", ""]
    return "\n".join(lines)


def _listed(name: str, entries: Sequence[tuple[Item, dict[str, Any]]], beside: str | None) -> list[str]:
    """A section of the page without its title."""
    item, take = entries[0]
    plan = take["plan"]
    video, fps = plan["video"], plan["fps"]
    size = f"{video['width']}×{video['height']}, {video['frames']} frames at {fps} a second"
    left = f" On the left the same prompt and seed of *{beside}*." if beside else ""
    return [
        f"`{item.model}`, seed {item.seed}, {len(plan['steps'])} steps of {plan['solver']}, {size}: the"
        f" [sheet](sheet-{name}.png).{left}", "",
        "| prompt | |", "| --- | --- |",
        *(f"| {entry.prompt} | ![{entry.name}]({entry.name}.webp) |" for entry, _ in entries),
        "", "```sh", *(shlex.join(e.command(f"{e.name}.mp4")) for e, _ in entries), "```", "",
    ]  # fmt: skip


def shipped(section: Mapping[str, Any], loras: Sequence[str]) -> bool:
    """Whether the model of a section is here, with all that it needs."""
    try:
        model = Filmgate().model(section["model"])
    except (UnknownName, CheckpointError):
        return False
    words = model.vocabulary or ()
    rich = "robot" in words
    if (section.get("world") == "rich" or "rendered" in section) and not rich:
        return False
    if section.get("needs") and getattr(model, section["needs"], None) is None:
        return False
    return bool(loras) or not section.get("loras")


def main() -> None:
    """Make all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names of sections, separated by commas; the others stay as they are")
    parser.add_argument("--lora-high", type=Path, help="identity LoRA of the high-noise expert")
    parser.add_argument("--lora-low", type=Path)
    options = parser.parse_args()
    listed = json.loads(LIST.read_text())
    sections = {section["name"]: section for section in listed["sections"]}
    loras = [text for name, path in (("--lora-high", options.lora_high), ("--lora-low", options.lora_low))
             if path is not None for text in (name, str(path))]  # fmt: skip
    made: dict[str, list[tuple[Item, dict[str, Any]]]] = {}
    clips: dict[str, Frames] = {}
    wanted = set(options.only.split(",")) if options.only else set(sections)
    if unknown := wanted - set(sections):
        parser.error(f"no section {sorted(unknown)[0]!r}; there are {', '.join(sections)}")
    wanted |= {sections[name]["beside"] for name in wanted if "beside" in sections[name]}
    for name, section in sections.items():
        if name not in wanted:
            continue
        if not shipped(section, loras):
            print(f"{name}: {section['model']} is not shipped, or not with what this needs", flush=True)
            continue
        made[name], shown = [], []
        for item in items(section, sections, listed["seed"], loras):
            frames, take = painted(item)
            clips[item.name] = frames
            given, wide = stills(item, *frames.shape[1:3]), columns(item, frames, clips)
            beside = np.concatenate([np.broadcast_to(given, (len(wide), *given.shape)), wide], 2)
            save_loop(enlarged(beside, ENLARGED), GALLERY / f"{item.name}.webp", take["plan"]["fps"])
            made[name].append((item, take))
            shown.append((item.prompt, given, wide))
            print(f"{item.name}: {item.prompt}", flush=True)
        contact_sheet(shown, GALLERY / f"sheet-{name}.png")
    listing = GALLERY / "README.md"
    before = listing.read_text() if listing.is_file() else ""
    listing.write_text(page(made, sections, before))
    first = next(iter(sections))
    if first in made:
        eight = [(item.prompt, clips[item.name]) for item, _ in made[first][:SHOWN_IN_README]]
        save_loop(captioned(eight, 2, ENLARGED), README_PICTURE, made[first][0][1]["plan"]["fps"])
    total = sum(path.stat().st_size for path in GALLERY.rglob("*") if path.is_file())
    print(f"{total / 1e6:.1f} MB in {GALLERY}, {README_PICTURE.stat().st_size / 1e6:.1f} MB for the README")


if __name__ == "__main__":
    main()
