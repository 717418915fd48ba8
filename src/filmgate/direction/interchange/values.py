"""Values from files that others wrote: every one is checked, because JSON knows neither ranges nor types."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from filmgate.direction.interchange.report import Ledger
from filmgate.spec.errors import InvalidRequest

LARGEST = 4 * 1024 * 1024
"""Longest settings that are read, in characters: real workflows stay below a hundredth of it."""
LARGEST_SEED = 2**63 - 1
OTHER_NOISE = "the same number; the other tool draws other noise from it"


def parse_object(text: str, what: str) -> dict[str, Any]:
    """The object that JSON text describes.

    Raises:
        InvalidRequest: it is too long, too deep, no JSON or no object.
    """
    if len(text) > LARGEST:
        raise InvalidRequest(what, f"it has {len(text)} characters", allowed=f"at most {LARGEST}")
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(what, f"it is not JSON: {error}", allowed="a JSON object") from None
    if not isinstance(value, dict):
        raise InvalidRequest(what, f"it holds a {type(value).__name__}", allowed="a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given twice")
    return found


def number(field: str, value: Any) -> float:
    """A finite number; text, true and null are none."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
    if not good or not math.isfinite(value):
        raise InvalidRequest(field, f"{value!r:.80} is not a number", allowed="a finite number")
    return float(value)


def whole(field: str, value: Any, *, least: int = 1) -> int:
    """A whole number of at least ``least``; 4.0 counts as 4. Large ones are exact, unlike floats."""
    exact = value if isinstance(value, int) and not isinstance(value, bool) else number(field, value)
    if exact != int(exact) or exact < least:
        raise InvalidRequest(field, f"{exact:g} is out of range", allowed=f"a whole number, {least} or more")
    return int(exact)


def words(field: str, value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise InvalidRequest(field, f"{value!r:.80} is not a text", allowed="a text")
    return value


def section(field: str, value: Any) -> Mapping[str, Any]:
    """An object within an object."""
    if not isinstance(value, dict):
        raise InvalidRequest(field, f"{value!r:.80} is not an object", allowed="a JSON object")
    return value


def causal_frames(field: str, value: Any, ledger: Ledger) -> int:
    """Frames that (n - 1) // 4 + 1 latent frames decode to, as the original code, ComfyUI and LightX2V count."""
    asked = whole(field, value)
    return _noted(asked, 4 * ((asked - 1) // 4) + 1, ledger)


def rounded_frames(field: str, value: Any, ledger: Ledger) -> int:
    """Frames as Diffusers rounds them, which is not the same: n // 4 · 4 + 1 makes 81 of 80, not 77."""
    asked = whole(field, value)
    return _noted(asked, asked if asked % 4 == 1 else max(asked // 4 * 4 + 1, 1), ledger)


def _noted(asked: int, real: int, ledger: Ledger) -> int:
    if asked == real:
        ledger.kept("frames", asked)
    else:
        ledger.note("frames", "translated", asked, real, "what the other tool makes of it: 4n+1")
    return real


def seed_of(field: str, value: Any, ledger: Ledger) -> int | None:
    """A seed; None, which here is 0, where the other tool draws one at random."""
    if value is None or value == -1:
        ledger.dropped("seed", value, "the other tool draws one at random; here the default is 0")
        return None
    seed = whole(field, value, least=0)
    if seed > LARGEST_SEED:
        ledger.dropped("seed", seed, "seeds end at 2^63-1 here")
        return None
    ledger.note("seed", "approximated", seed, seed, OTHER_NOISE)
    return seed
