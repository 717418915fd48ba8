"""Single values of named fields become parts of the form.

One instance reads one list or object and remembers what later keys may refer to: ``speed: 2.5`` belongs to the camera
move beside it, ``count: 2`` to the subject before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from filmgate.direction.migration.dialects import phrases
from filmgate.direction.migration.dialects.draft import Draft, Slot
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.keys import Context, is_misspelt, meaning, mentions_camera
from filmgate.direction.migration.dialects.lights import light_field
from filmgate.direction.migration.dialects.moments import moment
from filmgate.direction.migration.dialects.moves import in_direction
from filmgate.direction.migration.dialects.negatives import negative
from filmgate.direction.migration.dialects.parameters import is_setting
from filmgate.direction.migration.dialects.phrases import COMMA, LIST
from filmgate.direction.migration.dialects.tree import Node, Scalar, is_number, text_of
from filmgate.direction.migration.form import CameraMove, Dialect, Leaf, Light, Subject
from filmgate.direction.migration.vocabulary import MENDED
from filmgate.direction.migration.vocabulary import Slot as TermSlot

ReadText = Callable[[Excerpt, Draft], None]
Words = Callable[[Excerpt, Draft], Leaf[str]]
TERM_SLOTS: dict[str, TermSlot] = {
    "shot": "shot", "angle": "angle", "composition": "composition", "time": "time", "tone": "tone", "style": "style",
}  # fmt: skip
_OF_CAMERAS = frozenset({"shot", "angle", "composition"})
_TITLES = ("text", "caption")
_QUOTATION = "\"“”'‘’「」『』"


class Values:
    """Reads single values into a draft.

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
        self._readers: dict[str, Callable[[Excerpt, Scalar], None]] = {
            "prompt": self._prompt,
            "negative": lambda _, node: self.negatives(node.excerpt),
            "subject": lambda _, node: self.draft.add("subjects", Subject(name=self.words(node.excerpt, self.draft))),
            "scene": lambda _, node: self.draft.add("scene", self.words(node.excerpt, self.draft)),
            "action": lambda _, node: self.draft.add("actions", self.words(node.excerpt, self.draft)),
            "camera": lambda _, node: self._camera(node.excerpt),
            "camera.move": self._move,
            "light": lambda _, node: self.light(node.excerpt),
            "lens": lambda _, node: self._terms("lens", node.excerpt, phrases.of_lens),
            "focus": lambda _, node: self._terms("focus", node.excerpt, phrases.of_focus),
            "mood": lambda _, node: self._mood(node.excerpt),
            "quoted": lambda _, node: self._plain("quoted", node.excerpt.strip(_QUOTATION)),
            "audio": lambda _, node: self._plain("audio", node.excerpt),
            "quality": lambda _, node: self._boosters(node.excerpt),
        }

    def scalar(self, name: str, key: Excerpt, node: Scalar) -> None:
        """A value whose key has a canonical name."""
        before = self.draft.changes + len(self._waiting)
        if isinstance(node.value, bool):
            self.unknown(key, node, "")
        elif name in self._readers:
            self._readers[name](key, node)
        elif name in TERM_SLOTS:
            for piece in node.excerpt.split(COMMA):
                self.term_of(name, key, piece)
        elif name.startswith("subject."):
            self._of_subject(name, key, node)
        elif name.startswith("light."):
            self.of_light(name, node)
        elif name.startswith("camera."):
            self._of_move(name, key, node)
        if before == self.draft.changes + len(self._waiting):
            self.leftover(key, node)

    def settle(self) -> None:
        """Call behind the last value: what waited for a camera move in vain is left over.

        What says otherwise of the newest move stands beside it, as the same move once more.
        """
        move = self.draft.last("camera")
        for field, leaf in self._waiting:
            said = getattr(move, field) if isinstance(move, CameraMove) else None
            if isinstance(move, CameraMove) and said is not None and said.value != leaf.value:
                self.draft.add("camera", move.model_copy(update={field: leaf}))
            else:
                self.draft.add("leftovers", leaf.model_copy(update={"value": f"{field}: {leaf.raw}"}))
        self._waiting = []

    def unknown(self, key: Excerpt, node: Node, context: Context) -> None:
        """A key that is not in the vocabulary: a camera move with its direction or number, or left over."""
        found = phrases.moves(key, self.dialect) if isinstance(node, Scalar) else None
        if (
            found is not None
            and len(found) == 1
            and isinstance(node, Scalar)
            and (context == "camera" or _is_move(key))
        ):
            move = found[0]
            turned = in_direction(move.move.value, node.excerpt) if isinstance(node.value, str) else None
            if turned is not None:
                leaf = move.move.model_copy(update={"value": turned})
                self.add_moves([move.model_copy(update={"move": leaf})])
                return
            if node.value is True:
                self.add_moves(found)
                return
            if is_number(node) and float(cast("float", node.value)) > 0:
                self.add_moves([move.model_copy(update={"speed": phrases.speed(node.excerpt, self.dialect)})])
                return
        self.leftover(key, node)

    def leftover(self, key: Excerpt, node: Node, *, required: bool = True) -> None:
        """What no slot fits, with its key."""
        same = key.whole is node.excerpt.whole and key.decoded is None and key.start <= node.excerpt.end
        place = Excerpt(key.whole, key.start, node.excerpt.end) if same else node.excerpt
        required = required and not (isinstance(node, Scalar) and node.value is False)
        text = f"{key.words}: {text_of(node)}"
        self.draft.add("leftovers", place.leaf(text, self.dialect, required=required))

    def name_of(self, key: Excerpt, node: Node, context: Context) -> str | None:
        """The canonical name of a key in an object of a kind."""
        return meaning(key.words, context, numeric=is_numeric(node))

    def sure(self, key: Excerpt, leaf: Leaf[object]) -> Leaf[object]:
        """A leaf that is less sure if its key was misspelt."""
        if not is_misspelt(key.words):
            return leaf
        return leaf.model_copy(update={"confidence": min(leaf.confidence, MENDED)})

    def term_of(self, name: str, key: Excerpt, piece: Excerpt) -> None:
        """A term of the key's slot, or of another one if it can only be that, or the author's words."""
        own = phrases.term(TERM_SLOTS[name], piece, self.dialect)
        other = phrases.tag(piece, self.dialect) if own is None else None
        found = None
        if own is None and other is None and name in _OF_CAMERAS:
            found = phrases.runs(piece, self.dialect, phrases.of_camera)
        if found is not None:
            self._add_found(found)
        elif other is not None and phrases.is_of_light(other[0]):
            self.draft.add("lights", phrases.light_of_term(*other))
        elif other is not None:
            self.draft.add(cast("Slot", other[0]), other[1])
        else:
            self.draft.add(cast("Slot", name), self.sure(key, own or piece.leaf(piece.words, self.dialect)))

    def negatives(self, excerpt: Excerpt) -> None:
        """A list of unwanted things."""
        for piece in excerpt.split(LIST):
            if piece.strip("()").words:
                self.draft.add("negatives", negative(piece, self.dialect))

    def _plain(self, slot: Slot, excerpt: Excerpt) -> None:
        if excerpt.words:
            self.draft.add(slot, excerpt.leaf(excerpt.words, self.dialect))

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

    def _prompt(self, key: Excerpt, node: Scalar) -> None:
        """A prompt within a list; but ``text: "SALE"`` in a list of keys is what shall be read in the picture."""
        place = node.excerpt
        in_quotes = place.raw[:1] in _QUOTATION or place.whole[max(place.start - 1, 0) : place.start] in _QUOTATION
        if self.dialect == "key_value" and key.words.strip().lower() in _TITLES and in_quotes and place.words.strip():
            self._plain("quoted", place.strip(_QUOTATION))
        else:
            self.read_text(place, self.draft)

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
            self.add_moves(whole)
            return
        for piece in excerpt.split(LIST):
            several = phrases.moves(piece, self.dialect)
            found = None if several is not None else phrases.runs(piece, self.dialect, phrases.of_camera)
            if several is not None:
                self.add_moves(several)
            elif found is not None:
                self._add_found(found)
            else:
                self.read_text(piece, self.draft)

    def _add_found(self, found: list[phrases.Found]) -> None:
        for item in found:
            if item.slot in ("speed", "magnitude", "easing") and isinstance(item.leaf, Leaf):
                self._attach(item.slot, item.leaf)
            elif isinstance(item.leaf, CameraMove):
                self.add_moves([item.leaf])
            elif item.leaf is not None:
                self.draft.add(cast("Slot", item.slot), item.leaf)

    def _move(self, key: Excerpt, node: Scalar) -> None:
        found = phrases.moves(node.excerpt, self.dialect)
        if found is not None:
            if is_misspelt(key.words):
                found = [m.model_copy(update={"move": self.sure(key, m.move)}) for m in found]
            self.add_moves(found)
        elif mentions_camera(key.words):
            self._camera(node.excerpt)
        else:
            self.draft.add("actions", self.words(node.excerpt, self.draft))

    def add_moves(self, found: list[CameraMove]) -> None:
        """Camera moves, of which something may have been said already."""
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

    def _of_move(self, name: str, key: Excerpt, node: Scalar) -> None:
        field = name.removeprefix("camera.")
        excerpt = node.excerpt
        if field in ("begin", "end"):
            time = moment(excerpt.words)
            if time is not None:
                self._attach(field, excerpt.leaf(time, self.dialect))
        elif field == "easing":
            self._attach(field, phrases.term_or_words("easing", excerpt, self.dialect))
        elif field in ("speed", "magnitude"):
            self._attach(field, self.sure(key, phrases.speed(excerpt, self.dialect)))
        elif field == "direction":
            self._direction(node)

    def _direction(self, node: Scalar) -> None:
        """A direction that stands apart from its move."""
        move = self.draft.last("camera")
        turned = in_direction(move.move.value, node.excerpt) if isinstance(move, CameraMove) else None
        if turned is None or not isinstance(move, CameraMove):
            return
        if move.move.value.direction in (None, turned.direction):
            leaf = move.move.model_copy(update={"value": turned})
            self.draft.replace_last("camera", move.model_copy(update={"move": leaf}))
        else:
            self.draft.add("camera", CameraMove(move=node.excerpt.leaf(turned, self.dialect), group=move.group))

    # ------------------------------------------------------------------------------------------------ light, subject

    def light(self, excerpt: Excerpt) -> None:
        """Lights in words."""
        for piece in excerpt.split(LIST):
            found = phrases.runs(piece, self.dialect, phrases.of_light)
            if found is None:
                self.draft.add("lights", Light(words=piece.leaf(piece.words, self.dialect)))
                continue
            phrases.add_lights(found, self.draft)

    def of_light(self, name: str, node: Scalar) -> None:
        """A field of a light, in a list of keys: of the newest light that lacks it, or of a new one."""
        field, leaf = light_field(name, node, self.dialect)
        light = self.draft.last("lights")
        if isinstance(light, Light) and getattr(light, field) is None:
            self.draft.replace_last("lights", light.model_copy(update={field: leaf}))
        else:
            self.draft.add("lights", Light(**{field: leaf}))  # type: ignore[arg-type]

    def _of_subject(self, name: str, key: Excerpt, node: Scalar) -> None:
        subject = self.draft.last("subjects")
        if name == "subject.attributes" and (tone := phrases.term("tone", node.excerpt, self.dialect)):
            self.draft.add("tone", tone)
        elif name == "subject.name" and "." in key.words:
            self.draft.add("subjects", Subject(name=self.words(node.excerpt, self.draft)))
        elif not isinstance(subject, Subject):
            return
        elif name == "subject.count" and isinstance(node.value, int) and subject.count is None:
            count = node.excerpt.leaf(node.value, self.dialect)
            self.draft.replace_last("subjects", subject.model_copy(update={"count": count}))
        elif name == "subject.attributes":
            self.attributes(tuple(node.excerpt.split(COMMA)))

    def attributes(self, pieces: tuple[Excerpt, ...]) -> bool:
        """Attributes of the newest subject; False if there is none."""
        subject = self.draft.last("subjects")
        if not isinstance(subject, Subject):
            return False
        found = (*subject.attributes, *(self.words(piece, self.draft) for piece in pieces))
        self.draft.replace_last("subjects", subject.model_copy(update={"attributes": found}))
        return True


def is_numeric(node: Node) -> bool:
    """Whether a node is a number, or text that is one with a unit."""
    return isinstance(node, Scalar) and (is_number(node) or (isinstance(node.value, str) and is_setting(node.value)))


def _is_move(key: Excerpt) -> bool:
    """Whether a key alone names a move with its direction, such as ``pan_left``."""
    return "_" in key.words or "-" in key.words or " " in key.words.strip()
