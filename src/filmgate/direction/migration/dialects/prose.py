"""Sentences and tags: what remains of a prompt when every notation has been read.

Only words that stand alone between commas or fill a sentence are taken as terms of the field; everything else is
carried word for word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from filmgate.direction.migration.dialects import phrases
from filmgate.direction.migration.dialects.amounts import read_amount
from filmgate.direction.migration.dialects.draft import Draft, Slot
from filmgate.direction.migration.dialects.excerpt import Excerpt, sheltered, shelters
from filmgate.direction.migration.form import CameraMove, Dialect
from filmgate.direction.migration.vocabulary import vocabulary

_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+[”’」』）]*|\n+)\s*")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|vs|etc|e\.g|i\.e|no|approx)|(?<!/)(?<!\d )\b[A-Z])\.$", re.IGNORECASE
)
_CAMERA = re.compile(r"\b(?:camera|cam|shot|dolly|steadicam)\b|镜头|摄像机|相机|机位", re.IGNORECASE)
_ONLY_CAMERA = re.compile(
    r"\s*(?:(?:very|extremely)\s+)?"
    r"(?:(?:slow|quick|gentle|rapid|swift|smooth|gradual|subtle)(?:ly)?\s+|(?:fast|steady|gently|subtly)\s+)?"
    r"(?:pan|tilt|zoom|doll(?:y|ies)|truck|pedestal|orbit|crane|jib|boom|arc|whip|swish|push(?:es)?[- ]in|"
    r"pull[- ](?:back|out)|hand-?held|tracking|locked[- ]off|static|roll)",
    re.IGNORECASE,
)
_BARE_KINDS = frozenset({"handheld", "dolly_zoom", "whip_pan"})
_LIGHT = re.compile(r"light(?:ing)?s?(?![a-z])|光", re.IGNORECASE)
_SNAKE = re.compile(r"[a-z]+(?:_[a-z0-9]+)+")
_SPEED = re.compile(r"speed\s*:?\s*(\S+)", re.IGNORECASE)
_LONGEST_MEASURE = 12
_AVERAGE_TAG = 4.5
_FEWEST_TAGS = 3
_SURE_BOOSTERS = re.compile(
    r"(?:4k|8k|16k|uhd|hdr|masterpiece|best quality|artstation|octane render|unreal engine(?: 5)?|absurdres|"
    r"award[- ]winning|raw photo|杰作|最佳质量|超高清)",
    re.IGNORECASE,
)


def sentences(excerpt: Excerpt) -> Iterator[Excerpt]:
    """Sentences with their punctuation, stripped; borders inside brackets and quotation marks do not count."""
    words = excerpt.words
    closed = shelters(words)
    begin = 0
    for match in _END.finditer(words):
        inside = sheltered(closed, match.start())
        if match.start() < begin or inside or is_abbreviation(words, match.start()):
            continue
        piece = excerpt.part(begin, match.end()).strip()
        if piece.words:
            yield piece
        begin = match.end()
    piece = excerpt.part(begin, len(words)).strip()
    if piece.words:
        yield piece


def is_abbreviation(words: str, at: int) -> bool:
    """Whether the full stop at a place ends no sentence: ``Dr.``, ``e.g.``."""
    return words[at : at + 1] == "." and _ABBREVIATION.search(words, max(0, at - 8), at + 1) is not None


def tag_evidence(text: str) -> float:
    """How much a text looks like a list of tags in the manner of image models, from 0 to 1."""
    pieces = [piece.strip(" ()[]") for piece in re.split(r"[,，\n]", text) if piece.strip()]
    boosters = sum(vocabulary().is_booster(piece) for piece in pieces if len(piece) <= 40)
    if any(_SNAKE.fullmatch(piece) and vocabulary().find_move(piece) for piece in pieces if len(piece) <= 40):
        return 0.7
    if boosters == 0:
        return 0.0
    if boosters >= 2:
        return 0.75
    if is_tag_list(text):
        return 0.65
    return 0.55 if any(_SURE_BOOSTERS.fullmatch(piece) for piece in pieces) else 0.3


def is_tag_list(text: str) -> bool:
    """Whether a text is short pieces between commas and no sentences."""
    pieces = [piece for piece in re.split(r"[,，\n]", text) if piece.strip()]
    if len(pieces) < _FEWEST_TAGS or re.search(r"[.!?。！？]\s+\S", text):
        return False
    words = sum(len(piece.split()) for piece in pieces)
    characters = sum(len(piece.strip()) for piece in pieces)
    return words / len(pieces) <= _AVERAGE_TAG and characters / len(pieces) <= 40


def read_prose(excerpt: Excerpt, draft: Draft, dialect: Dialect, *, tags: bool = False) -> None:
    """Read sentences, or a list of tags; every tag stands for itself then."""
    if tags:
        for piece in excerpt.split(phrases.LIST):
            _read_tag(piece.strip(".。"), draft, dialect)
        return
    for sentence in sentences(excerpt):
        _read_sentence(sentence, draft, dialect)


def _read_tag(piece: Excerpt, draft: Draft, dialect: Dialect) -> None:
    if piece.words and not _known(piece, draft, dialect) and not _speed_of_last_move(piece, draft, dialect):
        draft.add("prose", piece.leaf(piece.words, dialect))


def _speed_of_last_move(piece: Excerpt, draft: Draft, dialect: Dialect) -> bool:
    """Whether a tag is the speed of the camera move before it: ``dolly_forward, speed 2.5``."""
    match = _SPEED.fullmatch(piece.words)
    move = draft.last("camera")
    if match is None or not isinstance(move, CameraMove) or move.speed is not None:
        return False
    leaf = phrases.speed(piece.part(match.start(1), match.end(1)), dialect)
    draft.replace_last("camera", move.model_copy(update={"speed": leaf}))
    return True


def _read_sentence(sentence: Excerpt, draft: Draft, dialect: Dialect) -> None:
    core = sentence.strip(".。!！")
    found = camera_moves(core, dialect)
    if found is not None:
        draft.add_moves(found, afterwards=any(move.group for move in found))
        return
    pieces = [piece.strip() for piece in core.split(phrases.COMMA)]
    first, last = 0, len(pieces)
    while first < last and _known(pieces[first], draft, dialect):
        first += 1
    scratch: list[Draft] = []
    while last > first + 1:
        behind = Draft()
        if not _known(pieces[last - 1], behind, dialect):
            break
        scratch.append(behind)
        last -= 1
    if first == last:
        return
    if first == 0 and last == len(pieces):
        if sentence.words.strip(" .,;，。；"):
            draft.add("prose", sentence.leaf(sentence.words, dialect))
    else:
        rest = _between(sentence, pieces[first], pieces[last - 1], whole=last == len(pieces))
        draft.add("prose", rest.leaf(rest.words, dialect))
    for behind in reversed(scratch):
        form = behind.form()
        for slot in type(form).model_fields:
            for item in getattr(form, slot):
                draft.add(cast("Slot", slot), item)


def _between(sentence: Excerpt, first: Excerpt, last: Excerpt, *, whole: bool) -> Excerpt:
    """The part of a sentence from one piece to another, with its closing punctuation if it is the end."""
    words = sentence.words
    if sentence.decoded is not None and sentence.places is None:
        start = words.find(first.words)
        end = words.rfind(last.words) + len(last.words)
        return sentence.part(start, len(words) if whole else end)
    places = sentence.places or tuple(range(sentence.start, sentence.end))
    start = next(index for index, place in enumerate(places) if place >= first.start)
    end = max(index for index, place in enumerate(places) if place < last.end) + 1
    return sentence.part(start, len(words) if whole else end)


def _known(piece: Excerpt, draft: Draft, dialect: Dialect) -> bool:
    """Whether a piece is a term, a quantity, a camera move or a booster; it is added then."""
    words = piece.words
    if not words or len(words) > 80:
        return False
    if vocabulary().is_booster(words):
        draft.add("boosters", piece.leaf(words, dialect, required=False))
        return True
    if _known_term(piece, draft, dialect):
        return True
    moves = camera_moves(piece, dialect)
    if moves is not None:
        draft.add_moves(moves)
    return moves is not None


def _known_term(piece: Excerpt, draft: Draft, dialect: Dialect) -> bool:
    """Whether a piece is a focal length, an aperture, a term or a light; it is added then."""
    words = piece.words
    amount = read_amount(words) if len(words) <= _LONGEST_MEASURE else None
    found = phrases.tag(piece, dialect)
    lights = phrases.runs(piece, dialect, phrases.of_light) if found is None and _LIGHT.search(words) else None
    if amount is not None and amount.unit in ("mm", "f"):
        draft.add("lens" if amount.unit == "mm" else "focus", piece.leaf(amount, dialect))
    elif found is not None and phrases.is_of_light(found[0]):
        draft.add("lights", phrases.light_of_term(*found))
    elif found is not None:
        draft.add(cast("Slot", found[0]), found[1])
    elif lights is not None and any(item.leaf is not None for item in lights):
        phrases.add_lights(lights, draft)
    else:
        return False
    return True


def camera_moves(piece: Excerpt, dialect: Dialect) -> list[CameraMove] | None:
    """The camera moves that a sentence or tag says; verbs that subjects share count only where a camera is named."""
    words = piece.words
    if len(words) > 240 or not (_CAMERA.search(words) or _ONLY_CAMERA.match(words)):
        return None
    found = phrases.moves(piece, dialect)
    if found is None:
        return None
    named = _CAMERA.search(words) is not None
    if named or all(m.move.value.direction or m.move.value.kind in _BARE_KINDS or m.speed for m in found):
        return found
    return None
