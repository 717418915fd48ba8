"""``filmgate rerun``: repeat a take from its file, and say whether the frames came out the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from filmgate.cli.options import AsJson, Quiet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from filmgate.app import Filmgate
    from filmgate.spec import ModelDescription, Plan, Take


class Verdict(NamedTuple):
    """How a repetition compares. ``changes`` are the differences between then and now that may change frames;
    ``excused`` says that frames may differ: another machine or other versions, but the same weights."""

    exact: bool
    changes: tuple[str, ...]
    excused: bool


def rerun(
    file: Annotated[Path, typer.Argument(help="A video that Filmgate made, or its manifest.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep the repetition here. Default: compare and discard.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Where the model is now, an id or a path. Default: as then.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Repeat a finished video and compare every frame.

    Exit code 0: the frames are identical, or the machine or a version is another than then. 1: they differ although
    all that is the same, or the weights are others.
    """
    from filmgate.app import Filmgate
    from filmgate.cli.display import watch
    from filmgate.cli.output import choose_output
    from filmgate.cli.text import json_text
    from filmgate.media.manifest import read_take

    before = read_take(file)
    filmgate = Filmgate()
    planned = localise(before, (find_model(before, filmgate, model),))
    with tempfile.TemporaryDirectory(prefix="filmgate-") as folder:
        name = output or Path(folder) / "rerun.mp4"
        video = choose_output(name, planned.prompt, overwrite=overwrite)
        events = filmgate.render(planned, video, overwrite=overwrite, resume=False)
        after = watch(events, video.with_suffix(".preview.png"), quiet=quiet)
    verdict = compare(before, after)
    if as_json:
        print(json_text({**verdict._asdict(), "expected": before.frames_sha256, "found": after.frames_sha256}))
    elif not quiet:
        print(describe(verdict))
    if not verdict.exact and not verdict.excused:
        raise typer.Exit(1)


def find_model(take: Take, filmgate: Filmgate, name: str | None) -> ModelDescription:
    """The model of ``take``: the one called ``name``, or else the directory that painted it, or else its namesake.

    Raises:
        UnknownName: the model is not here.
        InvalidRequest, CheckpointError: ``name`` is no model, or it is damaged.
    """
    then = take.plan.model
    return filmgate.model(name or (then.path if Path(then.path).exists() else then.id))


def localise(take: Take, models: Iterable[ModelDescription]) -> Plan:
    """The plan of ``take`` with the model where it lies on this machine.

    Raises:
        UnknownName: the model is not here.
        InvalidRequest: the manifest was changed since it was written, or the model here is another of that name.
    """
    from filmgate.spec import InvalidRequest, UnknownName

    known = {model.id: model for model in models}
    if take.plan.model.id not in known:
        raise UnknownName("model", take.plan.model.id, known)
    model, then = known[take.plan.model.id], Path(take.plan.model.path)
    # LoRAs that came with the model lie where it lies now.
    loras = tuple(
        lora.model_copy(update={"path": str(Path(model.path) / Path(lora.path).relative_to(then))})
        if Path(lora.path).is_relative_to(then)
        else lora
        for lora in take.plan.loras
    )
    plan = take.plan.model_copy(update={"model": model, "loras": loras})
    if plan.fingerprint != take.plan_sha256:
        cause = "the manifest was changed" if take.plan.fingerprint != take.plan_sha256 else "the model here is another"
        raise InvalidRequest("file", f"its plan cannot be repeated: {cause}", allowed="an unchanged manifest and model")
    return plan


def compare(before: Take, after: Take) -> Verdict:
    """Frames of two takes of one plan, and what could excuse a difference."""
    changes = []
    if before.hardware != after.hardware:
        changes.append(f"machine: {before.hardware} then, {after.hardware} now")
    for package in sorted(before.versions.keys() | after.versions.keys()):
        then, now = before.versions.get(package, "absent"), after.versions.get(package, "absent")
        if then != now:
            changes.append(f"{package}: {then} then, {now} now")
    excused = bool(changes)
    old = {weights.path: weights.sha256 for weights in before.weights}
    new = {weights.path: weights.sha256 for weights in after.weights}
    if old != new:
        names = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
        changes.append("weights: " + ", ".join(names))
        excused = False
    return Verdict(before.frames_sha256 == after.frames_sha256, tuple(changes), excused)


def describe(verdict: Verdict) -> str:
    """The verdict in words."""
    if verdict.exact:
        return "Exact: every frame is bit-identical."
    if verdict.changes:
        return "Not exact, and these changed since:\n" + "\n".join(f"  {change}" for change in verdict.changes)
    return "NOT EXACT: the frames differ, although machine, versions and weights are the same."
