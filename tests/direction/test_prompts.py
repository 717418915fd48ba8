"""Words that a model cannot know, and what of a prompt it would not see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.direction.models import VOCABULARY, words

from filmgate.direction.prompts import clean, cut_off, unknown_words


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red ball rolls to the left", ()),
        ("A RED Ball, rolls... to the LEFT!", ()),
        ("“red” ball—rolls (left)", ()),
        ("Red-Ball", ()),
        ("two red balls", ("two",)),
        ("a zeppelin, a Zeppelin and a unicorn", ("zeppelin", "unicorn")),
        ("the ball's box is his", ()),
        ("ball’s", ()),
        ("red&nbsp;ball &amp;amp; cube", ()),
        ("ｒｅｄ　ｂａｌｌ", ()),
        ("café", ("café",)),
        ("一只猫", ("一只猫",)),
        ("", ()),
        ("...!?", ()),
    ],
)
def test_unknown_words(prompt, expected):
    assert unknown_words(prompt, VOCABULARY) == expected


@pytest.mark.parametrize(
    "form",
    [
        "marbles", "cubes", "boxes", "rolled", "roll", "roller", "rolling", "sliding", "slides",
        "stopped", "stopping", "stop", "bigger", "biggest", "smaller", "smallest", "reddest", "slow", "flies", "flying",
        "sunsets", "size", "medium", "sized",
    ],
)  # fmt: skip
def test_forms_of_known_words_are_known(form):
    assert unknown_words(form, VOCABULARY) == ()


@pytest.mark.parametrize(
    "other",
    [
        "reed",
        "bal",
        "boll",
        "cub",
        "rose",
        "rest",
        "flat",
        "sun",
        "set",
        "thing",
        "glass",
        "bus",
        "ring",
        "bed",
        "string",
    ],
)
def test_other_words_are_not(other):
    assert unknown_words(other, VOCABULARY) == (other,)


@pytest.mark.parametrize(
    ("text", "vocabulary", "expected"),
    [
        ("3 balls", ("three", "ball"), ()),
        ("three balls", ("3", "ball"), ()),
        ("7 balls", ("three", "ball"), ("7",)),
        ("2049", ("two",), ("2049",)),
    ],
)
def test_numbers_may_be_written_both_ways(text, vocabulary, expected):
    assert unknown_words(text, vocabulary) == expected


@given(st.lists(st.sampled_from(VOCABULARY), max_size=8), st.sampled_from([" ", ", ", " - ", "\n", " “ "]))
def test_a_prompt_of_the_vocabulary_is_always_known(chosen, between):
    assert unknown_words(between.join(chosen).upper(), VOCABULARY) == ()


@given(st.text(max_size=60))
def test_any_text_can_be_judged(text):
    found = unknown_words(text, VOCABULARY)
    assert len(set(found)) == len(found)
    assert unknown_words(text, (*VOCABULARY, *found)) == ()


def test_cleaning_is_what_the_tokenizer_does():
    assert clean("  a &amp;amp; b\n\tc ｄ ") == "a & b c d"


def test_what_fits_is_not_cut():
    assert cut_off("one two three", 4, words) == ""
    assert cut_off("  one   two three  ", 4, words) == ""


def test_what_is_cut_is_whole_words():
    assert cut_off("one two three four", 4, words) == "four"
    assert cut_off("one two three four five", 3, words) == "three four five"
    assert cut_off("one", 1, words) == "one"


def letters(text):
    """A tokenizer of one token a character, spaces too."""
    return len(text) + 1


def test_a_word_that_is_begun_counts_as_cut():
    assert cut_off("red balloon rises", 8, letters) == "balloon rises"
    assert cut_off("red balloon rises", 12, letters) == "rises"


def test_a_script_without_spaces_is_cut_where_the_text_ends():
    text = "一" * 50 + "二" * 50
    assert cut_off(text, 81, letters) == "二" * 20


@given(st.lists(st.sampled_from(["red", "ball", "蓝", "x" * 50, "of"]), min_size=1, max_size=30), st.integers(2, 60))
def test_the_rest_always_fits(chosen, limit):
    text = clean(" ".join(chosen))
    cut = cut_off(text, limit, letters)
    assert text.endswith(cut)
    assert letters(text[: len(text) - len(cut)].rstrip()) <= limit
    assert (cut == "") == (letters(text) <= limit)
