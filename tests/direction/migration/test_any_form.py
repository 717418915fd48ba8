"""Whatever a parser may report, the prompt passes its audit and is final."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.direction.migration.forms import reading

from filmgate.direction.migration.form import (
    PARAMETERS,
    Amount,
    Beat,
    CameraMove,
    Emphasis,
    Form,
    Leaf,
    Light,
    Parameter,
    Subject,
    Term,
)
from filmgate.direction.migration.migrate import Options, migrate, migrate_reading
from filmgate.direction.migration.vocabulary import vocabulary
from filmgate.direction.migration.wording import cleaned

HARD = (
    "a cat", "no people", "(x:1.2)", "a|b", "key: value", '"hi"', "[Pan left]", "seed: 4", "--ar 3:4", "时间：夜晚",
    "{a}",
    "...", "He runs.", "the camera pans left", "A, b; c", "--no x", "masterpiece", "0'",
)  # fmt: skip
WORDS = st.one_of(st.text(max_size=20).map(cleaned), st.sampled_from(HARD))
NUMBERS = st.one_of(st.floats(), st.integers(-100, 6000).map(float))
UNITS = st.sampled_from(["", "deg", "deg/s", "m", "mm", "f", "kelvin", "ratio", "percent", "s", "frame"])
AMOUNTS = st.builds(Amount, value=NUMBERS, unit=UNITS, full=st.sampled_from([None, 10.0]))
SPOKEN = st.one_of(AMOUNTS, WORDS.map(lambda words: Amount(unit="word", word=words)))


def leaf(values):
    def made(value, at, confidence):
        raw = value if isinstance(value, str) else "x"
        return Leaf(value=value, span=(at, at + 1), raw=raw, confidence=confidence)

    return st.builds(made, values, st.integers(0, 50), st.sampled_from([1.0, 0.8]))


def terms(slot):
    return st.sampled_from(sorted(vocabulary().terms[slot])).map(lambda name: Term(name=name))


def some(strategy):
    return st.lists(strategy, max_size=2).map(tuple)


def perhaps(values):
    return st.none() | leaf(values)


LIGHTS = st.builds(
    Light,
    role=perhaps(WORDS),
    source=perhaps(terms("source") | WORDS),
    quality=perhaps(terms("quality")),
    angle=perhaps(terms("light_angle")),
    side=perhaps(st.sampled_from(["left", "right"])),
    azimuth=perhaps(AMOUNTS),
    kelvin=perhaps(AMOUNTS),
    ratio=perhaps(AMOUNTS),
    words=perhaps(WORDS),
)
MOVES = st.builds(
    CameraMove,
    move=leaf(st.sampled_from(sorted(vocabulary().moves, key=str))),
    speed=perhaps(SPOKEN),
    magnitude=perhaps(SPOKEN),
    easing=perhaps(terms("easing") | WORDS),
    begin=perhaps(AMOUNTS),
    end=perhaps(AMOUNTS),
    group=st.integers(0, 2),
)
SUBJECTS = st.builds(Subject, name=leaf(WORDS), count=perhaps(st.integers(-2, 15)), attributes=some(leaf(WORDS)))
VALUES = st.one_of(WORDS, st.integers(), st.floats())
SLOTS = {
    **{slot: some(leaf(terms(slot) | WORDS)) for slot in ("style", "time", "angle", "shot", "composition", "tone")},
    **{slot: some(leaf(terms(slot) | AMOUNTS | WORDS)) for slot in ("lens", "focus")},
    **{
        slot: some(leaf(WORDS))
        for slot in ("scene", "actions", "prose", "quoted", "audio", "negatives", "boosters", "leftovers")
    },
    "lights": some(LIGHTS),
    "camera": some(MOVES),
    "subjects": some(SUBJECTS),
    "emphasis": some(leaf(st.builds(Emphasis, words=WORDS, weight=st.floats(-1, 2)))),
    "parameters": some(leaf(st.builds(Parameter, name=st.sampled_from([*PARAMETERS, "x"]), value=VALUES))),
}
FORMS = st.builds(
    Form, **SLOTS, timeline=some(st.builds(Beat, content=st.builds(Form, **SLOTS), begin=perhaps(AMOUNTS)))
)
OPTIONS = st.builds(
    Options,
    conflicts=st.sampled_from(["first", "last", "sequence"]),
    language=st.sampled_from([None, "en", "zh"]),
    profile=st.sampled_from(["text_to_video", "image_to_video"]),
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(FORMS, OPTIONS)
def test_any_form_passes_the_audit_and_is_migrated_once(form, options):
    made = migrate_reading("", reading(form), options)
    if made.status != "conflict":
        assert made.ledger.passed, (made.text, made.ledger.faults, made.ledger.invented)
        assert migrate(made.text, options).text == made.text
