"""Lengths: counted with a tokenizer file, wherever a model keeps it, and estimated without one."""

import shutil
from pathlib import Path

import pytest

import filmgate
from filmgate.direction.migration.migrate import migrate
from filmgate.direction.migration.tokens import TEXT_LEN, length_of, token_counter
from filmgate.spec.errors import DamagedFile, MissingFile

SHIPPED = Path(filmgate.__file__).parent / "toybox" / "toybox-t2v"
FILE = SHIPPED / "google" / "umt5-xxl" / "tokenizer.json"


@pytest.mark.parametrize("place", ["google/umt5-xxl", "tokenizer", "."])
def test_a_tokenizer_is_found_in_the_directory_of_a_model(place, tmp_path):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    shutil.copy(FILE, tmp_path / place / "tokenizer.json")
    count = token_counter(tmp_path)
    assert count("a red ball") == token_counter(FILE)("a red ball") == 4


def test_counts_are_exact_and_say_what_is_not_read():
    count = token_counter(SHIPPED)
    length = length_of("a red ball " * 300, count)
    assert (length.tokens, length.exact, length.too_long) == (901, True, True)
    assert len(length.cut.split()) == 901 - TEXT_LEN
    made = migrate("a red ball " * 300, count_tokens=count)
    assert any(note.startswith("901 tokens; the model reads 512. It would not read:") for note in made.notes)


def test_estimates_say_that_they_are_and_never_claim_to_know_what_is_cut():
    length = length_of("word " * 600)
    assert (length.exact, length.too_long, length.cut) == (False, True, "")
    assert any(note.startswith("About ") for note in migrate("word " * 600).notes)


def test_no_tokenizer_and_a_damaged_one(tmp_path):
    with pytest.raises(MissingFile):
        token_counter(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(DamagedFile):
        token_counter(tmp_path)
