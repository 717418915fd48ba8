"""Forms written in every dialect, so that reading can be proved: what a dialect can say of a form comes back unchanged.

A :class:`Writer` first keeps what its dialect has a notation for; the rest would be lost on the way, which is what the
migration to Wan 2.2 is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from filmgate.direction.migration.dialects import written_cameras as cameras
from filmgate.direction.migration.dialects import written_keys as keys
from filmgate.direction.migration.dialects import written_objects as objects
from filmgate.direction.migration.dialects.amounts import write_number
from filmgate.direction.migration.dialects.plain import keep_plain, tags, value_text, write_plain
from filmgate.direction.migration.form import Beat, CameraMove, Dialect, Form
from filmgate.direction.migration.vocabulary import vocabulary


@dataclass(frozen=True, slots=True)
class Writer:
    """A dialect's notation: what of a form it can say, and how it says that."""

    dialect: Dialect
    keep: Callable[[Form], Form]
    write: Callable[[Form], str]


def keep_weighted(form: Form) -> Form:
    """Terms, moves by name, tags with their weights, unwanted things, LoRAs and boosters."""
    plain = keep_plain(form)
    words = {leaf.value for leaf in form.prose}
    return plain.model_copy(
        update={
            "camera": tuple(_bare_move(move) for move in plain.camera if move.move.value.direction is not None),
            "negatives": form.negatives,
            "boosters": form.boosters,
            "emphasis": tuple(leaf for leaf in form.emphasis if leaf.value.words in words),
            "parameters": tuple(leaf for leaf in form.parameters if leaf.value.name == "lora"),
        }
    )


def _bare_move(move: CameraMove) -> CameraMove:
    return CameraMove(move=move.move)


def write_weighted(form: Form) -> str:
    """Tags in the manner of image models."""
    weights = {leaf.value.words: leaf.value.weight for leaf in form.emphasis}
    made = [leaf.value for leaf in form.boosters] + tags(form)
    for leaf in form.prose:
        weight = weights.get(leaf.value)
        made.append(leaf.value if weight is None else f"({leaf.value}:{write_number(weight)})")
    made += [f"camera {vocabulary().write_move(move.move.value)}" for move in form.camera]
    for parameter in form.parameters:
        strength = parameter.value.strength
        made.append(f"<lora:{parameter.value.value}{'' if strength is None else f':{write_number(strength)}'}>")
    text = ", ".join(made)
    return f"{text}\nNegative prompt: {', '.join(leaf.value for leaf in form.negatives)}" if form.negatives else text


def keep_midjourney(form: Form) -> Form:
    """Prose with weights, ratio and seed, unwanted things."""
    words = {leaf.value for leaf in form.prose}
    return Form(
        prose=form.prose,
        emphasis=tuple(leaf for leaf in form.emphasis if leaf.value.words in words),
        negatives=form.negatives,
        parameters=tuple(leaf for leaf in form.parameters if leaf.value.name in ("ratio", "seed", "fps")),
    )


def write_midjourney(form: Form) -> str:
    """Parts with ``::`` if there are weights, and flags."""
    weights = {leaf.value.words: leaf.value.weight for leaf in form.emphasis}
    parts = [leaf.value for leaf in form.prose]
    if weights:
        parts = [f"{part}::{write_number(weights.get(part, 1))}" for part in parts]
    names = {"ratio": "ar", "seed": "seed", "fps": "fps"}
    flags = [f"--{names[leaf.value.name]} {value_text(leaf.value)}" for leaf in form.parameters]
    if form.negatives:
        flags.append(f"--no {', '.join(leaf.value for leaf in form.negatives)}")
    return " ".join([*parts, *flags])


def keep_negatives(form: Form) -> Form:
    """Tags, sentences and unwanted things."""
    return keep_plain(form).model_copy(update={"negatives": form.negatives})


def write_negatives(form: Form) -> str:
    """Prose with its negative prompt below."""
    listed = f"\nNegative prompt: {', '.join(leaf.value for leaf in form.negatives)}" if form.negatives else ""
    return write_plain(form) + listed


def keep_windows(form: Form) -> Form:
    """Parts in their order, without times."""
    beats = tuple(Beat(content=keep_plain(beat.content)) for beat in form.timeline)
    return Form(timeline=beats if len(beats) > 1 else ())


def write_windows(form: Form) -> str:
    """``a | b | c``."""
    return " | ".join(write_plain(beat.content) for beat in form.timeline)


def keep_moments(form: Form) -> Form:
    """Parts with their seconds."""
    beats = [beat for beat in form.timeline if beat.begin is not None and beat.begin.value.unit == "s"]
    kept = tuple(beat.model_copy(update={"content": keep_plain(beat.content)}) for beat in beats)
    return Form(
        timeline=tuple(b if b.end and b.end.value.unit == "s" else b.model_copy(update={"end": None}) for b in kept)
    )


def write_moments(form: Form) -> str:
    """``(at 1 seconds: ...)``, one to a line."""
    lines = []
    for beat in form.timeline:
        assert beat.begin is not None
        end = "" if beat.end is None else f" to {write_number(beat.end.value.value)} seconds"
        lines.append(f"(at {write_number(beat.begin.value.value)}{end or ' seconds'}: {write_plain(beat.content)})")
    return "\n".join(lines)


WRITERS: Mapping[str, Writer] = MappingProxyType({
    "natural": Writer("natural", keep_plain, write_plain),
    "json": Writer("json", objects.keep_object, objects.write_json),
    "python": Writer("json", objects.keep_object, objects.write_python),
    "yaml": Writer("json", objects.keep_object, objects.write_yaml),
    "key_value": Writer("key_value", keys.keep_keys, keys.write_pairs(": ", ", ")),
    "key_value_lines": Writer("key_value", keys.keep_keys, keys.write_pairs(" = ", "\n")),
    "key_value_arrows": Writer("key_value", keys.keep_keys, keys.write_pairs(" -> ", "; ")),
    "weighted": Writer("weighted", keep_weighted, write_weighted),
    "context_windows": Writer("context_windows", keep_windows, write_windows),
    "wangp": Writer("wangp", keep_moments, write_moments),
    "negative_list": Writer("negative_list", keep_negatives, write_negatives),
    "minimax": Writer("minimax", cameras.keep_minimax, cameras.write_minimax),
    "kling": Writer("kling", cameras.keep_kling, cameras.write_kling),
    "runway": Writer("runway", cameras.keep_runway, cameras.write_runway),
    "deforum": Writer("deforum", cameras.keep_deforum, cameras.write_deforum),
    "camera_files": Writer("camera_files", cameras.keep_camera_file, cameras.write_camera_file),
    "camera_directions": Writer("camera_files", cameras.keep_direction, cameras.write_direction),
    "midjourney": Writer("midjourney", keep_midjourney, write_midjourney),
})  # fmt: skip
"""A writer for every dialect; some dialects have several notations."""
