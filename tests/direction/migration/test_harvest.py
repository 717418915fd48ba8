"""Numbers that stand alone in prose go where they belong; numbers of a story stay."""

import pytest
from tests.direction.migration.forms import leaf

from filmgate.direction.migration.form import Amount, Form, Parameter
from filmgate.direction.migration.harvest import harvest
from filmgate.direction.migration.migrate import migrate


def test_technical_pieces_leave_the_prose_for_their_slots():
    form = harvest(Form(prose=(leaf("A woman walks, 85mm lens, f/1.4, 3200K, 24fps, 5 seconds, 1280x720, seed 42."),)))
    assert [part.value for part in form.prose] == ["A woman walks."]
    assert form.lens[0].value == Amount(value=85, unit="mm")
    assert form.focus[0].value == Amount(value=1.4, unit="f")
    assert form.lights[0].kelvin.value == Amount(value=3200, unit="kelvin")
    assert [part.value for part in form.parameters] == [
        Parameter(name="fps", value="24"),
        Parameter(name="seconds", value="5"),
        Parameter(name="size", value="1280x720"),
        Parameter(name="seed", value="42"),
    ]


def test_they_keep_their_place_in_the_text():
    words = "a dog, 24fps, fog"
    part = harvest(Form(prose=(leaf(words),))).parameters[0]
    assert (words[slice(*part.span)].strip(), part.raw) == ("24fps", "24fps")


@pytest.mark.parametrize(
    "words",
    ["a 5 seconds walk", "at 10:30 he leaves, 3 dogs bark", "8k, masterpiece", "the 24fps look", "room 1280", "a cat"],
)
def test_other_numbers_are_left_alone(words):
    form = Form(prose=(leaf(words),))
    assert harvest(form) == form


def test_a_prompt_of_words_and_numbers():
    made = migrate("[Pan left] A dog runs, seed 42, 24fps, 5 seconds, 1280x720.")
    assert made.text == "A dog runs. The camera pans left."
    assert made.request.model_dump(exclude_defaults=True, exclude={"prompt"}) == {
        "seed": 42, "fps": 24, "frames": 121, "width": 1280, "height": 720,
    }  # fmt: skip
    assert made.passed
