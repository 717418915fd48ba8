"""Quantities as people write them into prompts, read into amounts and written back."""

from __future__ import annotations

import re

from filmgate.direction.migration.form import Amount, Unit

_NUMBER = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)"
_UNITS: tuple[tuple[str, Unit], ...] = (
    (r"(?:deg(?:rees?)?|°|度)\s*(?:/|per\s+)\s*(?:s|sec|second|秒)", "deg/s"),
    (r"(?:deg(?:rees?)?|°|度)\s*(?:/|per\s+)\s*(?:frame|帧)", "deg/frame"),
    (r"(?:deg(?:rees?)?|°|度)", "deg"),
    (r"(?:mm|millimet(?:er|re)s?|毫米)", "mm"),
    (r"(?:m|met(?:er|re)s?)\s*(?:/|per\s+)\s*(?:s|sec|second)", "m/s"),
    (r"(?:m|met(?:er|re)s?|米)", "m"),
    (r"(?:px|pixels?|像素)\s*(?:/|per\s+)\s*(?:frame|帧)", "px/frame"),
    (r"x\s*(?:/|per\s+)\s*(?:frame|帧)", "x/frame"),
    (r"(?:k|kelvin|开尔文)", "kelvin"),
    (r"(?:%|percent|％)", "percent"),
    (r"(?:s|secs?|seconds?|秒钟?)", "s"),
    (r"(?:frames?|帧)", "frame"),
    (r"(?:of the clip)", "fraction"),
)
_WRITTEN: dict[Unit, str] = {
    "": "", "deg": "deg", "deg/s": "deg/s", "deg/frame": "deg/frame", "m": "m", "m/s": "m/s", "mm": "mm",
    "kelvin": "K", "percent": "%", "px/frame": "px/frame", "x/frame": "x/frame", "s": "s", "frame": " frames",
    "fraction": " of the clip",
}  # fmt: skip
_WITH_UNIT = re.compile(
    rf"({_NUMBER})\s*[-_]?\s*(?:{'|'.join(f'(?P<u{i}>{pattern})' for i, (pattern, _) in enumerate(_UNITS))})?",
    re.IGNORECASE,
)
_APERTURE = re.compile(rf"f\s*[/\\]?\s*({_NUMBER})", re.IGNORECASE)
_RATIO = re.compile(rf"({_NUMBER})\s*[:：]\s*1", re.IGNORECASE)
_LARGEST = 1e12


def read_amount(text: str) -> Amount | None:
    """The amount that a text is, with its unit; None if it is no number. ``4:1`` is a ratio, ``f/2.8`` an aperture."""
    trimmed = text.strip()
    if match := _APERTURE.fullmatch(trimmed):
        return _amount(match[1], "f")
    if match := _RATIO.fullmatch(trimmed):
        return _amount(match[1], "ratio")
    match = _WITH_UNIT.fullmatch(trimmed)
    if match is None:
        return None
    unit: Unit = next((unit for i, (_, unit) in enumerate(_UNITS) if match[f"u{i}"]), "")
    return _amount(match[1], unit)


def _amount(number: str, unit: Unit) -> Amount | None:
    value = float(number)
    return Amount(value=value, unit=unit) if abs(value) < _LARGEST else None


def write_amount(amount: Amount) -> str:
    """The text that :func:`read_amount` reads as this amount; the word, if it is one."""
    if amount.unit == "word":
        return amount.word
    number = write_number(amount.value)
    if amount.unit == "f":
        return f"f/{number}"
    if amount.unit == "ratio":
        return f"{number}:1"
    return number + _WRITTEN[amount.unit]


def write_number(value: float) -> str:
    """The shortest text of a number, without an exponent: ``2`` and ``0.25``."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    text = repr(float(value))
    return f"{value:.12f}".rstrip("0") if "e" in text else text
