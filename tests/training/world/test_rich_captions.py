"""Captions of the rich world: every word is in the vocabulary, every term is true, and they fit the text length."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from filmgate.training.text_encoder import TEXT_LENGTH, encode_captions, slot_sizes, slots, text_config
from filmgate.training.world import attributes as a
from filmgate.training.world import lexicon as lex
from filmgate.training.world.captions import STATED, Captioner, Facts, Thing, facts, with_few_terms
from filmgate.training.world.catalogue import AESTHETICS, FIRST, RICH, UNADORNED, UNSPOKEN, Catalogue
from filmgate.training.world.scenes import Scenes, sample_labels, sample_scenes
from filmgate.training.world.tokenizer import build_tokenizer, lexicon_words

PIECES = 2048
BALL = Thing("red", "ball", "plain", "medium", "rebound")
CUBE = Thing("blue", "cube", "plain", "medium", "still")
ROBOT = Thing("green", "robot", "plain", "medium", "left", "yellow", "white", "black")


def scene(*things: Thing, relation: str | None = None, **others: object) -> Facts:
    return Facts(things, False, relation, "dolly in", "sunset", "sand")._replace(**others)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(2000, torch.Generator().manual_seed(9), world=RICH)


@pytest.fixture(scope="module")
def known(scenes: Scenes) -> list[Facts]:
    return facts(scenes.labels, RICH)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (scene(BALL, CUBE, relation="bounces off"), "a red ball rolls into a blue cube and bounces off"),
        (scene(ROBOT, CUBE, relation="follows"), "a green robot with a yellow hat follows a blue cube left"),
        (scene(CUBE, BALL, relation="on top of"), "a blue cube stands on top of a red ball"),
        (scene(ROBOT._replace(hat=None)), "a green robot walks left"),
        (scene(ROBOT._replace(motion="wave", shape="doll", hat=None)), "a green doll waves"),
    ],
)
def test_plain_captions_say_what_happens(what: Facts, said: str) -> None:
    text = Captioner(0, plain=True, world=RICH)(what)
    assert text == f"{said} on sand at sunset, the camera dollies in"


def test_plain_captions_say_weather_and_pace() -> None:
    text = Captioner(0, plain=True, world=RICH)(scene(CUBE, weather="mist", pace="fast"))
    assert text == "a blue cube sits still on sand at sunset in the mist, the camera quickly dollies in"


def test_terms_come_first_and_the_camera_last_as_in_wans_own_prompts() -> None:
    terms = (("source", "sunny"), ("light_angle", "side"), ("shot", "close-up"), ("lens", "long-focus"))
    text = Captioner(0, plain=True, world=RICH)(scene(ROBOT, aesthetics=terms, pace="slow"))
    assert text == (
        "Sunny lighting, side lighting, close-up shot, long-focus lens. A green robot with a yellow hat walks left on "
        "sand at sunset. The camera slowly dollies in"
    )


@pytest.mark.parametrize("world", [RICH, UNADORNED], ids=lambda world: world.name)
def test_every_word_is_in_the_vocabulary(scenes: Scenes, world: Catalogue) -> None:
    words = set(lexicon_words(world))
    writers = Captioner(1, complete=True, world=world), Captioner(1, plain=True, world=world)
    for fact in facts(scenes.labels, world):
        for writer in writers:
            text = writer(fact)
            assert set(re.findall(r"[a-z0-9]+", text.lower())) <= words, text


def test_lexicon_words_are_single_pieces_of_a_bounded_vocabulary() -> None:
    tokenizer = build_tokenizer(RICH)
    assert tokenizer.get_vocab_size() <= PIECES
    assert text_config(RICH).vocab == tokenizer.get_vocab_size()
    for word in lexicon_words(RICH):
        assert len(tokenizer.encode(word).ids) == 2, word
    assert build_tokenizer(UNADORNED).to_str() == tokenizer.to_str()


def test_captions_fit_the_text_length(known: list[Facts]) -> None:
    tokenizer = build_tokenizer(RICH)
    few = with_few_terms(known, 0)
    for writer, what in (
        (Captioner(1, world=RICH), known),
        (Captioner(1, complete=True, world=RICH), few),
        (Captioner(1, plain=True, world=RICH), few),
    ):
        lengths = sorted(len(tokenizer.encode(writer(fact)).ids) for fact in what)
        assert lengths[int(0.99 * len(lengths))] <= TEXT_LENGTH
    assert encode_captions(["a robot waves"], RICH).shape == (1, TEXT_LENGTH)


def test_terms_are_those_of_the_scene(known: list[Facts]) -> None:
    """A phrase of one slot and name never stands in a caption of a scene that has another."""
    writer = Captioner(2, complete=True, world=RICH)
    phrases = {
        (slot, name): words for slot, names in lex.AESTHETICS.items() if slot not in ("source", "quality")
        for name, words in names.items()
    }  # fmt: skip
    for fact in known:
        text, stated = writer(fact).lower(), dict(fact.aesthetics)
        for (slot, name), words in phrases.items():
            if any(re.search(rf"(^|, |\. ){re.escape(phrase)}(,|\.|$)", text) for phrase in words):
                assert stated.get(slot) == name, (text, slot, name)


def test_a_scene_states_at_most_four_terms_in_a_question(known: list[Facts]) -> None:
    for fact, few in zip(known, with_few_terms(known, 3), strict=True):
        assert len(few.aesthetics) == min(STATED - (len(fact.things) > 1), len(fact.aesthetics))
        assert set(few.aesthetics) <= set(fact.aesthetics)
    assert with_few_terms(known, 3) == with_few_terms(known, 3)


def test_in_the_unspoken_world_captions_rarely_say_how_the_camera_moves() -> None:
    """Also complete ones; and where all speak of it, nothing is drawn for that."""
    labels = sample_labels(400, torch.Generator().manual_seed(3), RICH)
    moving = [scene for scene in facts(labels, RICH) if scene.camera not in ("static", "free")]
    spoken = {word for phrases in lex.RICH_CAMERAS.values() for phrase in phrases for word in phrase.split()}
    moves = {word for word in spoken if word.startswith(("pan", "tilt", "doll", "truck", "orbit", "crane"))}

    def said(world: Catalogue) -> float:
        writer = Captioner(5, complete=True, world=world)
        return sum(not moves.isdisjoint(re.findall(r"[a-z]+", writer(scene).lower())) for scene in moving) / len(moving)

    assert said(RICH) > 0.2
    assert said(replace(UNSPOKEN, camera_said=0.0)) == 0
    assert 0.1 < said(UNSPOKEN) / said(RICH) < 0.35
    assert lexicon_words(UNSPOKEN) == lexicon_words(RICH)


def test_the_unadorned_world_says_nothing_of_film(scenes: Scenes) -> None:
    plain = facts(scenes.labels, UNADORNED)
    assert all(not fact.aesthetics for fact in plain)
    writer = Captioner(5, complete=True, world=UNADORNED)
    text = "\n".join(writer(fact) for fact in plain).lower()
    for words in ("composition", "lighting", "close-up", "medium shot", "-focus lens", "colors", "angle"):
        assert words not in text
    assert set(lexicon_words(UNADORNED)) < set(lexicon_words(RICH))


def test_what_hides_the_sky_leaves_it_out(known: list[Facts]) -> None:
    writer = Captioner(6, complete=True, world=RICH)
    checked = 0
    for fact in known:
        falls = any(thing.motion == "fall" for thing in fact.things)
        if (fact.angle == "overhead" or fact.weather == "mist") and not falls:
            checked += 1
            assert not any(word in writer(fact).lower() for word in ("sky", "clouds", "under the moon"))
    assert checked > 50


def test_cameras_that_nobody_names_are_not_named(known: list[Facts]) -> None:
    writer = Captioner(7, complete=True, world=RICH)
    free = [fact for fact in known if fact.camera == "free" and all(t.motion == "still" for t in fact.things)]
    assert free
    assert not any("camera" in writer(fact).lower() for fact in free)


def test_lexicon_covers_every_term() -> None:
    assert set(lex.AESTHETICS) == set(AESTHETICS)
    assert set(lex.RICH_CAMERAS) == set(a.CAMERAS)
    assert set(lex.RICH_LIGHTS) == set(a.LIGHTS)
    assert set(lex.PACES) == set(a.PACES)
    assert set(lex.WEATHERS) == set(a.WEATHERS)


def test_slots_are_classes_of_their_queries(known: list[Facts]) -> None:
    for world in (FIRST, RICH, UNADORNED):
        sizes = slot_sizes(world)
        for fact in known[:200] if world.rich else facts(sample_scenes(50, torch.Generator().manual_seed(0)).labels):
            row = slots(fact, world)
            assert len(row) == len(sizes)
            assert all(value == -100 or 0 <= value < size for value, size in zip(row, sizes, strict=True))
