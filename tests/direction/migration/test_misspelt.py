"""What one letter would make known is told of and kept as it is; words that are simply others are left in peace."""

import pytest

from filmgate.direction.migration.migrate import Options, migrate


@pytest.mark.parametrize(
    ("text", "kept", "meant"),
    [
        ("subject: a cat; lighting: key_lihgt", "Key lihgt", "key light"),
        ("subject: a cat; camera: pan lefft", "Pan lefft", "pan left"),
        ("subject: a cat; camera_movement: doly_forwrd", "Doly forwrd", "dolly forward"),
        ("subject: a cat; lighting: sfot light", "Sfot light", "soft light"),
        ('{"scenes": [{"subject": "a cat", "camera": "pan lefft"}, {"subject": "a dog"}]}', "Pan lefft", "pan left"),
    ],
)
def test_a_typo_in_a_value_is_kept_and_told(text, kept, meant):
    made = migrate(text)
    assert kept.casefold() in made.text.casefold()
    (note,) = [note for note in made.notes if "vocabulary" in note]
    assert note.endswith(f"is not in the vocabulary and was kept word for word; {meant!r} is.")


@pytest.mark.parametrize(
    "text",
    [
        "lighting: bright light; tone: gold; time: lunchtime; style: retro; composition: golden spiral",
        "subject: a cat; action: it runs fast; scene: a pale field; camera: drift",
        "subject: a cat; lighting: soft light; camera: pan left",
        "主体：一只猫；光线：柔和的晨光；镜头：飘移",
    ],
)
def test_other_words_are_no_typos(text):
    assert not [note for note in migrate(text).notes if "vocabulary" in note]


def test_a_typo_is_told_once():
    notes = migrate("camera: pan lefft; camera: pan lefft; subject: a cat", Options(conflicts="first")).notes
    assert sum("vocabulary" in note for note in notes) == 1
