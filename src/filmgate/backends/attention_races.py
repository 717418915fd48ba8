"""Which attention was fastest on a card of this machine, remembered between runs: the same one is called again, so that
a repeated video has the same bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from filmgate.engine.runtime.attention_race import Races
from filmgate.media.publish import write_bytes
from filmgate.spec import OutputError
from filmgate.spec.speed import AttentionKernel

FILE = "attention.json"
_KNOWN = TypeAdapter(dict[str, dict[str, AttentionKernel]])


def known_races(cache: Path | None, where: str | None, *, keeps: bool = True) -> Races:
    """What is known of a card.

    Args:
        cache: Where it is kept; None: nowhere.
        where: The card and what its kernels come from; None: there is but one kernel.
        keeps: Whether new results are kept.
    """
    if cache is None or where is None:
        return Races()

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
