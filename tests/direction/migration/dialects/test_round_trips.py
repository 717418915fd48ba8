"""2,000 sampled forms are written in every dialect and read back: every slot comes back whole, F1 = 1.0."""

import pytest
from tests.direction.migration.dialects import sampling

from filmgate.direction.migration.dialects import read
from filmgate.direction.migration.dialects.amounts import read_amount, write_amount
from filmgate.direction.migration.dialects.writers import WRITERS
from filmgate.direction.migration.dialects.written_cameras import MINIMAX
from filmgate.direction.migration.form import Amount, CameraMove, Form, Leaf, Move, slots
from filmgate.direction.migration.vocabulary import SLOTS, vocabulary

FORMS = 2000
MOST_TRIES = 12 * FORMS
_TRAVEL = ("truck", "pedestal", "dolly")
_AXES = ("truck", "pedestal", "pan", "tilt", "roll", "zoom", "dolly")


def _moves(*kinds: str) -> tuple[Move, ...]:
    return tuple(move for move in sampling.MOVES if move.kind in kinds and move.direction is not None)


SAMPLED: dict[str, tuple[tuple[Move, ...], str]] = {
    "minimax": (tuple(Move(kind=kind, direction=direction) for kind, direction, _ in MINIMAX), ""),
    "kling": (_moves(*_AXES), "axes"),
    "runway": (_moves(*_AXES), "axes"),
    "deforum": (_moves(*_AXES), "frames"),
    "wangp": (sampling.MOVES, "seconds"),
    "camera_files": (_moves(*_TRAVEL, "roll"), "directions"),
    "camera_directions": (_moves(*_TRAVEL), "directions"),
}
"""Moves and scales of the dialects that know few of them."""


def kept_forms(name: str) -> tuple[Form, ...]:
    """2,000 different forms that have something to say in a dialect, drawn with a sampler of its own."""
    moves, scale = SAMPLED.get(name, (sampling.MOVES, ""))
    sampler = sampling.Sampler(7, moves, scale)
    found: dict[str, Form] = {}
    for _ in range(MOST_TRIES):
        kept = WRITERS[name].keep(sampler.form(fragments=name == "weighted"))
        if slots(kept) and (name != "weighted" or of_its_own(name, kept)):  # bare tags are prose, not cut at commas
            found.setdefault(repr(slots(kept)), kept)
        if len(found) == FORMS:
            break
    return tuple(found.values())


def forms(count: int) -> tuple[Form, ...]:
    """Forms that are drawn without regard to dialects."""
    sampler = sampling.Sampler(7)
    return tuple(sampler.form() for _ in range(count))


OF_ITS_OWN = {
    "weighted": lambda form: form.emphasis or len(form.boosters) > 1 or form.parameters,
    "negative_list": lambda form: form.negatives,
    "midjourney": lambda form: form.emphasis or form.parameters,
    "natural": lambda _: False,
    "minimax": lambda form: form.camera,
    "camera_files": lambda form: form.camera,
    "camera_directions": lambda form: form.camera,
    "deforum": lambda form: form.camera or form.timeline,
}
"""Whether a form has anything that only its dialect writes, so that the text cannot be taken for prose."""


def of_its_own(name: str, form: Form) -> bool:
    """The same for every dialect; the others never look like prose."""
    return bool(OF_ITS_OWN.get(name, lambda _: True)(form))


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_read(name):
    writer = WRITERS[name]
    sample = kept_forms(name)
    assert len(sample) == FORMS
    for kept in sample:
        text = writer.write(kept)
        reading = read(text)
        scores = sampling.scores(kept, reading.form)
        assert set(scores.values()) == {1.0}, (scores, text)
        if of_its_own(name, kept):
            assert writer.dialect in {segment.dialect for segment in reading.segments}, text


def test_the_sample_holds_every_slot_and_every_word():
    found: dict[str, set[str]] = {}
    for form in forms(FORMS):
        for slot, values in slots(form).items():
            found.setdefault(slot, set()).update(map(repr, values))
    for name in Form.model_fields:
        assert name == "leftovers" or any(slot.startswith(name) for slot in found), name
    names = {repr(Move(kind=move.kind, direction=move.direction)) for move in sampling.MOVES}
    assert names <= found["camera[].move"]
    for slot in SLOTS:
        where = {"light_angle": "lights[].angle", "easing": "camera[].easing"}.get(
            slot, f"lights[].{slot}" if slot in ("source", "quality", "contrast") else f"{slot}[]"
        )
        said = " ".join(found[where])
        assert all(f"Term(name={name!r})" in said for name in vocabulary().terms[slot]), slot


def test_scores_see_what_is_lost_added_or_turned_round():
    left = Form(camera=(CameraMove(move=Leaf(value=Move(kind="pan", direction="left"))),))
    right = Form(camera=(CameraMove(move=Leaf(value=Move(kind="pan", direction="right"))),))
    assert sampling.scores(left, left) == {"camera[].move": 1.0}
    assert sampling.scores(left, right) == {"camera[].move": 0.0}
    assert sampling.scores(left, Form()) == {"camera[].move": 0.0}
    assert sampling.scores(Form(), left) == {"camera[].move": 0.0}


def test_every_command_of_minimax_means_its_move():
    for kind, direction, words in MINIMAX:
        (move,) = read(f"[{words}] A fox.").form.camera
        assert (move.move.value.kind, move.move.value.direction) == (kind, direction)


@pytest.mark.parametrize("unit", ["", "deg", "deg/s", "deg/frame", "m", "m/s", "mm", "f", "kelvin", "ratio", "percent"])
@pytest.mark.parametrize("value", [0.25, 2, 45, 1234.5])
def test_quantities_are_read_as_they_are_written(unit, value):
    amount = Amount(value=value, unit=unit)
    assert read_amount(write_amount(amount)) == amount
