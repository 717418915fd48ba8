"""A prompt of any dialect becomes a prompt of Wan 2.2: read, decide, compose, render, and audit what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from filmgate.direction.migration.composer import compose
from filmgate.direction.migration.conflicts import Conflict, Policy, decide, find_conflicts
from filmgate.direction.migration.dialects import read
from filmgate.direction.migration.form import Dialect, Form, Leaf, Reading, Segment, Term, leaves
from filmgate.direction.migration.harvest import harvest
from filmgate.direction.migration.ledger import Entry, Ledger, audit
from filmgate.direction.migration.misspelt import misspelt_notes
from filmgate.direction.migration.renderer import render
from filmgate.direction.migration.rules import negation_of
from filmgate.direction.migration.scribe import Composition, Profile
from filmgate.direction.migration.settings import settings_of
from filmgate.direction.migration.spelling import is_chinese
from filmgate.direction.migration.tokens import MOST_WORDS, TEXT_LEN, Length, length_of
from filmgate.direction.migration.vocabulary import Language, vocabulary
from filmgate.direction.migration.wording import cleaned, first_upper, plain, words_in
from filmgate.direction.presets import PRESETS
from filmgate.direction.prompts import CountTokens
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.request import Request
from filmgate.spec.shape import Frozen

Status = Literal["unchanged", "complete", "incomplete", "conflict"]
"""Plain language already; all there; without subject, scene or action; contradictory, and nothing was written."""
Essential = Literal["subject", "scene", "action"]

LONGEST = 200_000
"""Longest prompt that is read, in characters."""
_STRUCTURED = ("key_value", "json", "kling", "runway", "camera_files")
_SENTENCE = 4
_DEEPEST = 3
"""How often a new prompt may itself turn out to be in some dialect."""
_FIGHTS = {
    "static": ("静态", "静止", "静止不动的画面"),
    "shaking": ("镜头晃动",),
    "painted": ("风格", "作品", "画作"),
    "text": ("字幕",),
}
"""Words of Wan's default negative prompt that fight what a prompt may ask for."""
_PAINTED = frozenset({"anime", "watercolor", "oil_painting", "ink", "pixel", "cartoon_3d", "claymation", "felt"})


class Options(Frozen):
    """How to migrate.

    Attributes:
        model: Public name of the model that is migrated to; its sizes, frame rate and default negative prompt count.
        profile: What is described: a whole video, or only motion and camera, since the first picture shows the rest.
            None: by the model.
        conflicts: What to do about contradictions.
        dialect: The dialect of the whole text; None: found out.
        language: Language of what is written; None: that of the prompt.
        defaults: Words for ``subject``, ``scene`` and ``action``, used where the prompt has none, and labelled.
    """

    model: str = "wan2.2-t2v-a14b"
    profile: Profile | None = None
    conflicts: Policy = "error"
    dialect: Dialect | None = None
    language: Language | None = None
    defaults: tuple[tuple[Essential, str], ...] = ()


class Migration(Frozen):
    """The new prompt, and all that is to be known about it.

    ``source`` is the text as it was given, ``read`` as it was read (spans count its characters). ``request`` holds the
    settings that the prompt contained, with prompt and negative prompt. ``missing`` are of subject, scene and action
    those that neither the prompt nor a default has; ``defaults`` the words that were added with the caller's leave.
    """

    status: Status
    source: str
    read: str
    text: str
    negative: str | None
    request: Request
    missing: tuple[Essential, ...]
    conflicts: tuple[Conflict, ...]
    notes: tuple[str, ...]
    defaults: tuple[str, ...]
    segments: tuple[Segment, ...]
    ledger: Ledger
    length: Length
    language: Language
    profile: Profile
    model: str
    vocabulary: str

    @property
    def passed(self) -> bool:
        """Whether there is a prompt in which nothing is missing without a reason and nothing was invented."""
        return self.status != "conflict" and self.ledger.passed

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The dialects of the text, each once, in their order."""
        return tuple(dict.fromkeys(segment.dialect for segment in self.segments))


def migrate(text: str, options: Options | None = None, count_tokens: CountTokens | None = None) -> Migration:
    """Migrate one prompt. Same text and options, same result; migrating a result changes nothing.

    Args:
        text: The prompt, of any dialect.
        options: See :class:`Options`.
        count_tokens: The model's own tokenizer, see :func:`~filmgate.direction.migration.tokens.token_counter`.

    Raises:
        UnknownName: there is no such model.
        InvalidRequest: the text is longer than 200,000 characters.
    """
    options = options or Options()
    if options.model not in PRESETS:
        raise UnknownName("model", options.model, PRESETS)
    if len(text) > LONGEST:
        raise InvalidRequest("prompt", f"it has {len(text)} characters", allowed=f"at most {LONGEST}")
    return migrate_reading(
        text, read(cleaned(text), options.dialect) if options.dialect else read(cleaned(text)), options, count_tokens
    )


def migrate_reading(
    source: str, reading: Reading, options: Options, count_tokens: CountTokens | None = None
) -> Migration:
    """Migrate what was already read, by a dialect's parser or by a language model."""
    return _migrated(source, reading, options, count_tokens, _DEEPEST)


