"""Named values, of a list of keys or of an object, become parts of the form.

One instance reads one list or object and remembers what later keys may refer to: ``speed: 2.5`` belongs to the camera
move beside it, ``count: 2`` to the subject before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from filmgate.direction.migration.dialects import axes, camera_files, deforum, phrases
from filmgate.direction.migration.dialects.draft import Draft, Slot
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.keys import Context, context_of, is_misspelt, meaning, mentions_camera
from filmgate.direction.migration.dialects.lights import ROLES, is_single, light_field
from filmgate.direction.migration.dialects.moments import moment, span_of_time
from filmgate.direction.migration.dialects.moves import PARTS, in_direction, move_of_parts
from filmgate.direction.migration.dialects.negatives import negative
from filmgate.direction.migration.dialects.parameters import is_setting, parameter
from filmgate.direction.migration.dialects.phrases import COMMA, LIST
from filmgate.direction.migration.dialects.tree import Listing, Mapping, Node, Scalar, text_of
from filmgate.direction.migration.form import Amount, Beat, CameraMove, Dialect, Emphasis, Leaf, Light, Subject
from filmgate.direction.migration.vocabulary import MENDED
from filmgate.direction.migration.vocabulary import Slot as TermSlot

Entries = tuple[tuple[Excerpt, Node], ...]
ReadText = Callable[[Excerpt, Draft], None]
Words = Callable[[Excerpt, Draft], Leaf[str]]
_QUOTATION = "\"“”'‘’「」『』"
_TERM_SLOTS: dict[str, TermSlot] = {
    "shot": "shot", "angle": "angle", "composition": "composition", "time": "time", "tone": "tone", "style": "style",
}  # fmt: skip


class Fields:
    """Reads named values into a draft.

    Args:
        draft: What is added to.
        dialect: Whose words they are.
        read_text: Reads free text, in which other dialects may stand.
        words: The words of a value, weights taken out of it.
    """

    def __init__(self, draft: Draft, dialect: Dialect, read_text: ReadText, words: Words) -> None:
        self.draft = draft
        self.dialect = dialect
        self.read_text = read_text
        self.words = words
        self._waiting: list[tuple[str, Leaf[object]]] = []
        self._clock = 0.0
        self._writers: dict[str, Callable[[Excerpt, Scalar], None]] = {
            "prompt": lambda _, node: self.read_text(node.excerpt, self.draft),
            "negative": lambda _, node: self._pieces("negatives", node.excerpt),
            "subject": lambda _, node: self.draft.add("subjects", Subject(name=self.words(node.excerpt, self.draft))),
            "scene": lambda _, node: self.draft.add("scene", self.words(node.excerpt, self.draft)),
            "action": lambda _, node: self.draft.add("actions", self.words(node.excerpt, self.draft)),
            "camera": lambda _, node: self._camera(node.excerpt),
            "camera.move": self._move,
            "light": lambda _, node: self._light(node.excerpt),
            "lens": lambda _, node: self._terms("lens", node.excerpt, phrases.of_lens),
            "focus": lambda _, node: self._terms("focus", node.excerpt, phrases.of_focus),
            "mood": lambda _, node: self._mood(node.excerpt),
            "quoted": lambda _, node: self._plain("quoted", node.excerpt.strip(_QUOTATION)),
            "audio": lambda _, node: self._plain("audio", node.excerpt),
            "quality": lambda _, node: self._boosters(node.excerpt),
            "timeline": lambda _, node: self._beat(None, node),
        }

    def read_top(self, entries: Entries) -> None:
        """All entries of a list of keys or of the outermost object."""
        entries = camera_files.read_entries(entries, self.draft)
        entries = axes.read_axes(entries, self.draft, self.dialect)
        entries = deforum.read_channels(entries, self.draft)
        if entries and all(key.words.strip().isdecimal() for key, _ in entries):
            self._prompts_by_frame(entries)
        else:
            self.read(entries)

    def read(self, entries: Entries, context: Context = "") -> None:
        """All entries of an object."""
        parts = {self._name(*entry, context): entry[1] for entry in entries} if context == "camera" else {}
        if move := move_of_parts(parts, self.dialect):
            self.draft.add_moves([move])
            entries = tuple(entry for entry in entries if self._name(*entry, context) not in PARTS)
        if context == "light":
            entries = self._light_of_object(entries)
        if context == "subject":
            entries = self._subject_of_object(entries)
        for key, node in entries:
            self.entry(key, node, context)
        self._settle()

    def entry(self, key: Excerpt, node: Node, context: Context = "") -> None:
        """One named value."""
        if isinstance(node, Scalar) and (node.value is None or node.value == ""):
            self._leftover(key, node, required=False)
            return
        if isinstance(node, Mapping) and axes.read_control(key, node, self.draft, self.dialect):
            return
        name = self._name(key, node, context)
        if name is None:
            self._unknown(key, node, context)
        elif name == "comment":
            self._leftover(key, node, required=False)
        elif name == "emphasis":
            self._emphasis(key, node)
        elif name.startswith("parameter."):
            self._parameter(key, name.removeprefix("parameter."), node)
        elif isinstance(node, Scalar):
            self._scalar(name, key, node)
        elif isinstance(node, Listing):
            self._listing(name, key, node)
        else:
            self._mapping(name, key, node)

    # ------------------------------------------------------------------------------------------------ single values

    def _scalar(self, name: str, key: Excerpt, node: Scalar) -> None:
        before = self.draft.changes
        if name in self._writers:
            if isinstance(node.value, bool):
                self._unknown(key, node, "")
                return
            self._writers[name](key, node)
        elif name in _TERM_SLOTS:
            for piece in node.excerpt.split(COMMA):
                self.draft.add(
                    cast("Slot", name), self._sure(key, phrases.term_or_words(_TERM_SLOTS[name], piece, self.dialect))
                )
        elif name.startswith("subject."):
            self._of_subject(name, key, node)
        elif name.startswith("light."):
            self._of_light(name, key, node)
        elif name.startswith("camera."):
            self._of_move(name, key, node)
        else:
            self._leftover(key, node)
        if before == self.draft.changes and not self._waiting:
            self._leftover(key, node)

    def _sure(self, key: Excerpt, leaf: Leaf[object]) -> Leaf[object]:
        """A leaf that is less sure if its key was misspelt."""
        if not is_misspelt(key.words):
            return leaf
        return leaf.model_copy(update={"confidence": min(leaf.confidence, MENDED)})

    def _plain(self, slot: Slot, excerpt: Excerpt) -> None:
        if excerpt.words:
            self.draft.add(slot, excerpt.leaf(excerpt.words, self.dialect))

    def _pieces(self, slot: Slot, excerpt: Excerpt) -> None:
        for piece in excerpt.split(LIST):
            if piece.strip("()").words:
                self.draft.add(
                    slot, self.words(piece, self.draft) if slot != "negatives" else negative(piece, self.dialect)
                )

    def _boosters(self, excerpt: Excerpt) -> None:
        for piece in excerpt.split(LIST):
            self.draft.add("boosters", piece.leaf(piece.words, self.dialect, required=False))

    def _terms(self, slot: TermSlot, excerpt: Excerpt, reader: phrases.Reader) -> None:
        for piece in excerpt.split(COMMA):
            found = phrases.runs(piece, self.dialect, reader)
            if found is None:
                self.draft.add(cast("Slot", slot), piece.leaf(piece.words, self.dialect))
                continue
            for item in found:
                if item.leaf is not None:
                    self.draft.add(cast("Slot", item.slot), item.leaf)

    def _mood(self, excerpt: Excerpt) -> None:
        for piece in excerpt.split(COMMA):
            leaf = phrases.term("tone", piece, self.dialect)
            if leaf is not None:
                self.draft.add("tone", leaf)
            else:
                self._plain("prose", piece)

    # ------------------------------------------------------------------------------------------------------- camera

    def _camera(self, excerpt: Excerpt) -> None:
        """What stands under ``camera``: moves and everything else that a camera has."""
        whole = phrases.moves(excerpt, self.dialect)
        if whole is not None:
            self._add_moves(whole)
            return
        for piece in excerpt.split(LIST):
            several = phrases.moves(piece, self.dialect)
            found = None if several is not None else phrases.runs(piece, self.dialect, phrases.of_camera)
            if several is not None:
                self._add_moves(several)
            elif found is not None:
                self._add_found(found)
            else:
                self.read_text(piece, self.draft)

    def _add_found(self, found: list[phrases.Found]) -> None:
        for item in found:
            if item.slot in ("speed", "easing") and isinstance(item.leaf, Leaf):
                self._attach(item.slot, item.leaf)
            elif isinstance(item.leaf, CameraMove):
                self._add_moves([item.leaf])
            elif item.leaf is not None:
                self.draft.add(cast("Slot", item.slot), item.leaf)

    def _move(self, key: Excerpt, node: Scalar) -> None:
        found = phrases.moves(node.excerpt, self.dialect)
        if found is not None:
            if is_misspelt(key.words):
                found = [m.model_copy(update={"move": self._sure(key, m.move)}) for m in found]
            self._add_moves(found)
        elif mentions_camera(key.words):
            self._camera(node.excerpt)
        else:
            self.draft.add("actions", self.words(node.excerpt, self.draft))

    def _add_moves(self, found: list[CameraMove]) -> None:
        self.draft.add_moves(found)
        waiting, self._waiting = self._waiting, []
        for field, leaf in waiting:
            self._attach(field, leaf)

    def _attach(self, field: str, leaf: Leaf[object]) -> None:
        """Say something of the newest move that nothing was said of yet; it waits if there is no move."""
        move = self.draft.last("camera")
        if not isinstance(move, CameraMove) or getattr(move, field) is not None:
            self._waiting.append((field, leaf))
            return
        self.draft.replace_last("camera", move.model_copy(update={field: leaf}))

    def _settle(self) -> None:
        """What waited for a move in vain is left over."""
        for _, leaf in self._waiting:
            self.draft.add("leftovers", leaf.model_copy(update={"value": leaf.raw}))
        self._waiting = []

    def finish(self) -> None:
        """Call behind the last entry, where :meth:`entry` was called one by one."""
        self._settle()

    def _of_move(self, name: str, key: Excerpt, node: Scalar) -> None:
        field = name.removeprefix("camera.")
        excerpt = node.excerpt
        if field in ("begin", "end"):
            time = moment(excerpt.words)
            if time is None:
                self._leftover(key, node)
            else:
                self._attach(field, excerpt.leaf(time, self.dialect))
        elif field == "easing":
            self._attach(field, phrases.term_or_words("easing", excerpt, self.dialect))
        elif field in ("speed", "magnitude"):
            self._attach(field, self._sure(key, phrases.speed(excerpt, self.dialect)))
        elif field == "direction":
            self._direction(key, node)
        else:
            self._leftover(key, node)

    def _direction(self, key: Excerpt, node: Scalar) -> None:
        """A direction that stands apart from its move."""
        move = self.draft.last("camera")
        turned = None
        if isinstance(move, CameraMove) and move.move.value.direction is None:
            turned = in_direction(move.move.value, node.excerpt)
        if turned is None or not isinstance(move, CameraMove):
            self._leftover(key, node)
            return
        leaf = move.move.model_copy(update={"value": turned})
        self.draft.replace_last("camera", move.model_copy(update={"move": leaf}))

    # -------------------------------------------------------------------------------------------------------- light

    def _light(self, excerpt: Excerpt) -> None:
        for piece in excerpt.split(LIST):
            found = phrases.runs(piece, self.dialect, phrases.of_light)
            if found is None:
                self.draft.add("lights", Light(words=piece.leaf(piece.words, self.dialect)))
                continue
            phrases.add_lights(found, self.draft)

    def _of_light(self, name: str, key: Excerpt, node: Scalar) -> None:
        """A field of a light, in a list of keys: of the newest light that lacks it, or of a new one."""
        if name in ROLES:
            self._light_with_role(name, key, node)
            return
        field, leaf = light_field(name, node, self.dialect)
        light = self.draft.last("lights")
        if isinstance(light, Light) and getattr(light, field) is None:
            self.draft.replace_last("lights", light.model_copy(update={field: leaf}))
        else:
            self.draft.add("lights", Light(**{field: leaf}))  # type: ignore[arg-type]

    def _light_of_object(self, entries: Entries) -> Entries:
        """Make one light of the single values of an object; what is left of the entries."""
        fields: dict[str, Leaf[object]] = {}
        rest: list[tuple[Excerpt, Node]] = []
        for key, node in entries:
            name = self._name(key, node, "light")
            if (
                not isinstance(node, Scalar)
                or not is_single(node)
                or not str(name).startswith("light.")
                or name in ROLES
            ):
                rest.append((key, node))
                continue
            field, leaf = light_field(str(name), node, self.dialect)
            if field in fields:
                rest.append((key, node))
            else:
                fields[field] = self._sure(key, leaf)
        if fields:
            self.draft.add("lights", Light(**fields))  # type: ignore[arg-type]
        return tuple(rest)

    def _light_with_role(self, name: str, key: Excerpt, node: Node) -> None:
        """A light whose key says which it is: ``"key": {"angle": 45}``, ``key_light: soft``."""
        field, value = ROLES[name]
        role = key.leaf(value, self.dialect)
        scratch = Draft()
        inner = Fields(scratch, self.dialect, self.read_text, self.words)
        if isinstance(node, Mapping):
            inner.read(node.entries, "light")
        elif isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            inner._of_light("light.azimuth", key, node)
        elif isinstance(node, Scalar):
            inner._light(node.excerpt)
        else:
            self._unknown(key, node, "light")
            return
        inside = scratch.form()
        first = True
        for light in inside.lights or (Light(),):
            lacks = first and getattr(light, field) is None
            self.draft.add("lights", light.model_copy(update={field: role}) if lacks else light)
            first = False
        others: tuple[Slot, ...] = ("tone", "time", "leftovers")
        for slot in others:
            for leaf in getattr(inside, slot):
                self.draft.add(slot, leaf)

    # ------------------------------------------------------------------------------------------------------ subject

    def _of_subject(self, name: str, key: Excerpt, node: Scalar) -> None:
        subject = self.draft.last("subjects")
        if name == "subject.attributes" and (tone := phrases.term("tone", node.excerpt, self.dialect)):
            self.draft.add("tone", tone)
        elif not isinstance(subject, Subject):
            self._leftover(key, node)
        elif name == "subject.count" and isinstance(node.value, int) and subject.count is None:
            count = node.excerpt.leaf(node.value, self.dialect)
            self.draft.replace_last("subjects", subject.model_copy(update={"count": count}))
        elif name == "subject.attributes":
            found = tuple(self.words(piece, self.draft) for piece in node.excerpt.split(COMMA))
            merged = (*subject.attributes, *found)
            self.draft.replace_last("subjects", subject.model_copy(update={"attributes": merged}))
        else:
            self._leftover(key, node)

    def _subject_of_object(self, entries: Entries) -> Entries:
        """Begin with the name of a subject, wherever in the object it stands."""
        for index, (key, node) in enumerate(entries):
            named = self._name(key, node, "subject") == "subject.name"
            if named and isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
                self.draft.add("subjects", Subject(name=self.words(node.excerpt, self.draft)))
                return (*entries[:index], *entries[index + 1 :])
        return entries

    # --------------------------------------------------------------------------------------------- lists and objects

    def _listing(self, name: str, key: Excerpt, node: Listing) -> None:
        if name == "timeline":
            for item in node.items:
                self._beat(None, item)
            return
        if name == "camera.sequence":
            self._sequence(key, node)
            return
        context = context_of(name)
        for item in node.items:
            if isinstance(item, Mapping):
                self._mapping(name, key, item)
            elif isinstance(item, Listing):
                self._listing(name, key, item)
            elif item.value is not None and item.value != "":
                whole = isinstance(item.value, str) and name in ("subject.attributes", "negative", *_TERM_SLOTS)
                self._item(name, key, item) if whole else self._scalar(name, key, item)
        del context

    def _item(self, name: str, key: Excerpt, item: Scalar) -> None:
        """One entry of a list whose entries are not lists themselves: a comma in it is a comma."""
        if name == "negative":
            self.draft.add("negatives", negative(item.excerpt, self.dialect))
        elif name == "subject.attributes":
            subject = self.draft.last("subjects")
            if isinstance(subject, Subject):
                merged = (*subject.attributes, self.words(item.excerpt, self.draft))
                self.draft.replace_last("subjects", subject.model_copy(update={"attributes": merged}))
            else:
                self._leftover(key, item)
        else:
            self.draft.add(cast("Slot", name), phrases.term_or_words(_TERM_SLOTS[name], item.excerpt, self.dialect))

    def _sequence(self, key: Excerpt, node: Listing) -> None:
        """Groups of moves that follow one another."""
        for item in node.items:
            scratch = Draft()
            inner = Fields(scratch, self.dialect, self.read_text, self.words)
            together = item.items if isinstance(item, Listing) else (item,)
            inner._listing("camera.move", key, Listing(item.excerpt, together))
            inside = scratch.form()
            self.draft.add_moves(list(inside.camera), afterwards=True)
            for leaf in (*inside.actions, *inside.leftovers):
                self.draft.add("leftovers", leaf)

    def _mapping(self, name: str, key: Excerpt, node: Mapping) -> None:
        by_frame = bool(node.entries) and all(inner.words.strip().isdecimal() for inner, _ in node.entries)
        if by_frame and name == "prompt":
            self._prompts_by_frame(node.entries)
        elif by_frame and name == "negative":
            for _, value in node.entries:
                self._pieces("negatives", value.excerpt)
        elif name == "timeline":
            for moment_key, content in node.entries:
                self._beat(moment_key, content)
        elif name in ROLES:
            self._light_with_role(name, key, node)
        elif name == "negative" or context_of(name) or name in ("scene", "prompt", "style", "quality"):
            inner = Fields(self.draft, self.dialect, self.read_text, self.words)
            inner.read(node.entries, context_of(name))
        else:
            for inner_key, value in node.entries:
                if isinstance(value, Scalar) and value.value not in (None, "") and not isinstance(value.value, bool):
                    self._scalar(name, inner_key, value)
                else:
                    self.entry(inner_key, value)

    def _prompts_by_frame(self, entries: Entries) -> None:
        """``{"0": "...", "30": "..."}``: prompts with the frames from which they hold."""
        if len(entries) == 1 and isinstance(entries[0][1], Scalar):
            self.read_text(entries[0][1].excerpt, self.draft)
            return
        for key, node in entries:
            scratch = Draft()
            if isinstance(node, Scalar) and node.value is not None:
                self.read_text(node.excerpt, scratch)
            begin = key.leaf(Amount(value=float(key.words), unit="frame"), self.dialect)
            self.draft.add("timeline", Beat(content=scratch.form(), begin=begin))

    def _beat(self, when: Excerpt | None, node: Node) -> None:
        """A stretch of the timeline: an object, or text with the time as its key."""
        scratch = Draft()
        inner = Fields(scratch, self.dialect, self.read_text, self.words)
        begin = end = None
        if when is not None:
            begin, end = span_of_time(when, self.dialect)
        entries: list[tuple[Excerpt, Node]] = []
        for key, value in node.entries if isinstance(node, Mapping) else ():
            name = meaning(key.words, "beat", numeric=_is_numeric(value))
            time = moment(value.excerpt.words) if isinstance(value, Scalar) else None
            if name == "beat.begin" and isinstance(value, Scalar) and begin is None:
                begin, later = span_of_time(value.excerpt, self.dialect)
                end = later or end
                if begin is not None:
                    continue
            elif name == "beat.end" and time is not None and end is None:
                end = value.excerpt.leaf(time, self.dialect)
                continue
            elif name == "beat.length" and time is not None and time.unit == "s" and end is None:
                start = begin.value.value if begin is not None and begin.value.unit == "s" else self._clock
                begin = begin or value.excerpt.leaf(Amount(value=start, unit="s"), self.dialect)
                end = value.excerpt.leaf(Amount(value=start + time.value, unit="s"), self.dialect)
                continue
            entries.append((key, value))
        if end is not None and end.value.unit == "s":
            self._clock = end.value.value
        if isinstance(node, Scalar):
            self.read_text(node.excerpt, scratch)
        elif isinstance(node, Listing):
            inner._listing("prompt", node.excerpt, node)
        else:
            inner.read(tuple(entries), "beat")
        self.draft.add("timeline", Beat(content=scratch.form(), begin=begin, end=end))

    # ------------------------------------------------------------------------------------------------------- others

    def _parameter(self, key: Excerpt, name: str, node: Node) -> None:
        for leaf in parameter(name, node, self.dialect):
            self.draft.add("parameters", leaf)
        if not any(True for _ in parameter(name, node, self.dialect)):
            self._leftover(key, node)

    def _emphasis(self, key: Excerpt, node: Node) -> None:
        """``"emphasis": [{"words": "red", "weight": 1.3}]`` or ``{"red": 1.3}``."""
        items = node.items if isinstance(node, Listing) else (node,)
        for item in items:
            if not isinstance(item, Mapping):
                self._leftover(key, node)
                return
            named = {inner.words: value for inner, value in item.entries}
            words, weight = named.get("words"), named.get("weight")
            if isinstance(words, Scalar) and isinstance(words.value, str) and is_number(weight):
                pairs = [(words.value, weight)]
            else:
                pairs = [(inner.words, value) for inner, value in item.entries]
            for text, value in pairs:
                if isinstance(value, Scalar) and is_number(value):
                    emphasis = Emphasis(words=text, weight=float(cast("float", value.value)))
                    self.draft.add("emphasis", value.excerpt.leaf(emphasis, self.dialect))
                else:
                    self._leftover(key, node)

    def _unknown(self, key: Excerpt, node: Node, context: Context) -> None:
        """A key that is not in the vocabulary: a camera move that is switched on, or left over."""
        found = phrases.moves(key, self.dialect) if isinstance(node, Scalar) else None
        if (
            found is not None
            and len(found) == 1
            and isinstance(node, Scalar)
            and (context == "camera" or _is_move(key))
        ):
            if node.value is True:
                self._add_moves(found)
                return
            if is_number(node) and float(cast("float", node.value)) != 0:
                move = found[0].model_copy(update={"speed": phrases.speed(node.excerpt, self.dialect)})
                self._add_moves([move])
                return
        if isinstance(node, Mapping):
            inner = Fields(self.draft, self.dialect, self.read_text, self.words)
            inner.read(node.entries, context)
            return
        self._leftover(key, node)

    def _leftover(self, key: Excerpt, node: Node, *, required: bool = True) -> None:
        same = key.whole is node.excerpt.whole and key.decoded is None and key.start <= node.excerpt.end
        place = Excerpt(key.whole, key.start, node.excerpt.end) if same else node.excerpt
        required = required and not (isinstance(node, Scalar) and node.value is False)
        text = f"{key.words}: {text_of(node)}"
        self.draft.add("leftovers", place.leaf(text, self.dialect, required=required))

    def _name(self, key: Excerpt, node: Node, context: Context) -> str | None:
        return meaning(key.words, context, numeric=_is_numeric(node))


def is_number(node: Node | None) -> bool:
    """Whether a node is a number; true and false are none."""
    return isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def _is_numeric(node: Node) -> bool:
    return isinstance(node, Scalar) and (is_number(node) or (isinstance(node.value, str) and is_setting(node.value)))


def _is_move(key: Excerpt) -> bool:
    """Whether a key alone names a move with its direction, such as ``pan_left``."""
    return "_" in key.words or "-" in key.words or " " in key.words.strip()
