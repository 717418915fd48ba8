"""2,000 sampled forms are written in every dialect and read back: every slot comes back whole, F1 = 1.0."""

from functools import cache

import pytest
from tests.direction.migration.dialects import sampling

from filmgate.direction.migration.dialects import read
from filmgate.direction.migration.dialects.amounts import read_amount, write_amount
from filmgate.direction.migration.dialects.writers import WRITERS
from filmgate.direction.migration.dialects.written_cameras import MINIMAX
from filmgate.direction.migration.form import Amount, CameraMove, Form, Leaf, Move, slots
from filmgate.direction.migration.vocabulary import SLOTS, vocabulary

FORMS = 2000
FEWER = {"python": 200, "yaml": 200, "key_value_lines": 200, "key_value_arrows": 200}
"""Other notations of dialects that are read in full under another name."""


@cache
def forms(count: int, fragments: bool) -> tuple[Form, ...]:
    """Forms that all dialects share."""
    sampler = sampling.Sampler(7)
    return tuple(sampler.form(fragments=fragments) for _ in range(count))


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
    written = set()
    for form in forms(FORMS, name == "weighted")[: FEWER.get(name, FORMS)]:
        kept = writer.keep(form)
        if name == "weighted" and not of_its_own(name, kept):
            continue  # bare tags are prose, and prose is not cut at its commas
        text = writer.write(kept)
        reading = read(text)
        scores = sampling.scores(kept, reading.form)
        assert set(scores.values()) <= {1.0}, (scores, text)
        if text and of_its_own(name, kept):
            assert writer.dialect in {segment.dialect for segment in reading.segments}, text
        written |= slots(kept).keys()
    assert len(written) >= 2, "the sample holds next to nothing of this dialect"


def test_the_sample_holds_every_slot_and_every_word():
    found: dict[str, set[str]] = {}
    for form in forms(FORMS, False):
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
