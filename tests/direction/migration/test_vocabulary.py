"""Every word of the vocabulary file means what it is listed for, and words that are written are read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.direction.migration.form import PARAMETERS, Move
from filmgate.direction.migration.vocabulary import SLOTS, vocabulary

WORDS = vocabulary()
TERMS = [(slot, name) for slot in SLOTS for name in WORDS.terms[slot]]


@pytest.mark.parametrize(("slot", "name"), TERMS)
def test_every_word_of_a_term_means_that_term(slot, name):
    for word in WORDS.terms[slot][name].understood:
        found = WORDS.find_term(slot, word)
        assert (found.name, found.confidence) == (name, 1.0), word


@pytest.mark.parametrize(("slot", "name"), TERMS)
def test_what_is_written_counts_as_exact_and_near_words_as_near(slot, name):
    for language in ("en", "zh"):
        assert WORDS.find_term(slot, WORDS.write_term(slot, name, language)).how == "exact"
    assert {WORDS.find_term(slot, word).how for word in WORDS.terms[slot][name].near} <= {"near"}


@pytest.mark.parametrize("move", WORDS.moves, ids=lambda move: f"{move.kind}-{move.direction}")
def test_every_phrase_of_a_move_means_that_move(move):
    for phrase in WORDS.moves[move].understood:
        found = WORDS.find_move(phrase)
        assert (found.move, found.speed, found.rest) == (move, None, ""), phrase
    assert WORDS.find_move(f"The camera {WORDS.write_move(move)}.").how == "exact"
    assert WORDS.find_move(f"镜头{WORDS.write_move(move, 'zh')}。").how == "exact"


@pytest.mark.parametrize("speed", WORDS.speeds)
def test_a_speed_is_heard_beside_a_move(speed):
    if adverb := WORDS.write_speed(speed):
        assert WORDS.find_move(f"The camera {adverb} pans left").speed == speed
        assert WORDS.find_move(f"镜头{WORDS.write_speed(speed, 'zh')}向左摇").speed == speed


def test_keys_and_parameters_are_each_of_one_meaning():
    for table, find in ((WORDS.keys, WORDS.find_key), (WORDS.parameters, WORDS.find_parameter)):
        for name, words in table.items():
            assert {find(word) for word in words} == {name}
    assert set(WORDS.parameters) == set(PARAMETERS)


@pytest.mark.parametrize(
    ("words", "move", "speed", "rest"),
    [
        ("dolly_forward", Move(kind="dolly", direction="in"), None, ""),
        ("slow dolly-in", Move(kind="dolly", direction="in"), "slow", ""),
        ("whipPanRight", Move(kind="whip_pan", direction="right"), None, ""),
        ("PANNING LEFT", Move(kind="pan", direction="left"), None, ""),
        ("left pan", Move(kind="pan", direction="left"), None, ""),
        ("pans towards the left side", Move(kind="pan", direction="left"), None, ""),
        ("the camera pans left across the valley", Move(kind="pan", direction="left"), None, "across the valley"),
        ("tracks the man", Move(kind="follow"), None, "the man"),
        ("static shot", Move(kind="static"), None, ""),
        ("dolly foward", Move(kind="dolly", direction="in"), None, ""),
        ("镜头缓慢左摇", Move(kind="pan", direction="left"), "slow", ""),
        ("固定镜头", Move(kind="static"), None, ""),
    ],
)
def test_moves_in_many_spellings(words, move, speed, rest):
    found = WORDS.find_move(words)
    assert (found.move, found.speed, found.rest) == (move, speed, rest)


@pytest.mark.parametrize("words", ["", "camera", "pan left and right", "a dog runs", "left", "一只狗", "!!!"])
def test_what_is_no_move_is_none(words):
    assert WORDS.find_move(words) is None


def test_a_wrong_letter_is_mended_with_less_confidence():
    assert WORDS.find_term("style", "claymaton").confidence < 1
    assert WORDS.find_move("dolly foward").confidence < 1
    assert WORDS.find_key("camra_movement") == "camera.move"
    assert WORDS.find_term("style", "claymtn") is None


def test_bare_adjectives_are_terms_only_where_the_slot_is_known():
    assert WORDS.find_tag("soft") is None
    assert WORDS.find_tag("soft lighting").name == "soft"
    assert WORDS.find_term("quality", "soft").name == "soft"


def test_boosters_are_known_in_both_languages():
    assert WORDS.is_booster("Masterpiece")
    assert WORDS.is_booster("最佳质量")
    assert not WORDS.is_booster("a red ball")


@given(st.text(max_size=60))
def test_looking_up_never_fails(text):
    WORDS.find_move(text)
    WORDS.find_tag(text)
    WORDS.find_key(text)
    WORDS.find_parameter(text)
    for slot in SLOTS:
        WORDS.find_term(slot, text)


@pytest.mark.parametrize(("slot", "name"), [(slot, name) for slot, name in TERMS if slot != "easing"])
def test_what_is_written_is_understood_as_a_tag(slot, name):
    for language in ("en", "zh"):
        found = WORDS.find_tag(WORDS.write_term(slot, name, language))
        assert found is not None
        assert (found.slot, found.name) == (slot, name)


def test_a_move_is_looked_for_at_the_beginning_of_a_long_text_alone():
    # With every beginning of all words looked at, this takes minutes.
    assert vocabulary().find_move("word " * 30_000) is None
    assert vocabulary().find_move("the camera slowly pans left " + "over the valley " * 10_000).move.direction == "left"
