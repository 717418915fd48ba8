"""From text to prompt: the whole way, over the real readers of every dialect."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.direction.migration.dialects.sampling import Sampler
from tests.direction.migration.forms import SEED, leaf, move, reading, term

from filmgate.direction.migration.form import Beat, Form, Leaf, Subject
from filmgate.direction.migration.migrate import LONGEST, Options, migrate, migrate_reading
from filmgate.direction.migration.tokens import TEXT_LEN, length_of
from filmgate.spec import InvalidRequest, UnknownName

GUIDE = "camera_movement: dolly_forward, speed: 2.5, lighting: key_light_45deg"
NATURAL = (
    "A red ball rolls past a blue cube on the beach. The camera slowly pushes in.",
    "Edge lighting, medium close-up shot, daylight, left-heavy composition. A young girl sits in a field. The camera "
    "tilts up.",
    "一位年轻女子在海边散步。镜头缓慢前推。",
    "In a still frame, a stop sign",
    "a toilet, frozen in time",
    "A cat (a very old one) sleeps; it is 5 o'clock.",
)


def test_the_example_of_the_guide_yields_its_content_and_says_what_is_missing():
    made = migrate(GUIDE)
    assert made.text == "Side lighting. The camera quickly dollies forward."
    assert made.status == "incomplete"
    assert made.missing == ("subject", "scene", "action")
    assert made.passed
    assert made.ledger.coverage == made.ledger.precision == 1.0
    assert not {"executive", "office", "tracking", "cinematic"} & set(made.text.lower().split())


def test_what_is_missing_may_be_given_and_is_labelled():
    made = migrate(GUIDE, Options(defaults=(("subject", "a red ball"), ("action", "rolls"), ("scene", "on grass"))))
    assert made.text == "Side lighting. A red ball rolls on grass. The camera quickly dollies forward."
    assert made.status == "complete"
    assert made.defaults == ("subject: a red ball", "action: rolls", "scene: on grass")
    assert made.passed
    again = migrate(NATURAL[0], Options(defaults=(("subject", "a dog"),)))
    assert (again.text, again.defaults) == (NATURAL[0], ())


@pytest.mark.parametrize("text", NATURAL)
def test_plain_language_comes_back_to_the_letter(text):
    made = migrate(text)
    assert (made.text, made.status, made.negative, made.missing) == (text, "unchanged", None, ())
    assert made.passed


def test_a_negation_in_plain_language_is_told_and_not_touched():
    made = migrate("A street at night, no people. The camera pans left.")
    assert made.text == made.source
    assert "'people' in the negative prompt" in made.notes[0]


def test_settings_leave_the_text_for_a_valid_request():
    made = migrate("subject: a cat, seed: 42, fps: 24, duration: 5s, size: 1280x720, camera: pan left")
    assert made.request.model_dump(exclude_defaults=True) == {
        "prompt": made.text, "seed": 42, "fps": 24, "frames": 121, "width": 1280, "height": 720,
    }  # fmt: skip
    assert "42" not in made.text


def test_a_static_camera_is_not_fought_by_the_default_negative_prompt():
    made = migrate_reading("", reading(Form(camera=(move("static"),), prose=(leaf("a cat"),))), Options())
    assert "静态" not in made.negative
    assert "最差质量" in made.negative
    assert any("静态" in note for note in made.notes)
    moving = migrate_reading("", reading(Form(camera=(move("pan", "left"),), prose=(leaf("a cat"),))), Options())
    assert moving.negative is None


def test_negatives_of_the_author_replace_and_negations_add():
    own = migrate_reading("", reading(Form(prose=(leaf("a cat"),), negatives=(leaf("blur"),))), Options())
    assert own.negative == "blur"
    said = migrate_reading("", reading(Form(prose=(leaf("a cat"), leaf("no people")))), Options())
    assert said.negative.endswith("，people")
    assert "最差质量" in said.negative
    assert said.text == "A cat, nobody is around."


def test_contradictions_stop_it_unless_a_policy_is_chosen():
    form = Form(time=(term("day"), term("night", at=3)), prose=(leaf("a cat"),))
    stopped = migrate_reading("", reading(form), Options())
    assert (stopped.status, stopped.text, stopped.passed) == ("conflict", "", False)
    assert str(stopped.conflicts[0]) == "time: 'day' against 'night'"
    chosen = migrate_reading("", reading(form), Options(conflicts="last"))
    assert chosen.text == "Night time. A cat."
    assert any("day" in note for note in chosen.notes)
    seeds = migrate("subject: a cat, seed: 1, seed: 2", Options(conflicts="sequence"))
    assert seeds.status == "conflict"


def test_image_to_video_follows_the_model_or_the_caller():
    form = Form(subjects=(Subject(name=leaf("a girl")),), actions=(leaf("waves"),), camera=(move("pan", "left"),))
    for options in (Options(model="wan2.2-i2v-a14b"), Options(profile="image_to_video")):
        assert migrate_reading("", reading(form), options).text == "Waves. The camera pans left."
    missing = migrate_reading("", reading(SEED.model_copy(update={"camera": ()})), Options(profile="image_to_video"))
    assert missing.missing == ("action",)


def test_the_language_is_the_prompts_own_or_the_callers():
    form = Form(subjects=(Subject(name=leaf("一只猫")),), time=(term("night", "night"),))
    assert migrate_reading("", reading(form), Options()).text == "夜晚。一只猫。"
    assert migrate_reading("", reading(form), Options(language="en")).text == "Night time. 一只猫."


def test_words_that_count_for_all_slots_leave_nothing_missing():
    beats = Form(timeline=(Beat(content=Form(prose=(leaf("a man walks"),))),))
    assert migrate_reading("", reading(beats), Options()).missing == ()


@pytest.mark.parametrize("words", ["subject: x", "(word:1.2)", "a | b", "--ar 16:9", '{"camera": "pan"}', "[Pan left]"])
def test_an_authors_own_words_that_look_like_syntax_do_not_make_a_second_migration(words):
    made = migrate_reading("", reading(Form(subjects=(Subject(name=leaf(words)),), quoted=(leaf(words),))), Options())
    assert migrate(made.text).text == made.text


def test_too_long_prompts_are_told_and_absurd_ones_refused():
    made = migrate("word " * 600)
    assert any("tokens" in note for note in made.notes)
    assert any("at most 200" in note for note in made.notes)
    with pytest.raises(InvalidRequest):
        migrate("x" * (LONGEST + 1))
    with pytest.raises(UnknownName):
        migrate("a cat", Options(model="wan9"))


def test_control_characters_are_taken_out_and_it_is_said():
    made = migrate("a cat\u202e walks\x07 on the beach")
    assert made.text == "a cat walks on the beach"
    assert made.notes == ("Control characters or unusual Unicode forms were replaced.",)


def test_the_length_is_counted_with_a_tokenizer_and_estimated_without():
    estimated = length_of("a b c d")
    assert (estimated.words, estimated.exact, estimated.too_long) == (4, False, False)
    counted = length_of("word " * 600, lambda text: len(text.split()) + 1)
    assert (counted.tokens, counted.exact, counted.too_long) == (601, True, True)
    assert len(counted.cut.split()) == 601 - TEXT_LEN


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=200))
def test_any_text_is_migrated_fully_or_with_reasons_and_only_once(text):
    made = migrate(text)
    if made.status == "conflict":
        return
    assert made.ledger.passed, made.ledger
    again = migrate(made.text)
    assert again.text == made.text
    assert again.status != "conflict"


PIECES = st.sampled_from(
    ["camera: pan left", "subject: a cat", "seed: 4", "(red ball:1.3)", "[Zoom in]", "--ar 16:9", "masterpiece", "8k",
     '{"action": "runs"}', "| then", "no people", "夜晚", "镜头: 左摇", "speed=3", "static camera", "<lora:x:0.8>",
     "Negative prompt: blur", '"SALE"', "A man walks.", "\n", "::2", "((", "a:b:c", "shot -> close-up", "-", "#", "!"]
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(
    st.lists(PIECES, max_size=8),
    st.sampled_from([", ", " ", "\n", "; ", ". "]),
    st.sampled_from(["first", "last", "sequence"]),
)
def test_mixtures_of_dialects_are_migrated_once_and_nothing_is_lost_in_silence(pieces, glue, policy):
    made = migrate(glue.join(pieces), Options(conflicts=policy))
    if made.status == "conflict":
        return
    assert made.ledger.passed, made.ledger
    assert migrate(made.text, Options(conflicts=policy)).text == made.text


def test_forms_need_no_provenance():
    bare = Form(subjects=(Subject(name=Leaf(value="a cat")),))
    assert migrate_reading("", reading(bare), Options()).text == "A cat."


@pytest.mark.parametrize("number", range(40))
def test_forms_drawn_from_the_whole_vocabulary_pass_the_audit_and_are_final(number):
    sampler = Sampler(1000 + number)
    made = migrate_reading("", reading(sampler.form(fragments=number % 2 == 0)), Options(conflicts="first"))
    assert made.ledger.passed, made.ledger
    assert migrate(made.text, Options(conflicts="first")).text == made.text


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("subject: a cat; mood: melancholic", ("scene", "action")),
        ("camera=dolly_forward@2.5", ("subject", "scene", "action")),
        ("::::,,,;;;", ("subject", "scene", "action")),
        ("subject: a cat; description: a cat walks through the rain", ()),
    ],
)
def test_words_about_something_else_do_not_make_a_prompt_complete(text, missing):
    assert migrate(text).missing == missing


def test_what_lost_a_mark_is_not_exact():
    made = migrate("subject: O'Neil's <b>bar</b>; action: opens (slowly)")
    found = {entry.path: (entry.fate, entry.reason) for entry in made.ledger.entries}
    fate, reason = found["subjects[0].name"]
    assert (fate, set(reason.removeprefix("without ").split())) == ("approximated", {"<", ">"})


@pytest.mark.parametrize("words", ["SALE (today)", "OPEN --no dogs", "OPEN | 24h", "(big:1.3)", "50% OFF"])
@pytest.mark.parametrize("key", ["text", "caption", "on-screen text"])
def test_text_in_the_picture_comes_through_to_the_letter(key, words):
    made = migrate(f'subject: a sign; {key}: "{words}"; camera: pan left')
    assert made.text == f'A sign. The text "{words}" is visible. The camera pans left.'
    assert made.request.negative is None or "dogs" not in made.request.negative
    assert migrate(made.text).text == made.text


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ("first", "A cat. The camera slowly pans left."),
        ("last", "A cat. The camera quickly pans left."),
        ("sequence", "A cat. The camera slowly pans left, then quickly pans left."),
    ],
)
def test_two_speeds_of_one_move_contradict_each_other(policy, text):
    prompt = "subject: a cat; camera: pan left; speed: slow; speed: fast"
    stopped = migrate(prompt)
    assert (stopped.status, str(stopped.conflicts[0])) == ("conflict", "camera speed: 'slow' against 'fast'")
    made = migrate(prompt, Options(conflicts=policy))
    assert made.text == text
    assert made.passed


def test_two_directions_of_one_move_contradict_each_other():
    made = migrate("camera: pan; direction: left; direction: right; subject: a cat")
    assert str(made.conflicts[0]) == "camera: 'pan left' against 'pan right'"
    assert migrate("camera: pan left; direction: left; subject: a cat").text == "A cat. The camera pans left."


def test_a_speed_without_a_move_says_that_there_is_none():
    (speed,) = migrate("subject: a cat; speed: slow").ledger.of("unsupported")
    assert speed.reason == "there is no camera move without a speed that it could belong to"


@pytest.mark.parametrize(
    ("text", "kept"), [("a [red|blue] ball rolls", "red"), ("a [red:blue:0.5] ball rolls", "blue")]
)
def test_what_stays_of_a_change_between_steps_is_named(text, kept):
    made = migrate(text)
    assert made.text == f"A {kept} ball rolls."
    (change,) = made.ledger.of("unsupported")
    assert f"{kept!r} was kept" in change.reason


def test_a_named_dialect_that_is_not_to_be_found_is_told():
    text = "subject: a cat; camera: pan left"
    made = migrate(text, Options(dialect="json"))
    assert made.text == text
    assert made.notes == ("Nothing in it could be read as json; without a dialect it is found out.",)
    assert migrate(text, Options(dialect="key_value")).notes == ()
    assert migrate("", Options(dialect="json")).notes == ()


def test_a_seed_at_random_is_told_for_what_it_is():
    (seed,) = migrate("subject: a cat; seed: -1").ledger.of("unsupported")
    assert seed.reason == "-1 asks for a seed at random; here it is 0 where none is named"
