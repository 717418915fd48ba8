"""Named values, of a list of keys or of an object, become parts of the form: lists, objects and what they nest."""

from __future__ import annotations

from typing import cast

from filmgate.direction.migration.dialects import axes, camera_files, deforum
from filmgate.direction.migration.dialects.draft import Draft, Slot
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.keys import Context, context_of, meaning, plain
from filmgate.direction.migration.dialects.lights import ROLES, is_single, light_field
from filmgate.direction.migration.dialects.moments import moment, span_of_time
from filmgate.direction.migration.dialects.moves import PARTS, move_of_parts
from filmgate.direction.migration.dialects.negatives import negative
from filmgate.direction.migration.dialects.parameters import parameter
from filmgate.direction.migration.dialects.tree import Listing, Mapping, Node, Scalar, is_number
from filmgate.direction.migration.dialects.values import TERM_SLOTS, Values, is_numeric
from filmgate.direction.migration.form import Amount, Beat, Emphasis, Leaf, Light, Subject

Entries = tuple[tuple[Excerpt, Node], ...]
_ITSELF = frozenset({"type", "size", "name", "kind", "value", "description", "类型"})
"""Keys inside of ``"shot": {...}`` that say the shot itself."""
_OF_ONE_KIND = frozenset({"audio", "negative", "quality", "quoted"})
"""Fields in which every value says the same kind of thing, whatever its key."""
_ON = ("on", "yes", "enabled", "true", "开")


def nested(entries: Entries, context: Context = "") -> Entries:
    """Entries in which ``camera.move`` and ``camera.speed`` next to each other have become one object ``camera``."""
    made: list[tuple[Excerpt, Node]] = []
    index = 0
    while index < len(entries):
        first = _first_part(entries[index][0], context)
        stop = index + 1
        while first is not None and stop < len(entries) and _first_part(entries[stop][0], context) == first:
            stop += 1
        made.append(entries[index] if first is None else _object(entries[index:stop]))
        index = stop
    return tuple(made)


def _first_part(key: Excerpt, context: Context) -> str | None:
    """What stands before the first dot of a key, if that is a kind of object, or one light of several."""
    first, dot, rest = key.words.partition(".")
    name = meaning(first, context, numeric=False) if dot and rest else None
    return first if (context_of(name) if not context else name in ROLES) else None


def _object(entries: Entries) -> tuple[Excerpt, Node]:
    """Entries with the same first part of their keys as one."""
    key, last = entries[0][0], entries[-1][1]
    cut = key.words.index(".")
    inner = tuple((name.part(name.words.index(".") + 1, len(name.words)), node) for name, node in entries)
    whole = Excerpt(key.whole, key.start, max(last.excerpt.end, key.end))
    return key.part(0, cut), Mapping(whole, inner)


