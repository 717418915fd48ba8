"""Measurements of pixels: what the VAE loses, steadiness, known frames, the camera's path, who is in the clip, and how
far sets of clips are apart."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filmgate.evaluation.frechet import feature_distance
from filmgate.evaluation.temporal import Steadiness, compensated_error, steadiness
from filmgate.training.fidelity import fidelity
from filmgate.training.flow import flow_losses
from filmgate.training.identity import PARTS, SAID, identity_rows, looks_asked
from filmgate.training.pose_fitting import fit_path, pose_errors
from filmgate.training.truth import (
    HELD_OUT_SEED,
    Interval,
    bootstrap,
    camera_scenes,
    interval,
    paired_difference,
    paired_ratio,
    question_scenes,
    score,
)
from filmgate.training.world.captions import Captioner, facts, with_few_terms
from filmgate.training.world.flow import true_flow
from filmgate.training.world.motion import camera_at
from filmgate.training.world.moves import CameraState
from filmgate.training.world.scenes import Scenes
from toybox_bench import Bench, draw_sheet, joined
from toybox_record import Record

SSIM_CLIPS, SSIM_STRIDE = 64, 4
"""Structural similarity is measured on every fourth frame of so many clips: it is slow, and steady."""
OTHERS_SEED = HELD_OUT_SEED + 3
"""Of the scenes that sets of clips are compared with, which nobody is asked about."""


def vae(bench: Bench, record: Record) -> None:
    """What the VAE loses on renders of the questions' scenes."""
    quality, mirror = bench.mirror.fidelity, bench.mirror
    record.number("vae.psnr", interval(quality.clips))
    record.number("vae.object_psnr", interval(quality.objects))
    record.number("vae.frame_gap", bootstrap(quality.frame_gap, len(quality.frames)))
    record.put("vae.psnr_by_frame", [round(x, 2) for x in quality.frames.mean(0).tolist()])
    record.number("vae.ssim", interval(np.array(list(likeness(mirror.rendered.clips, mirror.coded.clips)))))


def likeness(before: Tensor, after: Tensor) -> Iterator[float]:
    """Mean structural similarity of each clip."""
    from filmgate.evaluation.metrics import ssim

    for pair in zip(before[:SSIM_CLIPS], after[:SSIM_CLIPS], strict=True):
        first, second = (clip[:, ::SSIM_STRIDE].permute(1, 2, 3, 0).numpy() for clip in pair)
        yield float(np.mean([ssim(x, y) for x, y in zip(first, second, strict=True)]))


def flow(bench: Bench, record: Record) -> None:
    """Flow-matching loss on the questions' scenes, of the model and of its dense partner."""
    count = min(bench.options.flow, len(bench.asked))
    prompts = [q.prompt for q in bench.asked[:count]]
    losses = {}
    for name, painter in (("model", bench.painter), ("dense", bench.dense)):
        if painter is not None:
            losses[name] = flow_losses(
                painter, bench.mirror.latents[:count], prompts, bench.settings.boundary, batch=bench.batch
            )
            record.number(f"flow.{name}", interval(losses[name].mean(0)))
            record.put(f"flow.deciles.{name}", [round(x, 5) for x in losses[name].mean(1).tolist()])
    if "dense" in losses:
        record.number("pair_minus_dense.flow_loss", paired_difference(losses["model"].mean(0), losses["dense"].mean(0)))
        for decile, (model, dense) in enumerate(zip(losses["model"], losses["dense"], strict=True)):
            record.number(f"flow.difference.{decile}", paired_difference(model, dense))


def warp(bench: Bench, record: Record) -> None:
    """Unsteadiness after motion compensation, and flicker where nothing moves: of painted clips, and of the same
    questions' scenes as rendered and after the VAE."""
    count = bench.options.warp
    clips = {"painted": bench.painted, "rendered": bench.mirror.rendered, "coded": bench.mirror.coded}
    found = {name: unsteadiness(seen.clips[:count]) for name, seen in clips.items()}
    for part in ("warp_error", "flicker"):
        values = {name: np.array([getattr(s, part) for s in row], dtype=np.float64) for name, row in found.items()}
        measured = np.all([np.isfinite(row) for row in values.values()], axis=0)
        folder = "warp" if part == "warp_error" else part
        for name, row in values.items():
            record.number(f"{folder}.{name}", interval(row[measured]))
        record.number(f"{folder}.ratio", paired_ratio(values["painted"][measured], values["coded"][measured]))
    # Of renders the motion is known, so that no estimator's own errors are in these two.
    scenes = bench.scenes.select(torch.arange(min(count, len(bench.asked))))
    for name in ("rendered", "coded"):
        known = known_motion_errors(bench, clips[name].clips[:count], scenes)
        record.number(f"warp.true_motion_{name}", interval(known[np.isfinite(known)]))


