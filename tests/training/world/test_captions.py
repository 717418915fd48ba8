"""Captions say what is there and nothing else; the tokenizer never fails and keeps the lexicon whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from filmgate.training.world import attributes as a
from filmgate.training.world import lexicon as lex
from filmgate.training.world.captions import Captioner, Facts, Thing, facts
from filmgate.training.world.scenes import sample_scenes
from filmgate.training.world.tokenizer import build_tokenizer, lexicon_words

BALL = Thing("red", "ball", "plain", "medium", "left")
CUBE = Thing("blue", "cube", "striped", "large", "still")


@pytest.fixture(scope="module")
def known() -> list[Facts]:
    return facts(sample_scenes(1500, torch.Generator().manual_seed(9)).labels)


def test_plain_caption_is_canonical() -> None:
    scene = Facts((BALL, CUBE), False, "behind", "dolly in", "sunset", "sand")
    assert (
        Captioner(0, plain=True)(scene)
        == "a red ball rolls left past a large striped blue cube on sand at sunset, the camera dollies in"
    )


def test_group_is_counted() -> None:
    scene = Facts((BALL._replace(motion="still"),) * 3, True, None, "static", "noon", "grass")
    assert Captioner(0, plain=True)(scene).startswith("three red balls sit still on grass at noon")


def test_same_seed_same_captions(known: list[Facts]) -> None:
    first, second = Captioner(3), Captioner(3)
    assert [first(k) for k in known[:50]] == [second(k) for k in known[:50]]


def test_complete_captions_name_every_object(known: list[Facts]) -> None:
    writer = Captioner(1, complete=True)
    for scene in known:
        text = writer(scene).lower()
        for thing in scene.things:
            assert any(word in text for word in lex.COLOURS[thing.colour]), text
            assert any(singular in text or plural in text for singular, plural in lex.SHAPES[thing.shape]), text
        assert any(phrase in text for phrase in lex.CAMERAS[scene.camera]), text
        assert any(phrase in text for phrase in lex.LIGHTS[scene.light]), text


def test_captions_never_name_another_colour_of_object(known: list[Facts]) -> None:
    """Words that belong to one colour only must not appear for scenes without that colour."""
    own = {
        "red": "crimson",
        "green": "emerald",
        "cyan": "turquoise",
        "purple": "violet",
        "pink": "magenta",
        "black": "ebony",
    }
    writer = Captioner(2, complete=True)
    for scene in known:
        text = writer(scene).lower()
        for colour, word in own.items():
            if word in text:
                assert colour in {thing.colour for thing in scene.things}, text


def test_grammar_is_rich(known: list[Facts]) -> None:
    writer = Captioner(4)
    captions = [writer(k) for k in known]
    assert len(set(captions)) > 0.98 * len(captions)
    assert len({word for caption in captions for word in caption.lower().split()}) > 300


def test_lexicon_covers_every_attribute() -> None:
    assert set(lex.COLOURS) == set(a.COLOURS)
    assert set(lex.SHAPES) == set(a.SHAPES)
    assert set(lex.CAMERAS) == set(a.CAMERAS)
    assert set(lex.GROUNDS) == set(a.GROUNDS)
    assert set(lex.LIGHTS) == set(a.LIGHTS)
    assert set(lex.MOTIONS) | set(lex.DIRECTIONS) >= set(a.MOTIONS)


def test_lexicon_words_are_single_tokens() -> None:
    tokenizer = build_tokenizer()
    for word in lexicon_words():
        assert len(tokenizer.encode(word).ids) == 2, word  # the word and the end mark


def test_ids_follow_umt5() -> None:
    tokenizer = build_tokenizer()
    assert [tokenizer.token_to_id(piece) for piece in ("<pad>", "</s>", "<unk>")] == [0, 1, 2]
    assert tokenizer.encode("Red ball").ids == tokenizer.encode("red  ball").ids
    assert tokenizer.encode("").ids == [1]


@given(st.text(max_size=60))
def test_any_text_has_tokens(text: str) -> None:
    ids = build_tokenizer().encode(text).ids
    assert ids[-1] == 1
    assert 2 not in ids