class Fields(Values):
    """Reads named values into a draft; see :class:`~filmgate.direction.migration.dialects.values.Values`."""

    _clock = 0.0
    """Seconds at which the newest stretch of a timeline ended."""

    def inner(self, draft: Draft) -> Fields:
        """A reader of what is nested, which refers to nothing outside."""
        return Fields(draft, self.dialect, self.read_text, self.words)

    def read_top(self, entries: Entries) -> None:
        """All entries of a list of keys or of the outermost object."""
        entries = nested(entries)
        if self.dialect == "kling":
            entries = self._of_kling(entries)
        entries = camera_files.read_entries(entries, self.draft)
        entries = axes.read_axes(entries, self.draft, self.dialect)
        entries = deforum.read_channels(entries, self.draft)
        if entries and all(key.words.strip().isdecimal() for key, _ in entries):
            self._prompts_by_frame(entries)
        else:
            self.read(entries)

    def _of_kling(self, entries: Entries) -> Entries:
        """Kling's own settings, which only sound like ours: its ``cfg_scale`` runs from 0 to 1."""
        for key, node in entries:
            if plain(key.words) in axes.KLING_SETTINGS:
                self.leftover(key, node, required=plain(key.words) == "cfg scale")
        return tuple(entry for entry in entries if plain(entry[0].words) not in axes.KLING_SETTINGS)

    def read(self, entries: Entries, context: Context = "") -> None:
        """All entries of an object."""
        entries = nested(entries, context) if context == "light" else entries
        parts = {self.name_of(*entry, context): entry[1] for entry in entries} if context == "camera" else {}
        if move := move_of_parts(parts, self.dialect):
            self.draft.add_moves([move])
            entries = tuple(entry for entry in entries if self.name_of(*entry, context) not in PARTS)
        if context == "light":
            entries = self._light_of_object(entries)
        if context == "subject":
            entries = self._subject_of_object(entries)
        for key, node in entries:
            self.entry(key, node, context)
        self.settle()

    def entry(self, key: Excerpt, node: Node, context: Context = "") -> None:
        """One named value."""
        if isinstance(node, Scalar) and (node.value is None or node.value == ""):
            self.leftover(key, node, required=False)
            return
        if isinstance(node, Mapping) and axes.read_control(key, node, self.draft, self.dialect):
            return
        name = self.name_of(key, node, context)
        if name is None and isinstance(node, Mapping):
            self.inner(self.draft).read(node.entries, context)
        elif name is None:
            self.unknown(key, node, context)
        elif name == "comment":
            self.leftover(key, node, required=False)
        elif name == "emphasis":
            self._emphasis(key, node)
        elif name.startswith("parameter."):
            self._parameter(key, name.removeprefix("parameter."), node)
        else:
            self.named(name, key, node)

    def named(self, name: str, key: Excerpt, node: Node) -> None:
        """A value of any kind whose key has a canonical name."""
        if name in ROLES:
            self._light_with_role(name, key, node)
        elif name == "timeline" and isinstance(node, Scalar):
            self._beat(None, node)
        elif isinstance(node, Scalar):
            self.scalar(name, key, node)
        elif isinstance(node, Listing):
            self._listing(name, key, node)
        else:
            self._mapping(name, node)

    def _listing(self, name: str, key: Excerpt, node: Listing) -> None:
        if name == "camera.sequence":
            self._sequence(key, node)
            return
        for item in node.items:
            if name == "timeline":
                self._beat(None, item)
            elif not isinstance(item, Scalar):
                self.named(name, key, item)
            elif item.value is not None and item.value != "":
                self._item(name, key, item)

    def _item(self, name: str, key: Excerpt, item: Scalar) -> None:
        """One entry of a list: a comma in it is a comma where the whole list could have been one text."""
        if not isinstance(item.value, str):
            self.scalar(name, key, item)
        elif name == "negative":
            self.draft.add("negatives", negative(item.excerpt, self.dialect))
        elif name in TERM_SLOTS:
            self.term_of(name, key, item.excerpt)
        elif name != "subject.attributes" or not self.attributes((item.excerpt,)):
            self.scalar(name, key, item)

    def _sequence(self, key: Excerpt, node: Listing) -> None:
        """Groups of moves that follow one another."""
        for item in node.items:
            scratch = Draft()
            together = item.items if isinstance(item, Listing) else (item,)
            self.inner(scratch)._listing("camera.move", key, Listing(item.excerpt, together))
            inside = scratch.form()
            self.draft.add_moves(list(inside.camera), afterwards=True)
            for leaf in (*inside.actions, *inside.leftovers):
                self.draft.add("leftovers", leaf)

    def _mapping(self, name: str, node: Mapping) -> None:
        by_frame = bool(node.entries) and all(inner.words.strip().isdecimal() for inner, _ in node.entries)
        if by_frame and name == "prompt":
            self._prompts_by_frame(node.entries)
        elif by_frame and name == "negative":
            for _, value in node.entries:
                self.negatives(value.excerpt)
        elif name == "timeline":
            for when, content in node.entries:
                self._beat(when, content)
        else:
            context: Context = "camera" if name in ("shot", "angle", "composition") else context_of(name)
            own = tuple(
                entry for entry in node.entries if context and name in TERM_SLOTS and plain(entry[0].words) in _ITSELF
            )
            for inner_key, value in own:
                self.named(name, inner_key, value)
            for inner_key, value in node.entries if not context else ():
                known = name not in _OF_ONE_KIND and self.name_of(inner_key, value, "") is not None
                single = isinstance(value, Scalar) and isinstance(value.value, str) and value.value != ""
                if known or not single:
                    self.entry(inner_key, value)
                else:
                    self.named(name, inner_key, value)
            if context:
                rest = tuple(entry for entry in node.entries if entry not in own)
                self.inner(self.draft).read(rest, context)

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
        begin, end = span_of_time(when, self.dialect) if when is not None else (None, None)
        if isinstance(node, Mapping):
            begin, end, entries = self._times(node.entries, begin, end)
            self.inner(scratch).read(entries, "beat")
        elif isinstance(node, Listing):
            self.inner(scratch)._listing("prompt", node.excerpt, node)
        else:
            self.read_text(node.excerpt, scratch)
        if end is not None and end.value.unit == "s":
            self._clock = end.value.value
        self.draft.add("timeline", Beat(content=scratch.form(), begin=begin, end=end))

    def _times(
        self, entries: Entries, begin: Leaf[Amount] | None, end: Leaf[Amount] | None
    ) -> tuple[Leaf[Amount] | None, Leaf[Amount] | None, Entries]:
        """Beginning and end of a stretch that is an object, and what else is in it."""
        rest: list[tuple[Excerpt, Node]] = []
        for key, value in entries:
            name = meaning(key.words, "beat", numeric=is_numeric(value))
            time = moment(value.excerpt.words) if isinstance(value, Scalar) else None
            if name == "beat.begin" and begin is None and isinstance(value, Scalar):
                begin, later = span_of_time(value.excerpt, self.dialect)
                end = later or end
                if begin is None:
                    rest.append((key, value))
            elif name == "beat.end" and end is None and time is not None:
                end = value.excerpt.leaf(time, self.dialect)
            elif name == "beat.length" and end is None and time is not None and time.unit == "s":
                start = begin.value.value if begin is not None and begin.value.unit == "s" else self._clock
                begin = begin or value.excerpt.leaf(Amount(value=start, unit="s"), self.dialect)
                end = value.excerpt.leaf(Amount(value=start + time.value, unit="s"), self.dialect)
            else:
                rest.append((key, value))
        return begin, end, tuple(rest)

    def _light_of_object(self, entries: Entries) -> Entries:
        """Make one light of the single values of an object; what is left of the entries."""
        fields: dict[str, Leaf[object]] = {}
        rest: list[tuple[Excerpt, Node]] = []
        for key, node in entries:
            name = self.name_of(key, node, "light")
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
                fields[field] = self.sure(key, leaf)
        if fields:
            self.draft.add("lights", Light(**fields))  # type: ignore[arg-type]
        return tuple(rest)

    def _light_with_role(self, name: str, key: Excerpt, node: Node) -> None:
        """A light whose key says which it is: ``"key": {"angle": 45}``, ``key_light: soft``, ``rim_light: on``."""
        field, value = ROLES[name]
        role = key.leaf(value, self.dialect)
        scratch = Draft()
        inner = self.inner(scratch)
        if isinstance(node, Mapping):
            inner.read(node.entries, "light")
        elif isinstance(node, Listing) or node.value is False:
            self.unknown(key, node, "light")
            return
        elif is_number(node):
            inner.of_light("light.azimuth", node)
        elif node.value is not True and str(node.value).lower() not in _ON:
            inner.light(node.excerpt)
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

    def _subject_of_object(self, entries: Entries) -> Entries:
        """Begin with the name of a subject, wherever in the object it stands."""
        for index, (key, node) in enumerate(entries):
            named = self.name_of(key, node, "subject") == "subject.name"
            if named and isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
                self.draft.add("subjects", Subject(name=self.words(node.excerpt, self.draft)))
                return (*entries[:index], *entries[index + 1 :])
        return entries

    def _parameter(self, key: Excerpt, name: str, node: Node) -> None:
        found = parameter(name, node, self.dialect)
        for leaf in found:
            self.draft.add("parameters", leaf)
        if not found:
            self.leftover(key, node)

    def _emphasis(self, key: Excerpt, node: Node) -> None:
        """``"emphasis": [{"words": "red", "weight": 1.3}]`` or ``{"red": 1.3}``."""
        for item in node.items if isinstance(node, Listing) else (node,):
            named = {inner.words: value for inner, value in item.entries} if isinstance(item, Mapping) else {}
            words = named.get("words")
            if isinstance(words, Scalar) and is_number(named.get("weight")):
                named = {str(words.value): named["weight"]}
            for text, value in named.items():
                if isinstance(value, Scalar) and is_number(value):
                    emphasis = Emphasis(words=text, weight=float(cast("float", value.value)))
                    self.draft.add("emphasis", value.excerpt.leaf(emphasis, self.dialect))
                else:
                    self.leftover(key, node)
            if not named:
                self.leftover(key, node)