def known_motion_errors(bench: Bench, clips: Tensor, scenes: Scenes) -> NDArray[np.float64]:
    """Warp errors of clips uint8 [B, 3, F, H, W] that move as their scenes do."""
    found = []
    for number, clip in enumerate(clips):
        frames, height, width = clip.shape[1:]
        motion = true_flow(scenes.select(torch.tensor([number])).to(bench.device), frames, height, width)
        pictures = clip.permute(1, 2, 3, 0).contiguous().numpy()
        found.append(compensated_error(pictures, motion.pixels[0].cpu().numpy(), motion.visible[0].cpu().numpy()))
    return np.array(found, dtype=np.float64)


def unsteadiness(clips: Tensor) -> list[Steadiness]:
    """Of every clip; not a number where nothing could be compensated, or nothing stood still."""
    frames = [clip.permute(1, 2, 3, 0).contiguous().numpy() for clip in clips]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(steadiness, frames))


def known_frames(bench: Bench, record: Record) -> None:
    """Whether clips begin with the picture that they were given, and end with one if they were given two; and whether
    they then show what the prompt says."""
    count = min(bench.options.known, len(bench.asked))
    asked, scenes = bench.asked[:count], bench.scenes.select(torch.arange(count))
    for last in (False, True) if bench.task == "i2v" else (False,):
        told, found, limit, readings = bench.told(scenes, last=last), [], [], []
        assert told is not None
        for start in range(0, count, bench.batch):
            part = slice(start, min(start + bench.batch, count))
            own = scenes.select(torch.arange(part.start, part.stop)).to(bench.device)
            prompts, seeds = [q.prompt for q in asked[part]], [q.seed for q in asked[part]]
            clip = bench.painter.decode(bench.painter.paint(prompts, seeds, bench.settings, told(part)))
            rgb = torch.cat([bench.renderer(own.select(i)).rgb for i in bench.rendered_together(part)])
            coded = bench.painter.decode(bench.painter.encode(rgb))
            readings.append(bench.read(clip))
            found.append(frame_psnr(clip, rgb, last=last))
            limit.append(frame_psnr(coded, rgb, last=last))
        name = "last_frame" if last else "first_frame"
        record.number(f"{name}.psnr", interval(np.concatenate(found)))
        record.number(f"{name}.psnr_coded", interval(np.concatenate(limit)))
        record.table(f"{name}.truth", f"with a {name.replace('_', ' ')}", score(joined(readings), asked))


def frame_psnr(clips: Tensor, truth: Tensor, *, last: bool) -> NDArray[np.float64]:
    """Of first or last frames, dB."""
    end = slice(-1, None) if last else slice(0, 1)
    nothing = torch.zeros_like(truth[:, 0, end], dtype=torch.bool)
    return fidelity(clips[:, :, end].to(truth.device), truth[:, :, end], nothing).clips


def path(bench: Bench, record: Record) -> None:
    """How far the camera of painted clips is from the path that was asked for, beside the floor of the measure: paths
    fitted to renders, and to what the VAE makes of them, without knowing what was asked for.

    Prompts say nothing of the camera, so that whoever does not read the path does not know it; ``told`` are the same
    clips with the move in words too.
    """
    scenes = camera_scenes(bench.options.paths, world=bench.world)
    moments = torch.arange(bench.painter.video.frames) / max(bench.painter.video.frames - 1, 1)
    asked = camera_at(scenes, moments)
    captions = with_few_terms(facts(scenes.labels, bench.world), "paths")
    wordings = {"painted": 0.0, "told": 1.0}
    writers = {name: Captioner("paths", complete=True, world=replace(bench.world, camera_said=said))
               for name, said in wordings.items()}  # fmt: skip
    prompts = {name: [writer(fact) for fact in captions] for name, writer in writers.items()}
    clips: dict[str, list[Tensor]] = {"rendered": [], "coded": []}
    for rgb, _ in bench.renders(scenes):
        clips["rendered"].append(rgb.cpu())
        clips["coded"].append(bench.painter.decode(bench.painter.encode(rgb)).cpu())
    for name, parts in clips.items():
        keep_errors(bench, record, f"path.{name}", torch.cat(parts), scenes, asked, known=False)
    coded = known_motion_errors(bench, torch.cat(clips["coded"]), scenes)
    record.number("path.coded.warp", interval(coded[np.isfinite(coded)]))
    if bench.task == "camera":
        seeds = [3000 + number for number in range(len(captions))]
        for name in ("told", "painted"):
            seen = bench.see(bench.painter, prompts[name], seeds, bench.settings, len(seeds), bench.told(scenes))
            draw_sheet(bench.options.sheet, "-paths" if name == "painted" else "-paths-told", seen, prompts[name])
            keep_errors(bench, record, f"path.{name}", seen.clips, scenes, asked, known=True)
        likeness_to = fidelity(
            seen.clips, torch.cat(clips["rendered"]), torch.zeros_like(seen.clips[:, 0], dtype=torch.bool)
        )
        record.number("path.psnr", interval(likeness_to.clips))
        painted = known_motion_errors(bench, seen.clips, scenes)
        both = np.isfinite(painted) & np.isfinite(coded)
        record.number("path.painted.warp", interval(painted[both]))
        record.number("path.warp_ratio", paired_ratio(painted[both], coded[both]))


