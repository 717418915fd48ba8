"""Which attention was fastest on a card of this machine, remembered between runs: the same one is called again, so that
a repeated video has the same bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from filmgate.engine.runtime.attention_race import Races
from filmgate.media.publish import write_bytes
from filmgate.spec import OutputError
from filmgate.spec.speed import FLASH4, AttentionKernel

FILE = "attention.json"
_KNOWN = TypeAdapter(dict[str, dict[str, AttentionKernel]])


def known_races(cache: Path | None, device: torch.device, *, keeps: bool = True) -> Races:
    """What is known for a device and the packages as they are.

    Args:
        cache: Where it is kept; None: nowhere.
        device: Whose attention.
        keeps: Whether new results are kept.
    """
    if cache is None or device.type != "cuda":
        return Races()
    where = _circumstances(device)

    def keep(winners: Mapping[str, AttentionKernel]) -> None:
        known = read_races(cache)
        known[where] = known.get(where, {}) | dict(winners)
        with suppress(OutputError, OSError):  # a video does not fail for it
            cache.mkdir(parents=True, exist_ok=True)
            write_bytes(cache / FILE, f"{json.dumps(known, indent=1)}\n".encode())

    return Races(read_races(cache).get(where, {}), keep if keeps else None)


def read_races(cache: Path) -> dict[str, dict[str, AttentionKernel]]:
    """All winners by card and versions, then by shapes; none where there is no such file, or it is damaged."""
    try:
        return _KNOWN.validate_json((cache / FILE).read_bytes())
    except (OSError, ValidationError):
        return {}


def _circumstances(device: torch.device) -> str:
    """The card, and what its kernels come from."""
    try:
        flash = f"{FLASH4} {version(FLASH4)}"
    except PackageNotFoundError:
        flash = f"no {FLASH4}"
    cudnn = f"cuDNN {torch.backends.cudnn.version()}"
    return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {cudnn}, {flash}"