def _migrated(
    source: str, reading: Reading, options: Options, count_tokens: CountTokens | None, depth: int
) -> Migration:
    if _is_natural(reading):
        return _unchanged(source, reading, options, count_tokens)
    for strict in (False, True):
        # Some authors' words look like another tool's syntax even without their brackets: then all but words goes.
        made = _Pass(source, reading, options, strict=strict).migration(count_tokens)
        again = read(made.text)
        if made.conflicts or _is_natural(again) or not depth:
            return made
        following = _migrated(made.text, again, options.model_copy(update={"dialect": None}), count_tokens, depth - 1)
        if following.text == made.text and not following.negative and not following.ledger.of("moved_to_request"):
            return made
    return _followed(made, following)


def _followed(first: Migration, second: Migration) -> Migration:
    """A migration whose text was itself read as syntax of another tool: what it says there counts.

    Of the first ledger the parts that did not go into the text stay; the others are told of by the second.
    """
    kept = ("kept_exact", "kept_synonym", "approximated")
    entries = [entry for entry in first.ledger.entries if entry.fate not in kept]
    entries += [entry.model_copy(update={"path": f"again.{entry.path}"}) for entry in second.ledger.entries]
    negative = ", ".join(told for told in (first.negative, second.negative) if told) or None
    fields = {name: getattr(made.request, name) for made in (second, first) for name in made.request.model_fields_set}
    return second.model_copy(
        update={
            "source": first.source,
            "read": first.read,
            "segments": first.segments,
            "negative": negative,
            "request": Request(**{**fields, "prompt": second.text, "negative": negative}),
            "notes": tuple(dict.fromkeys((*first.notes, *second.notes))),
            "defaults": (*first.defaults, *second.defaults),
            "missing": tuple(slot for slot in first.missing if slot in second.missing),
            "status": "conflict" if second.status == "conflict" else first.status,
            "ledger": second.ledger.model_copy(update={"entries": tuple(entries)}),
        }
    )


def _is_natural(reading: Reading) -> bool:
    return all(segment.dialect == "natural" for segment in reading.segments)


def profile_of(options: Options) -> Profile:
    """The profile that counts: the caller's, else that of the model."""
    if options.profile is not None:
        return options.profile
    return "image_to_video" if "-i2v-" in options.model or "-flf2v-" in options.model else "text_to_video"


def language_of(form: Form, text: str) -> Language:
    """The language that most of the author's own words are in, else that of the whole text."""
    own = "".join(leaf.value for path, leaf in leaves(form) if isinstance(leaf.value, str) and "negatives" not in path)
    judged = own if any(character.isalpha() for character in own) else text
    letters = [character for character in judged if character.isalpha()]
    return "zh" if sum(map(is_chinese, letters)) * 2 > len(letters) else "en"


def _unchanged(source: str, reading: Reading, options: Options, count_tokens: CountTokens | None) -> Migration:
    text, profile = reading.text, profile_of(options)
    notes = [*_length_notes(length_of(text, count_tokens), profile), *_unread(reading, options)]
    if text != source:
        notes.append("Control characters or unusual Unicode forms were replaced.")
    notes += [
        f"{piece.strip()!r}: a text encoder reads 'no' badly; name {unwanted!r} in the negative prompt instead."
        for piece in re.split(r"[,.;，。；]", text)
        if (unwanted := negation_of(piece)) is not None
    ]
    if profile == "image_to_video" and text.strip():
        notes.append("Plain language is not taken apart: leave out of it what the first picture shows.")
    entries = [
        Entry(path=path, raw=leaf.raw, span=leaf.span, required=leaf.required, fate="kept_exact", after=leaf.raw)
        for path, leaf in leaves(reading.form)
    ]
    missing: tuple[Essential, ...] = () if text.strip() else get_args(Essential)
    return Migration(
        status="unchanged" if text.strip() else "incomplete",
        source=source,
        read=text,
        text=text,
        negative=None,
        request=Request(prompt=text),
        missing=missing,
        conflicts=(),
        notes=tuple(notes),
        defaults=(),
        segments=reading.segments,
        ledger=audit(reading.form, entries if text.strip() else [], text, "", {}, ()) if text.strip() else Ledger(),
        length=length_of(text, count_tokens),
        language=options.language or language_of(reading.form, text),
        profile=profile,
        model=options.model,
        vocabulary=vocabulary().version,
    )


