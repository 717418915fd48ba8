"""Prompts in several parts: windows of ComfyUI-WanVideoWrapper, lines of WanGP, and times in front of sentences.

``a | b | c`` are prompts of successive context windows and no alternatives (kijai/ComfyUI-WanVideoWrapper, text encode
nodes; also ``[1] ... [2] ...``). WanGP (deepbeepmeep/Wan2GP, docs/PROMPTS.md): ``#`` comments, ``!`` macros,
``[/duration=5s]`` and its like in front of a window, ``(at 1 second: ...)`` for moments of one clip.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from filmgate.direction.migration.dialects.draft import Draft
from filmgate.direction.migration.dialects.excerpt import Excerpt, sheltered, shelters
from filmgate.direction.migration.dialects.keys import meaning
from filmgate.direction.migration.dialects.moments import moment, span_of_time
from filmgate.direction.migration.form import Amount, Beat, Dialect, Leaf, Parameter

ReadInto = Callable[[Excerpt, Draft], None]
_BAR = re.compile(r"\|")
_SHOT = re.compile(r"\[(\d{1,2})\]")
_MOMENT = re.compile(
    r"\(\s*(?:at|from)\s+(\d+(?:\.\d+)?)\s*(?:s|secs?|seconds?)?\s*(?:to\s+(\d+(?:\.\d+)?)\s*(?:s|secs?|seconds?)\s*)?[:：,]\s*",
    re.IGNORECASE,
)
_STAMP = re.compile(
    r"[\[(]\s*(\d{1,2}:\d{2}(?:\.\d+)?\s*[-–—~]\s*\d{1,2}:\d{2}(?:\.\d+)?|\d+(?:\.\d+)?\s*s?\s*[-–—~]\s*\d+(?:\.\d+)?\s*(?:s|sec|seconds|秒))\s*[\])]\s*:?",
    re.IGNORECASE,
)
_COMMAND_GROUP = re.compile(r"\[(/[A-Za-z_]+(?:=[^\],]*)?(?:\s*,\s*/[A-Za-z_]+(?:=[^\],]*)?)*)\]\s*")
_COMMENT = re.compile(r"[ \t]*#(?![0-9A-Fa-f]{3,8}\b)[ \t]*(\S.*)?")
_VARIABLE = re.compile(r'\{([^}\n]{1,60})\}\s*=\s*"([^"\n]*)"')
_MACRO = re.compile(r"[ \t]*![ \t]*\{[^}\n]{1,60}\}\s*=.*")
_LINES = re.compile(r"\n+")
_ITEM = re.compile(r"([A-Za-z_\u4e00-\u9fff][\w\u4e00-\u9fff ]{0,30}?)\s*[:：=]")
_COMMAS = re.compile(",")


@dataclass(frozen=True, slots=True)
class Container:
    """A notation that holds all of an excerpt: how surely, and what reads it."""

    dialect: Dialect
    score: float
    read: Callable[[Excerpt, Draft, ReadInto], None]


def container(excerpt: Excerpt, *, least: float) -> Container | None:
    """The most likely notation of parts that an excerpt is in, if its score is ``least`` or more."""
    words = excerpt.words
    candidates = [
        Container("wangp", _wangp_score(words), read_wangp),
        Container("wangp", _stamp_score(words), read_stamps),
        Container("context_windows", _window_score(words), read_windows),
    ]
    best = max(candidates, key=lambda item: item.score)
    return best if best.score >= least else None


def _window_score(words: str) -> float:
    if "|" in words and "|" in "".join(words[a:b] for a, b in _outside(words)):
        pieces = [piece.strip() for piece in _bars(words)]
        tables = sum(
            line.lstrip().startswith("|") or set(line.strip()) <= set("|-: ")
            for line in words.splitlines()
            if line.strip()
        )
        if tables >= 2 or len([piece for piece in pieces if re.search(r"\w", piece)]) < 2:
            return 0.0
        if sum(_is_item(piece) for piece in pieces) * 2 > len(pieces):
            return 0.3  # a list of keys with bars between them
        spaced = words.count(" | ") + words.count("\n|") + words.count("|\n")
        return 0.8 if spaced else 0.55
    numbers = [int(match[1]) for match in _SHOT.finditer(words)]
    return 0.9 if len(numbers) > 1 and numbers == list(range(1, len(numbers) + 1)) else 0.0


def _is_item(piece: str) -> bool:
    match = _ITEM.match(piece)
    return match is not None and meaning(match[1], "", numeric=False) is not None


def _outside(words: str) -> list[tuple[int, int]]:
    closed = shelters(words)
    at, found = 0, []
    for start, end in closed:
        if end > at:
            found.append((at, max(at, start)))
            at = end
    return [*found, (at, len(words))]


def _bars(words: str) -> list[str]:
    return [piece.words for piece in Excerpt.of(words).split(_BAR)]


def read_windows(excerpt: Excerpt, draft: Draft, read: ReadInto) -> None:
    """Windows one after the other; how long each is the node decides."""
    words = excerpt.words
    shots = list(_SHOT.finditer(words))
    if "|" not in words and shots:
        limits = [*(match.start() for match in shots), len(words)]
        if words[: limits[0]].strip():
            read(excerpt.part(0, limits[0]).strip(), draft)
        pieces = [excerpt.part(match.end(), limits[i + 1]).strip() for i, match in enumerate(shots)]
    else:
        pieces = list(excerpt.split(_BAR))
    for piece in pieces:
        if piece.words:
            _add_beat(piece, draft, read, None, None)


def _add_beat(
    piece: Excerpt, draft: Draft, read: ReadInto, begin: Leaf[Amount] | None, end: Leaf[Amount] | None
) -> None:
    inner = Draft()
    if piece.words:
        read(piece, inner)
    draft.add("timeline", Beat(content=inner.form(), begin=begin, end=end))


def _stamp_score(words: str) -> float:
    stamps = [
        match
        for match in _STAMP.finditer(words)
        if not words[: match.start()].strip()
        or words[: match.start()].rstrip()[-1] in ".!?。！？\n;,，；"
        or "\n" in words[: match.start()][-2:]
    ]
    return 0.9 if len(stamps) > 1 else 0.6 if stamps and not words[: stamps[0].start()].strip() else 0.0


def read_stamps(excerpt: Excerpt, draft: Draft, read: ReadInto) -> None:
    """``[00:00-00:02] ...``: a time in front of each part."""
    words = excerpt.words
    stamps = list(_STAMP.finditer(words))
    if words[: stamps[0].start()].strip():
        read(excerpt.part(0, stamps[0].start()).strip(), draft)
    for index, stamp in enumerate(stamps):
        limit = stamps[index + 1].start() if index + 1 < len(stamps) else len(words)
        begin, end = span_of_time(excerpt.part(stamp.start(1), stamp.end(1)), "wangp")
        _add_beat(excerpt.part(stamp.end(), limit).strip(), draft, read, begin, end)


def _wangp_score(words: str) -> float:
    score = 0.0
    if _COMMAND_GROUP.search(words):
        score = 0.95
    elif "(" in words and len(_MOMENT.findall(words)) > 0:
        score = 0.9
    if "!" in words and any(_MACRO.fullmatch(line) for line in words.splitlines()):
        score = max(score, 0.95)
    if "#" in words:
        lines = [line for line in words.splitlines() if line.strip()]
        comments = sum(_COMMENT.fullmatch(line) is not None for line in lines)
        if comments and (len(lines) > comments or comments > 1):
            score = max(score, 0.6)
    return score


def read_wangp(excerpt: Excerpt, draft: Draft, read: ReadInto) -> None:
    """Comments and macros apart; windows with their commands, moments with their times, and the rest as it stands."""
    words = excerpt.words
    kept: list[tuple[int, int]] = []
    at = 0
    for line in words.splitlines(keepends=True):
        bare = line.rstrip("\r\n")
        piece = excerpt.part(at, at + len(bare)).strip()
        if _COMMENT.fullmatch(bare):
            draft.add("leftovers", piece.leaf(piece.words, "wangp", required=False))
            kept.append((at, at + len(line)))
        elif _MACRO.fullmatch(bare):
            draft.add("leftovers", piece.leaf(piece.words, "wangp"))
            kept.append((at, at + len(line)))
        at += len(line)
    rest = _filled(excerpt.without(kept).strip(), words)
    if not rest.words:
        return
    if _COMMAND_GROUP.search(rest.words):
        _read_commands(rest, draft, read)
    elif _MOMENT.search(rest.words):
        _read_moments(rest, draft, read)
    else:
        read(rest, draft)


def _filled(excerpt: Excerpt, words: str) -> Excerpt:
    """A template with the first value of every variable; the macro itself, with all values, is left over."""
    first = {
        match[1]: match[2]
        for line in words.splitlines()
        if _MACRO.fullmatch(line)
        for match in _VARIABLE.finditer(line)
    }
    if not first or "{" not in excerpt.words or excerpt.places is None:
        return excerpt
    text, places, at = "", list[int](), 0
    for match in re.finditer(r"\{([^{}\n]{1,60})\}", excerpt.words):
        value = first.get(match[1])
        if value is None:
            continue
        text += excerpt.words[at : match.start()] + value
        places += excerpt.places[at : match.start()]
        inside = excerpt.places[match.start() : match.end()]
        places += [inside[0]] * (len(value) - 1) + ([inside[-1]] if value else [])
        at = match.end()
    text += excerpt.words[at:]
    places += excerpt.places[at:]
    return Excerpt(excerpt.whole, excerpt.start, excerpt.end, text, tuple(places))


def _read_moments(excerpt: Excerpt, draft: Draft, read: ReadInto) -> None:
    """``(at 1 second: he opens the fridge)``."""
    words = excerpt.words
    taken: list[tuple[int, int]] = []
    beats: list[tuple[re.Match[str], int]] = []
    for match in _MOMENT.finditer(words):
        if taken and match.start() < taken[-1][1]:
            continue
        close = _closing(words, match.end())
        taken.append((match.start(), min(close + 1, len(words))))
        beats.append((match, close))
    outside = excerpt.without(taken).strip()
    if outside.words:
        read(outside, draft)
    for match, close in beats:
        place = excerpt.part(match.start(1), match.end(1))
        begin = place.leaf(Amount(value=float(match[1]), unit="s"), "wangp")
        end = None
        if match[2]:
            end = excerpt.part(match.start(2), match.end(2)).leaf(Amount(value=float(match[2]), unit="s"), "wangp")
        _add_beat(excerpt.part(match.end(), close).strip(), draft, read, begin, end)


def _closing(words: str, start: int) -> int:
    """Where the bracket closes that is open at ``start``; the end if it never does."""
    depth = 1
    for index in range(start, len(words)):
        depth += {"(": 1, ")": -1}.get(words[index], 0)
        if depth == 0:
            return index
    return len(words)


def _read_commands(excerpt: Excerpt, draft: Draft, read: ReadInto) -> None:
    """One window per line or paragraph: whichever puts the commands in front."""
    words = excerpt.words
    paragraphs = re.search(r"\n[ \t]*\n", words) is not None
    pieces = _pieces(excerpt, re.compile(r"\n[ \t]*\n+") if paragraphs else _LINES)
    clock: Amount | None = None
    lost = False
    for piece in pieces:
        inner, commands = _without_commands(piece)
        begin: Leaf[Amount] | None = None
        end: Leaf[Amount] | None = None
        for command in commands:
            length = _duration(command.words)
            if length is None or lost or begin is not None or (clock is not None and clock.unit != length.unit):
                draft.add("leftovers", command.leaf(f"[{command.words}]", "wangp"))
                continue
            start = clock or Amount(value=0.0, unit=length.unit)
            clock = Amount(value=start.value + length.value, unit=length.unit)
            begin, end = command.leaf(start, "wangp"), command.leaf(clock, "wangp")
        lost = lost or begin is None  # where an earlier window has no length, later ones have no times
        if len(pieces) == 1 and end is not None and end.value.unit in ("s", "frame"):
            _add_length(end, draft)
            read(inner, draft)
        elif len(pieces) == 1:
            read(inner, draft)
        else:
            _add_beat(inner, draft, read, begin, end)


def _add_length(end: Leaf[Amount], draft: Draft) -> None:
    """The length of a clip of one window is a setting."""
    seconds = end.value.unit == "s"
    value = Parameter(
        name="seconds" if seconds else "frames", value=end.value.value if seconds else int(end.value.value)
    )
    leaf = Leaf[Parameter](value=value, span=end.span, raw=end.raw, dialect="wangp")
    draft.add("parameters", leaf)


def _without_commands(piece: Excerpt) -> tuple[Excerpt, list[Excerpt]]:
    """A window's text, and its commands without brackets."""
    commands: list[Excerpt] = []
    taken: list[tuple[int, int]] = []
    for group in _COMMAND_GROUP.finditer(piece.words):
        commands += piece.part(group.start(1), group.end(1)).split(_COMMAS)
        taken.append((group.start(), group.end()))
    return piece.without(taken).strip(), commands


def _duration(command: str) -> Amount | None:
    """``/duration=5s`` in seconds, ``/duration=121`` in frames, ``/duration=20%`` as a share of the whole."""
    name, _, value = command.strip().lstrip("/").partition("=")
    if name.lower() != "duration":
        return None
    if value.strip().isdecimal():
        return Amount(value=float(value), unit="frame") if len(value) < 9 else None
    return moment(value)


def _pieces(excerpt: Excerpt, border: re.Pattern[str]) -> list[Excerpt]:
    words = excerpt.words
    closed = shelters(words)
    begin, found = 0, []
    for match in border.finditer(words):
        if sheltered(closed, match.start()):
            continue
        found.append(excerpt.part(begin, match.start()).strip())
        begin = match.end()
    found.append(excerpt.part(begin, len(words)).strip())
    return [piece for piece in found if piece.words]
