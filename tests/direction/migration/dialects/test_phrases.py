"""Words of cameras: moves with how far and how fast, lenses with their aperture."""

import pytest

from filmgate.direction.migration.dialects import read
from filmgate.direction.migration.form import Amount, Move, Term


@pytest.mark.parametrize("words", ["pan_left 30 degrees then tilt_up slowly", "pan left by 30°, then slowly tilts up"])
def test_moves_in_turn_with_how_far_and_how_fast(words):
    first, second = read(f"camera: {words}, subject: skyline").form.camera
    assert (first.move.value, first.magnitude.value) == (
        Move(kind="pan", direction="left"),
        Amount(value=30, unit="deg"),
    )
    assert (second.move.value, second.speed.value.word) == (Move(kind="tilt", direction="up"), "slowly")
    assert (first.group, second.group) == (0, 1)


@pytest.mark.parametrize(
    ("words", "slots"),
    [
        ("pans left 30 degrees slowly with a gentle start", {"magnitude", "speed", "easing"}),
        ("orbit left 20 deg/s", {"speed"}),
        ("dolly in by 2 m", {"magnitude"}),
    ],
)
def test_the_manner_of_a_move(words, slots):
    (move,) = read(f"camera_movement: {words}; subject: a cat").form.camera
    assert {name for name in ("speed", "magnitude", "easing") if getattr(move, name) is not None} == slots


@pytest.mark.parametrize(
    "text", ["lens: 85mm f/1.8; subject: a cat", '{"subject": "a cat", "lens": "f/1.8 85mm lens"}']
)
def test_a_lens_named_with_its_aperture(text):
    form = read(text).form
    assert [leaf.value for leaf in form.lens] == [Amount(value=85, unit="mm")]
    assert [leaf.value for leaf in form.focus] == [Amount(value=1.8, unit="f")]


def test_a_bare_number_has_the_unit_of_its_key():
    form = read("lens: 35; aperture: 2.8; subject: a cat").form
    assert form.lens[0].value == Amount(value=35, unit="mm")
    assert form.focus[0].value == Amount(value=2.8, unit="f")


def test_depth_of_field_under_the_lens_is_focus():
    form = read("lens: telephoto shallow depth of field; subject: a cat").form
    assert (form.lens[0].value, form.focus[0].value) == (Term(name="long"), Term(name="shallow"))
