"""How the command line words numbers and tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from filmgate.spec.units import duration_text, size_text

if TYPE_CHECKING:
    from filmgate.spec import InputFile, PassCounts, Plan, SpeedPlan

__all__ = ["columns", "describe_plan", "duration_text", "json_text", "passes_text", "size_text"]


def columns(rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Rows as left-aligned columns two spaces apart, the last one ragged."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join((indent + line).rstrip() for line in lines)


def describe_plan(plan: Plan) -> str:
    """What would be done, one fact a line."""
    video, memory = plan.video, plan.memory
    length = f"{video.frames} frames at {plan.fps} fps ({video.frames / plan.fps:.2f} s)"
    if video.frames == 1:
        length = "one picture"
    negative = plan.negative if len(plan.negative) <= 60 else plan.negative[:57] + "..."
    rows = [
        (
            "Model",
            f"{plan.model.id} ({plan.model.variant}, {plan.model.task}){'' if plan.model.here else ', not here'}",
        ),
        ("Task", _task(plan)),
        *((_named(file), file.path) for file in plan.inputs),
        ("Prompt", plan.prompt),
        ("Negative", negative or "none"),
        ("Video", f"{video.width}x{video.height}, {length}"),
        ("Latent", f"{plan.latent.channels}x{plan.latent.frames}x{plan.latent.height}x{plan.latent.width}"),
        ("Steps", f"{len(plan.steps)}, solver {plan.solver}, shift {plan.shift:g}{_preset(plan)}"),
        *(("", line) for line in _experts(plan)),
        *(("LoRA", line) for line in _loras(plan)),
        ("Seed", str(plan.seed)),
        (
            "Runs on",
            f"{_devices(plan)}{plan.device.name} ({plan.device.kind}), {plan.precision}{_speed_text(plan.speed)}",
        ),
    ]
    rows += [("Divided", _divided(plan))] if plan.layout.ranks > 1 else []
    rows += _skipping(plan)
    if memory.peak:  # the receipt inside a video has no estimates
        rows += _memory(plan)
        rows.append(("Time", f"about {duration_text(plan.seconds)}{_exchanging(plan)}"))
    if plan.price_usd is not None:
        rows.append(("Price", f"about {plan.price_usd:.2f} USD"))
    rows += [("Warning", warning) for warning in plan.warnings]
    return columns(rows)


_ATTENTION = {
    "cudnn": "attention by cuDNN", "flash4": "attention by FlashAttention 4", "fastest": "the fastest attention",
}  # fmt: skip


def _speed_text(speed: SpeedPlan) -> str:
    """What makes it fast, where anything does: ``, fused kernels, attention by cuDNN``."""
    parts = (
        "fused kernels" if speed.profile == "exact" else "",
        _ATTENTION.get(speed.attention, ""),
        "" if speed.vae_precision == "fp32" else f"VAE in {speed.vae_precision}",
    )
    return "".join(f", {part}" for part in parts if part)


def _skipping(plan: Plan) -> list[tuple[str, str]]:
    """What a profile that may skip work skips, and why it skips no more; nothing is said of others."""
    from filmgate.direction.acceleration import recipe_text

    own = plan.acceleration
    if not own.recipe and own.profile in ("plain", "exact"):
        return []
    rows = [("Profile", f"{own.profile}: {passes_text(plan.pass_counts)}")]
    if own.recipe and not own.considered:  # a receipt says what was done
        rows.append(("", f"on: {recipe_text(own.recipe)}; gate {', '.join(own.gates)}"))
    rows += [("", f"on: {recipe_text(choice.recipe)}: {choice.reason}") for choice in own.considered if choice.taken]
    off: dict[str, list[str]] = {}
    for choice in own.considered:
        if not choice.taken:
            off.setdefault(choice.reason, []).append(recipe_text(choice.recipe))
    for reason, names in off.items():
        rows.append(("", f"off: {names[0] if len(names) == 1 else f'{len(names)} recipes'}: {reason}"))
    return rows


def passes_text(counts: PassCounts) -> str:
    """``32 of 40 passes computed, 8 predicted``."""
    words = {"reused": counts.reused, "predicted": counts.predicted, "saved by kept guidance": counts.kept}
    if counts.computed == counts.total:
        return f"all {counts.total} passes are computed"
    skipped = ", ".join(f"{count} {word}" for word, count in words.items() if count)
    return f"{counts.computed} of {counts.total} passes computed, {skipped}"


def _devices(plan: Plan) -> str:
    """How many, if it is not one."""
    return "" if plan.layout.ranks == 1 else f"{plan.layout.ranks} x "


def _divided(plan: Plan) -> str:
    """What each of several devices does: ``each does one of two texts, 37800 of 75600 tokens, ...``."""
    from filmgate.direction.estimate import tile_count
    from filmgate.direction.memory import row_parts
    from filmgate.direction.workload import workload_of

    load, ranks = workload_of(plan), plan.layout.ranks
    tiles = tile_count(load, plan.residency)
    coding = "" if tiles == 1 else f"{-(-tiles // ranks)} of {tiles} tiles of the VAE"
    if row_parts(load, plan.residency) > 1:
        coding = f"1/{ranks} of the rows of the VAE"
    parts = [
        "one of two texts" if plan.layout.cfg > 1 else "",
        f"{load.own_tokens} of {load.tokens} tokens" if plan.layout.sequence > 1 else "",
        coding or "all of the VAE's work",
    ]
    return f"each does {', '.join(filter(None, parts))}{_keeping(plan)}"


def _keeping(plan: Plan) -> str:
    """What of an expert each of several devices keeps, where it is not all of it."""
    if plan.residency.mode != "sharded":
        return ""
    whole, share = plan.residency.kept_blocks, f"1/{plan.layout.ranks}"
    if not whole:
        return f"; it keeps {share} of an expert's blocks"
    blocks = plan.model.dit.layers + plan.model.dit.branch_layers
    return f"; it keeps {whole} of an expert's {blocks} blocks, and {share} of the others"


_SEEN = 1e-6
"""Of what is sent: less is rounding."""


def _exchanging(plan: Plan) -> str:
    """What of the time several devices spend on telling one another: the bytes that take it, and then those that go
    while they compute."""
    from filmgate.direction.devices import speed_of
    from filmgate.direction.estimate import exchanged_seconds, gathered_bytes
    from filmgate.direction.exchange import exchange_of, exchange_seconds
    from filmgate.direction.workload import workload_of

    if plan.layout.ranks == 1:
        return ""
    load = workload_of(plan)
    work, speed = exchange_of(load), speed_of(plan.device, plan.precision, plan.speed)
    # Of what goes round in a ring, some may come later than attention ends.
    late = (exchanged_seconds(load) - exchange_seconds(load, speed, float("inf"))) * speed.link
    late = late if late > _SEEN * work.sent else 0.0
    how = f"{size_text(round(load.turns * (work.sent - work.hidden + late)))} from each at {speed.link / 1e9:.3g} GB/s"
    how += " and to put heads in order, an estimate" if work.reordered else ", an estimate"
    gathered = load.turns * gathered_bytes(load, plan.residency) / (2 if load.paired else 1)
    moving = {"keys and values go round": load.turns * (work.hidden - late), "weights come to each": gathered}
    meanwhile = " and ".join(f"{size_text(round(size))} of {what}" for what, size in moving.items() if size)
    return f", {duration_text(plan.times.exchange)} of it to exchange {how}{meanwhile and f'; {meanwhile} meanwhile'}"


def _memory(plan: Plan) -> list[tuple[str, str]]:
    """What the device must hold at the worst moment, the same number as in the table of memory modes, and its parts."""
    memory = plan.memory
    chosen = [option.device_bytes for option in plan.options if option.residency == plan.residency]
    whole = chosen[0] if chosen else memory.peak
    parts = [f"{size_text(memory.weights)} weights", f"{size_text(memory.peak - memory.weights)} work"]
    if whole > memory.peak:
        parts.append(f"{size_text(whole - memory.peak)} driver and reserve")
    work = (
        f"{size_text(memory.activations)} for the transformer's work, {size_text(memory.vae)} for the VAE with its own"
    )
    each = "" if plan.layout.ranks == 1 else " on each"
    return [
        ("Memory", f"{size_text(whole)}{each} at the peak: {', '.join(parts)}"),
        ("", f"{work}, not at the same time"),
    ]


_TASKS = {
    "t2v": "text to video",
    "t2i": "text to one picture",
    "i2v": "image to video",
    "flf2v": "first and last image to video",
    "v2v": "video to video",
    "vace": "video by mask and references",
    "camera": "video along a camera's path",
}


def _task(plan: Plan) -> str:
    strength = "" if plan.strength is None else f", strength {plan.strength:g}"
    return _TASKS[plan.operation] + strength


def _named(file: InputFile) -> str:
    return file.role.replace("_", " ").capitalize()


def _preset(plan: Plan) -> str:
    """Few-step preset and method of guidance, where they are not the usual."""
    preset = "" if plan.distilled is None else f", preset {plan.distilled}"
    method = plan.guidance_rule.method
    return preset + ("" if method == "cfg" else f", guidance by {method}")


def _loras(plan: Plan) -> list[str]:
    lines = []
    for lora in plan.loras:
        off = sum(step.expert == lora.expert and not step.adapted for step in plan.steps)
        without = f", not in the first {off} steps" if off else ""
        lines.append(f"{lora.path} at {lora.strength:g}, {lora.expert.replace('_', '-')}{without}")
    return lines


def _experts(plan: Plan) -> list[str]:
    names = dict.fromkeys(step.expert for step in plan.steps)
    lines = []
    for name in names:
        own = [step for step in plan.steps if step.expert == name]
        scales = sorted({step.guidance for step in own})
        guidance = ", ".join(f"{scale:g}" for scale in scales)
        lines.append(f"{len(own)} {name.replace('_', '-')}, guidance {guidance}, sigma from {own[0].sigma:.3f}")
    return lines


def json_text(value: Any) -> str:
    """Indented JSON of plain data or of one of spec's nouns."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=lambda noun: noun.model_dump(mode="json"))
