"""``filmgate lora inspect``, and how the command line names a LoRA."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.failure import reported
from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from filmgate.spec import LoraChoice

lora = typer.Typer(name="lora", no_args_is_help=True, rich_markup_mode=None, help="LoRA files.")


def inspect(
    path: Annotated[
        Path, typer.Argument(help="A LoRA file, or a directory that PEFT or Diffusers wrote.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Compare with this model; without it, with the published ones.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a LoRA is, what it was made for, and how much of it fits. Reads headers only.

    What does not fit is listed. That nothing fits is an error: exit code 2, after the report.
    """
    from filmgate.cli.text import json_text
    from filmgate.engine.checkpoints.lora_inspection import inspect_lora, of_model

    against = None
    if model is not None:
        from filmgate.app import Filmgate

        against = of_model(Filmgate().model(model))
    facts = inspect_lora(path, against)
    print(json_text(facts) if as_json else facts)
    if facts.problem:
        print(f"Error: {facts.problem}", file=sys.stderr)
        raise typer.Exit(2)


EXPERTS = {"both": "lora", "high": "lora_high", "low": "lora_low"}
"""The option that a word before the file of ``--lora`` stands for."""


def split_expert(text: str) -> tuple[str, str]:
    """``both:``, ``high:`` or ``low:`` before a LoRA as the option that it stands for, and the LoRA without it.

    A file that is called so as a whole is taken as it is, and so is one of that name with a strength, as ``high:0.8``.

    Raises:
        UnknownName: another word stands before a file that is there.
    """
    from filmgate.spec import UnknownName

    word, colon, rest = text.partition(":")
    if not colon or _number(rest) is not None or Path(text).exists():
        return "lora", text
    if word not in EXPERTS:
        if not Path(word).exists() and _file_in(rest):
            raise UnknownName("lora", word, EXPERTS, noun="expert")
        return "lora", text
    return EXPERTS[word], rest


def _file_in(text: str) -> bool:
    """Whether ``text`` is a file that is there, perhaps with a strength."""
    return Path(text).exists() or Path(text.rpartition(":")[0] or text).exists()


def parse_lora(field: str, text: str) -> LoraChoice:
    """``FILE`` or ``FILE:STRENGTH``; a file that is called so as a whole is taken as it is.

    Raises:
        InvalidRequest: there is no name, or what stands behind a file that is there is not a strength.
    """
    from filmgate.spec import InvalidRequest, LoraChoice

    path, _, number = text.rpartition(":")
    strength = _number(number) if path and not Path(text).exists() else None
    if strength is None:
        if path.strip() and number and not Path(text).exists() and Path(path).exists():
            raise InvalidRequest(
                field, f"{number!r} is not the strength of a LoRA", allowed="a number; 1 is as trained",
                nearest=f"{path}:1",
            )  # fmt: skip
        path, strength = text, 1.0
    if not path.strip() or path.startswith(":") or path.endswith(":") or not math.isfinite(strength):
        raise InvalidRequest(field, f"{text!r} names no LoRA", allowed="FILE or FILE:STRENGTH, as a.safetensors:0.8")
    return LoraChoice(path=path, strength=strength)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


lora.command(
    epilog="\b\nExamples:\n  filmgate lora inspect lightning_high.safetensors\n"
    "  filmgate lora inspect style.safetensors --model ~/Wan2.2-T2V-A14B"
)(reported(inspect))