class _Pass:
    """One walk from a reading to a migration."""

    def __init__(self, source: str, reading: Reading, options: Options, *, strict: bool = False) -> None:
        self.source, self.reading, self.options = source, reading, options
        self.form, self.added = _with_defaults(harvest(reading.form), options)
        self.language = options.language or language_of(self.form, reading.text)
        self.profile = profile_of(options)
        self.conflicts = find_conflicts(self.form)
        self.decision = decide(self.conflicts, options.conflicts)
        self.made: Composition = compose(self.form, self.language, self.profile, self.decision, strict=strict)

    def migration(self, count_tokens: CountTokens | None) -> Migration:
        """The result; without a text if contradictions are left open."""
        fields, entries = self._settings()
        unresolved = tuple(self.decision.open)
        text = "" if unresolved else render(self.made, self.language)
        negative, notes = (None, list[str]()) if unresolved else self._negative()
        if unresolved:
            entries = [self._open(entry) for entry in entries]
        ledger = audit(
            self.form, entries, text, negative or "", fields, [*self.made.restated, *(words for _, words in self.added)]
        )
        if unresolved:  # nothing was written, so nothing can be found in it
            ledger = Ledger(entries=ledger.entries)
        length = length_of(text, count_tokens)
        missing = _missing(self.form, self.profile)
        if not text:
            missing = missing or _needed(self.profile)
        status: Status = "conflict" if unresolved else "incomplete" if missing else "complete"
        return Migration(
            status=status,
            source=self.source,
            read=self.reading.text,
            text=text,
            negative=negative,
            request=Request(prompt=text, negative=negative, **fields),
            missing=missing,
            conflicts=unresolved,
            notes=(*notes, *(() if unresolved else self._notes()), *_length_notes(length, self.profile)),
            defaults=tuple(f"{slot}: {words}" for slot, words in self.added),
            segments=self.reading.segments,
            ledger=ledger,
            length=length,
            language=self.language,
            profile=self.profile,
            model=self.options.model,
            vocabulary=vocabulary().version,
        )

    def _settings(self) -> tuple[dict[str, Any], list[Entry]]:
        lost = self.decision.lost
        kept = [(path, leaf) for path, leaf in self.made.parameters if path not in lost]
        fields, moved = settings_of(kept, self.options.model)
        entries = list(self.made.entries)
        for path, leaf in self.made.parameters:
            common: dict[str, Any] = {"path": path, "raw": leaf.raw, "span": leaf.span, "required": leaf.required}
            if path in lost:
                reason = f"contradicts {lost[path]!r}, which was chosen"
                entries.append(Entry(**common, fate="conflict", reason=reason))
            elif moved[path].fields:
                after = ", ".join(f"{name} {_shown(value)}" for name, value in moved[path].fields.items())
                entries.append(Entry(**common, fate="moved_to_request", after=after, reason=moved[path].reason))
            else:
                entries.append(Entry(**common, fate="unsupported", reason=moved[path].reason))
        return fields, entries

    def _open(self, entry: Entry) -> Entry:
        """An entry while contradictions are left open: nothing of the prompt was written."""
        against = next((conflict for conflict in self.decision.open if entry.path in conflict.paths), None)
        if against is not None:
            return entry.model_copy(update={"fate": "conflict", "after": "", "reason": str(against)})
        if entry.fate in ("moved_to_request", "unsupported"):
            return entry
        reason = "nothing is written while parts contradict each other"
        return entry.model_copy(update={"fate": "dropped", "after": "", "reason": reason})

    def _negative(self) -> tuple[str | None, list[str]]:
        """The negative prompt: the author's, or the model's own without what fights this prompt; None: the model's.

        What negations in the prompt do not want is added to either.
        """
        written, unwanted = list(dict.fromkeys(self.made.negatives)), list(dict.fromkeys(self.made.unwanted))
        if written:
            comma = "，" if self.language == "zh" else ", "
            return comma.join([*written, *unwanted]), ["The author's negative prompt replaces the model's own."]
        fights = _fights(self.form)
        default = [word for word in PRESETS[self.options.model].negative.split("，") if word]
        removed = [word for word in default if word in fights]
        if not removed and not unwanted:
            return None, []
        notes = []
        if removed:
            notes.append(
                f"The model's negative prompt is used without {', '.join(removed)}: it would fight this prompt."
            )
        if unwanted:
            notes.append(f"The model's negative prompt is used with {', '.join(unwanted)} added.")
        return "，".join([*(word for word in default if word not in removed), *unwanted]), notes

    def _notes(self) -> list[str]:
        notes = []
        moves = [phrase for phrase in self.made.phrases if phrase.section == "camera"]
        if len(moves) > 1:
            notes.append(f"{len(moves)} camera moves in one clip; one dominant move is followed best.")
        chosen = [conflict for conflict in self.conflicts if conflict not in self.decision.open]
        notes += [f"Contradiction, decided by policy {self.options.conflicts!r}: {conflict}." for conflict in chosen]
        if self.source != self.reading.text:
            notes.append("Control characters or unusual Unicode forms were replaced.")
        scripts = {is_chinese(c) for _, leaf in leaves(self.form) if isinstance(leaf.value, str)
                   for c in leaf.value if c.isalpha() and (is_chinese(c) or c.isascii())}  # fmt: skip
        if len(scripts) > 1:
            notes.append("The prompt mixes Chinese and Latin script.")
        return [*notes, *_unread(self.reading, self.options), *dict.fromkeys(misspelt_notes(self.form))]


