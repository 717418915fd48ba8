"""Author's words lose other tools' syntax and nothing else; what is quoted is not touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.direction.migration.wording import cleaned, first_lower, first_upper, joined, only_words, plain, words_in


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("red_ball", "red ball"),
        ("(a cat:1.3)", "a cat, 1.3"),
        ("a | b # c", "a b c"),
        ("mood: calm; slow", "mood, calm, slow"),
        ("at 10:30, ratio 16:9", "at 10:30, ratio 16:9"),
        ('a sign "[50% OFF] | now"', 'a sign "[50% OFF] | now"'),
        ("Wow! Really?", "Wow! Really?"),
        ("!macro", "macro"),
        ("well-known, x--y", "well-known, x y"),
        ("一只猫（坐着）", "一只猫（坐着）"),
        ("", ""),
    ],
)
def test_syntax_goes_and_words_stay(text, words):
    assert plain(text) == words


@given(st.text())
def test_cleaning_and_plain_words_are_idempotent(text):
    assert cleaned(cleaned(text)) == cleaned(text)
    assert only_words(only_words(text)) == only_words(text)


@given(st.text())
def test_letters_and_digits_are_never_lost(text):
    before = cleaned(text)
    assert [c for c in plain(before) if c.isalnum()] == [c for c in before if c.isalnum()]
    assert [c for c in only_words(before) if c.isalnum()] == [c for c in before if c.isalnum()]


def test_control_zero_width_and_direction_characters_are_taken_out():
    assert cleaned("a\u202eb\u200bc\x07d\ufeff\r\ne\tf") == "abcd\ne\tf"
    assert cleaned("e\u0301") == "é"
    assert cleaned("👩\u200d🚀") == "👩\u200d🚀"


def test_capitals():
    assert first_upper("a cat") == "A cat"
    assert first_upper("ßa") == "ßa"
    assert first_lower("The cat") == "the cat"
    assert first_lower("Anna sings") == "Anna sings"


def test_lists_and_counts():
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert joined([]) == ""
    assert words_in("It's a well-known fact") == 4
    assert words_in("一只红色的球 rolls") == 4
