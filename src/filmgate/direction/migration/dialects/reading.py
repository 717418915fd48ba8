"""A prompt in any dialect, or in several at once, becomes a form.

Every grammar says where it could read and how surely, from 0 to 1. What holds others is read first: parts of a
timeline, then negative prompts, objects and lists of keys. Of two grammars that claim the same words the surer one
reads, and below one half none does. What no grammar claims is prose, and is carried word for word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from filmgate.direction.migration.dialects import marks, negatives, prose, timelines, weights
from filmgate.direction.migration.dialects.draft import Draft
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.fields import Fields
from filmgate.direction.migration.dialects.key_value import Run, find_runs
from filmgate.direction.migration.dialects.structured import Block, find_blocks
from filmgate.direction.migration.dialects.tree import Listing, Mapping, Node, Scalar
from filmgate.direction.migration.form import Dialect, Form, Leaf, Reading, Segment
from filmgate.spec.errors import InvalidRequest

LIKELY = 0.5
"""From this score on a grammar reads what it claims."""
LONGEST = 400_000
"""Characters of a text that is read: a hundred times the longest prompt that a model sees."""
_DEEPEST = 8
_JOINTS = " \t\r\n,，;；|"
_FORCED = 0.15
_FAMILIES: tuple[frozenset[Dialect], ...] = (
    frozenset({"json", "kling", "runway", "deforum"}),
    frozenset({"key_value", "runway", "deforum", "camera_files"}),
)
"""Dialects that share a notation."""


@dataclass(frozen=True, slots=True)
class _Claim:
    start: int
    end: int
    dialect: Dialect
    score: float
    read: Callable[[Draft], None]


def read(text: str, dialect: Dialect | None = None) -> Reading:
    """What a prompt says, and in which dialect each stretch of it says it.

    Args:
        text: The prompt. Spans count its characters.
        dialect: The only dialect beside prose that is read, however unlikely; None finds out.

    Raises:
        InvalidRequest: it is longer than :data:`LONGEST` characters.
    """
    if len(text) > LONGEST:
        raise InvalidRequest("prompt", f"it has {len(text)} characters", allowed=f"at most {LONGEST}")
    reader = _Reader(dialect)
    draft = Draft()
    reader.read(Excerpt.of(text), draft)
    return Reading(text=text, segments=_covering(text, reader.segments), form=draft.form())


def read_form(text: str) -> Form:
    """What a prompt says."""
    return read(text).form


class _Reader:
    """Reads excerpts of one text; ``segments`` is what was read of the text itself, from the outside inwards."""

    def __init__(self, only: Dialect | None) -> None:
        self.segments: list[Segment] = []
        self._only = only
        self._depth = 0
        self._inside_value = 0

    def read(self, excerpt: Excerpt, draft: Draft) -> None:
        """Read an excerpt into a draft."""
        if not excerpt.words.strip():
            return
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                draft.add("prose", excerpt.leaf(excerpt.words, "natural"))
                return
            holder = timelines.container(excerpt, least=self._least)
            if holder is not None and self._reads(holder.dialect) and self._depth < _DEEPEST // 2:
                self._note(excerpt, holder.dialect, holder.score)
                holder.read(excerpt, draft, self._within(excerpt))
            else:
                self._part(excerpt, draft)
        finally:
            self._depth -= 1

    @property
    def _least(self) -> float:
        """The score from which a grammar reads."""
        return LIKELY if self._only is None else _FORCED

    def _reads(self, dialect: Dialect) -> bool:
        """Whether a dialect is to be read at all; objects and lists of keys look alike in several."""
        if self._only is None or dialect == self._only:
            return True
        return any(self._only in family and dialect in family for family in _FAMILIES)

    def _called(self, dialect: Dialect) -> Dialect:
        """The dialect of an object or list of keys: as it was told, if it was."""
        return self._only if self._only is not None and dialect in ("json", "key_value", "runway", "kling") else dialect

    def read_value(self, excerpt: Excerpt, draft: Draft) -> None:
        """Read free text that is the value of a key: what it is in is already known of the text."""
        self._inside_value += 1
        try:
            self.read(excerpt, draft)
        finally:
            self._inside_value -= 1

    def words(self, excerpt: Excerpt, draft: Draft, dialect: Dialect) -> Leaf[str]:
        """The words of a value, weights taken out of it."""
        if self._reads("weighted") and weights.evidence(excerpt.words) >= LIKELY:
            plain = weights.unweighted(excerpt, draft, dialect).strip()
            return excerpt.leaf(plain.words or excerpt.words, dialect)
        return excerpt.leaf(excerpt.words, dialect)

    def _within(self, whole: Excerpt) -> Callable[[Excerpt, Draft], None]:
        """Reads parts of a container; one that is all of it is no container again."""

        def read_part(part: Excerpt, draft: Draft) -> None:
            if part.words == whole.words:
                self._part(part, draft)
            else:
                self.read(part, draft)

        return read_part

    def _note(self, excerpt: Excerpt, dialect: Dialect, score: float) -> None:
        if not self._inside_value and excerpt.start < excerpt.end:
            self.segments.append(Segment(span=(excerpt.start, excerpt.end), dialect=dialect, score=min(score, 1.0)))

    def _part(self, excerpt: Excerpt, draft: Draft) -> None:
        """Read what is no timeline: negative prompts, then objects and lists, then prose."""
        at = 0
        for claim in self._claims(excerpt):
            self._stretch(_between(excerpt.part(at, claim.start), after=at > 0, before=True), draft)
            self._note(excerpt.part(claim.start, claim.end), claim.dialect, claim.score)
            claim.read(draft)
            at = claim.end
        self._stretch(_between(excerpt.part(at, len(excerpt.words)), after=at > 0, before=False), draft)

    def _claims(self, excerpt: Excerpt) -> list[_Claim]:
        claims = [self._block_claim(block) for block in find_blocks(excerpt)]
        claims += [self._run_claim(run) for run in find_runs(excerpt)]
        for heading, start, end in negatives.find_negatives(excerpt):
            reader = partial(negatives.read_negatives, excerpt.part(start, end))
            claims.append(_Claim(heading, end, "negative_list", 0.97, reader))
        return _resolved([claim for claim in claims if claim.score >= self._least and self._reads(claim.dialect)])

    def _block_claim(self, block: Block) -> _Claim:
        def reader(draft: Draft) -> None:
            fields = self._fields(draft, self._called(block.dialect))
            for node in block.node.items if isinstance(block.node, Listing) else (block.node,):
                if isinstance(node, Mapping):
                    fields.read_top(node.entries)
                elif isinstance(node, Scalar):
                    self.read_value(node.excerpt, draft)

        return _Claim(block.start, block.end, block.dialect, block.score, reader)

    def _run_claim(self, run: Run) -> _Claim:
        def reader(draft: Draft) -> None:
            entries: tuple[tuple[Excerpt, Node], ...] = tuple((item.key, item.node()) for item in run.items)
            self._fields(draft, self._called(run.dialect)).read_top(entries)

        return _Claim(run.start, run.end, run.dialect, run.score, reader)

    def _fields(self, draft: Draft, dialect: Dialect) -> Fields:
        return Fields(draft, dialect, self.read_value, lambda excerpt, into: self.words(excerpt, into, dialect))

    def _stretch(self, excerpt: Excerpt, draft: Draft) -> None:
        """Read sentences or tags with the notations in them."""
        rest, found = marks.read_marks(excerpt, draft, self._reads)
        parts = marks.multi_prompt(rest, draft) if self._reads("midjourney") else None
        likely = 0.0
        if self._reads("weighted"):
            networks = max((mark.score for _, mark in found if mark.dialect == "weighted"), default=0.0)
            likely = max(weights.evidence(rest.words), prose.tag_evidence(rest.words), networks)
        dialect: Dialect = "weighted" if likely >= self._least else "midjourney" if parts is not None else "natural"
        if dialect != "natural":
            self._note(excerpt, dialect, likely if dialect == "weighted" else 0.8)
        for place, mark in found:
            self._note(place, mark.dialect, mark.score)
        for part in parts if parts is not None else [rest]:
            if dialect != "weighted":
                prose.read_prose(part, draft, dialect)
                continue
            tags = prose.is_tag_list(weights.without_weights(part.words))
            for prompt in weights.prompts(part):
                prose.read_prose(weights.unweighted(prompt, draft, dialect), draft, dialect, tags=tags)


def _between(excerpt: Excerpt, *, after: bool, before: bool) -> Excerpt:
    """Words after or before a list or object, without the commas that joined them to it."""
    words = excerpt.words
    start = len(words) - len(words.lstrip(_JOINTS)) if after else 0
    end = len(words.rstrip(_JOINTS)) if before else len(words)
    return excerpt.part(start, max(start, end))


def _resolved(claims: list[_Claim]) -> list[_Claim]:
    """Claims that do not overlap, in order: what holds others goes first, else the surer one."""
    kept: list[_Claim] = []
    for claim in sorted(claims, key=lambda item: (item.start - item.end, -item.score)):
        overlapping = [other for other in kept if claim.start < other.end and other.start < claim.end]
        if not overlapping:
            kept.append(claim)
        elif all(_is_better(claim, other) for other in overlapping):
            kept = [other for other in kept if other not in overlapping]
            kept.append(claim)
    return sorted(kept, key=lambda item: item.start)


def _is_better(claim: _Claim, other: _Claim) -> bool:
    """Whether a claim that came later takes the place of a longer one that it overlaps."""
    inside = other.start <= claim.start and claim.end <= other.end
    same = (claim.start, claim.end) == (other.start, other.end)
    return claim.score > other.score and (same or not inside)


def _covering(text: str, found: list[Segment]) -> tuple[Segment, ...]:
    """Segments from start to end of a text: later ones lie on top, commas and space belong to what is before."""
    if not text:
        return ()
    owners = [-1] * len(text)
    for index, segment in enumerate(found):
        start, end = segment.span
        owners[start:end] = [index] * (end - start)
    result: list[Segment] = []
    begin = 0
    for owner, run in groupby(owners):
        end = begin + sum(1 for _ in run)
        dialect: Dialect = found[owner].dialect if owner >= 0 else "natural"
        score = found[owner].score if owner >= 0 else 1.0
        blank = end - begin - len(text[begin:end].lstrip(_JOINTS)) if owner < 0 and result else 0
        if blank or (result and result[-1].dialect == dialect):
            last = result[-1]
            reach = begin + blank if blank else end
            best = last.score if blank else max(score, last.score)
            result[-1] = Segment(span=(last.span[0], reach), dialect=last.dialect, score=best)
            begin = reach
        if begin < end:
            result.append(Segment(span=(begin, end), dialect=dialect, score=score))
        begin = end
    return tuple(result)