def _with_defaults(form: Form, options: Options) -> tuple[Form, tuple[tuple[Essential, str], ...]]:
    """A form with the caller's words where a slot is empty, and those that were used."""
    missing = _missing(form, profile_of(options))
    used = tuple((slot, plain(words)) for slot, words in options.defaults if slot in missing and plain(words))
    if not used:
        return form, ()
    from filmgate.direction.migration.form import Subject

    words: Mapping[Essential, str] = dict(used)
    update: dict[str, Any] = {}
    if "subject" in words:
        update["subjects"] = (Subject(name=Leaf(value=words["subject"], required=False)),)
    if "scene" in words:
        update["scene"] = (Leaf(value=words["scene"], required=False),)
    if "action" in words:
        update["actions"] = (Leaf(value=words["action"], required=False),)
    return form.model_copy(update=update), used


def _missing(form: Form, profile: Profile) -> tuple[Essential, ...]:
    """Slots that a prompt needs and nothing fills. Prose whose parts only its reader can tell apart counts for all."""
    forms = [form, *(beat.content for beat in form.timeline)]
    if any(_tells(leaf) for each in forms for leaf in each.prose):
        return ()
    there = {
        "subject": any(each.subjects for each in forms),
        "scene": any(each.scene for each in forms),
        "action": any(each.actions or (profile == "image_to_video" and each.camera) for each in forms),
    }
    return tuple(slot for slot in _needed(profile) if not there[slot])


def _needed(profile: Profile) -> tuple[Essential, ...]:
    """What the official formulas ask for: entity, scene and motion, or motion alone where a picture has the rest."""
    return ("action",) if profile == "image_to_video" else get_args(Essential)


def _tells(leaf: Leaf[str]) -> bool:
    """Whether prose may hold subject, scene and action: all that an author wrote freely, of values of keys only what is
    as long as a sentence (``mood: melancholic`` tells of nobody)."""
    words = words_in(leaf.value)
    if vocabulary().find_move(leaf.value) is not None:  # of the camera alone
        return False
    return words > 0 and (leaf.dialect not in _STRUCTURED or words >= _SENTENCE)


def _fights(form: Form) -> frozenset[str]:
    """Words that Wan's default negative prompt had better not have for this form."""
    kinds = {move.move.value.kind for move in form.camera}
    kinds |= {move.move.value.kind for beat in form.timeline for move in beat.content.camera}
    asked = set()
    if "static" in kinds:
        asked.add("static")
    if kinds & {"handheld", "shake"}:
        asked.add("shaking")
    if any(isinstance(leaf.value, Term) and leaf.value.name in _PAINTED for leaf in form.style):
        asked.add("painted")
    if form.quoted:
        asked.add("text")
    return frozenset(word for name in asked for word in _FIGHTS[name])


def _unread(reading: Reading, options: Options) -> list[str]:
    """What to say where the dialect that the caller named is not to be found."""
    if options.dialect in (None, "natural") or not reading.text.strip() or not _is_natural(reading):
        return []
    return [f"Nothing in it could be read as {options.dialect}; without a dialect it is found out."]


def _length_notes(length: Length, profile: Profile) -> list[str]:
    notes = []
    if length.words > MOST_WORDS[profile]:
        notes.append(f"{length.words} words; Wan 2.2's own prompts of this kind have at most {MOST_WORDS[profile]}.")
    if length.too_long:
        about = "" if length.exact else "about "
        cut = length.cut if len(length.cut) <= 120 else f"{length.cut[:117]}..."
        unread = f" It would not read: {cut!r}." if cut else ""
        notes.append(first_upper(f"{about}{length.tokens} tokens; the model reads {TEXT_LEN}.{unread}"))
    return notes


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " and ".join(f"{lora.path} at {lora.strength:g}" for lora in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