def keep_errors(
    bench: Bench, record: Record, name: str, rgb: Tensor, scenes: Scenes, asked: CameraState, *, known: bool
) -> None:
    """Fit and compare, a clip's mean over its moments."""
    asked = CameraState(*(tensor.to(bench.device) for tensor in asked))
    found = fit_path(rgb.to(bench.device), scenes.to(bench.device), requested=asked if known else None)
    at = (found.moments * (rgb.shape[2] - 1)).round().long()
    errors = pose_errors(found.camera, CameraState(*(tensor[:, at] for tensor in asked)))
    degrees, units = (error.mean(1).cpu().numpy().astype(np.float64) for error in errors)
    record.number(f"{name}.degrees", interval(degrees))
    record.number(f"{name}.units", interval(units))
    record.put(
        f"{name}.median", {"degrees": round(float(np.median(degrees)), 4), "units": round(float(np.median(units)), 4)}
    )
    record.put(f"{name}.clips", [[round(float(d), 3), round(float(u), 4)] for d, u in zip(degrees, units, strict=True)])
    record.number(f"{name}.seen", interval(found.seen[:, 1:].mean(1).cpu().numpy().astype(np.float64)))
    record.number(f"{name}.unlike", interval(found.unlike[:, 1:].mean(1).cpu().numpy().astype(np.float64)))


def identity(bench: Bench, record: Record) -> None:
    """Characters of the questions: whether they look as asked, in all thirds of the clip; beside it the same of renders
    and after the VAE, which is how well the reader knows them."""
    numbers, looks = looks_asked(bench.asked[: bench.options.identity])
    if not numbers:
        raise ValueError("none of the questions is about a character: ask more of them")
    parts = SAID if bench.text_alone else PARTS
    chosen = torch.tensor(numbers)
    scenes, asked = bench.scenes.select(chosen), [bench.asked[n] for n in numbers]
    painted = bench.answers(bench.painter, asked, bench.settings, len(asked), bench.told_beside(scenes)).clips
    rendered, coded = [], []
    for rgb, _ in bench.renders(scenes):
        rendered.append(rgb.cpu())
        coded.append(bench.painter.decode(bench.painter.encode(rgb)).cpu())
    for name, clips in (("painted", painted), ("rendered", torch.cat(rendered)), ("coded", torch.cat(coded))):
        rows = identity_rows(bench.read, clips, looks, parts)
        record.table(f"identity.{name}", f"identity: {name}", rows)


def distance(bench: Bench, record: Record) -> None:
    """Fréchet distance on the reader's features to renders of other scenes, as many as there are questions: of painted
    clips, of the questions' own scenes as rendered (the floor of two disjoint sets) and after the VAE; and of renders
    that are spoilt in known ways, for a measure of the measure."""
    others = []
    scenes = question_scenes(len(bench.asked), seed=OTHERS_SEED, world=bench.world)
    for rgb, _ in bench.renders(scenes):
        others.append(bench.examine(rgb)[1])
    reference = torch.cat(others).double().numpy()
    sets = {
        "painted": bench.painted.features,
        "rendered": bench.mirror.rendered.features,
        "coded": bench.mirror.coded.features,
        **bench.mirror.spoilt,
    }
    for name, features in sets.items():
        spread = feature_distance(features.double().numpy(), reference)
        record.number(f"distance.{name}", Interval(*spread, len(features)))
