"""Paraphrases: a perfect reading finds every stated fact, each mistake costs its own, nothing else is scored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from filmgate.spec import UnknownName
from filmgate.training.paraphrases import Paraphrase, facts_found, in_world, read_paraphrases
from filmgate.training.readers import OBJECT_HEADS, Reading
from filmgate.training.truth import in_words
from filmgate.training.world import attributes as a
from filmgate.training.world.catalogue import FIRST, RICH

SHIPPED = Path(__file__).parents[2] / "bench" / "paraphrases.jsonl"


def reading(objects: list[tuple[str, str, str, int]], camera: str, light: str, ground: str) -> Reading:
    """One clip: objects from left to right as (colour, shape, motion, rank from near to far)."""
    seen = {name: torch.zeros(1, a.SLOTS, dtype=torch.long) for name in OBJECT_HEADS}
    for slot, (colour, shape, motion, depth) in enumerate(objects):
        seen["colour"][0, slot] = list(a.COLOURS).index(colour)
        seen["shape"][0, slot] = a.SHAPES.index(shape)
        seen["motion"][0, slot] = a.MOTIONS.index(motion)
        seen["depth"][0, slot] = depth
    scene = {
        "count": len(objects), "camera": a.CAMERAS.index(camera), "light": list(a.LIGHTS).index(light),
        "ground": list(a.GROUNDS).index(ground),
    }  # fmt: skip
    return Reading(seen, {name: torch.tensor([value]) for name, value in scene.items()})


def test_sixty_are_shipped_and_name_things_that_exist() -> None:
    asked = read_paraphrases(SHIPPED)
    assert len(asked) == 60
    assert len({p.seed for p in asked}) == len({p.prompt for p in asked}) == 60
    assert in_world(asked, FIRST) == asked[:40]
    assert in_world(asked, RICH) == asked
    assert asked[0] == Paraphrase(
        "two little crimson marbles drift apart at dusk", asked[0].seed, 2, (("red", "ball"), ("red", "ball")),
        light="sunset", or_light="dusk",
    )  # fmt: skip


def test_a_word_that_the_world_lacks_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    for expect in ({"count": 1, "shapes": ["disc"]}, {"count": 1, "light": "dawn"}, {"count": 1, "motion": "walk"}):
        file.write_text(json.dumps({"prompt": "x", "expect": expect}) + "\n")
        with pytest.raises(UnknownName):
            read_paraphrases(file)


def test_only_what_is_stated_is_scored() -> None:
    shown = reading([("red", "ball", "left", 0)], "static", "noon", "grass")
    assert facts_found(shown, 0, Paraphrase("", 0, 1)) == {"count": True}
    full = Paraphrase("", 0, 1, (("red", "ball"),), motion="left", camera="static", light="noon", ground="grass")
    assert set(facts_found(shown, 0, full).values()) == {True}
    for name, wrong in (("motion", "right"), ("camera", "tilt up"), ("light", "night"), ("ground", "sand")):
        found = facts_found(shown, 0, replace(full, **{name: wrong}))
        assert [fact for fact, right in found.items() if not right] == [name]


def test_what_only_richer_worlds_have_is_found_there() -> None:
    shown = reading([("red", "robot", "wave", 0)], "zoom in", "neon", "wood")
    shown.objects["hat"] = torch.full((1, a.SLOTS), list(a.COLOURS).index("blue"))
    shown.scene["weather"] = torch.tensor([1])
    shown.scene["interaction"] = torch.tensor([0])
    full = Paraphrase(
        "", 0, 1, (("red", "robot"),), motion="wave", weather="mist", hat="blue", material="plain", camera="zoom in"
    )
    assert set(facts_found(shown, 0, full).values()) == {True}
    for name, wrong in (("hat", "green"), ("weather", "clear"), ("material", "metal"), ("relation", "follows")):
        found = facts_found(shown, 0, replace(full, **{name: wrong}))
        assert [fact for fact, right in found.items() if not right] == [name]
    assert facts_found(shown, 0, replace(full, relation=None, hat=None)).keys() == {
        "count", "objects", "motion", "material", "camera", "weather",
    }  # fmt: skip


def test_objects_count_as_often_as_they_are_asked_for() -> None:
    pair = Paraphrase("", 0, 2, (("red", "ball"), ("red", "ball")))
    one = [("red", "ball", "still", 0), ("blue", "ball", "still", 1)]
    assert facts_found(reading(one, "static", "noon", "grass"), 0, pair) == {"count": True, "objects": False}
    two = [("red", "ball", "still", 0), ("red", "ball", "still", 1)]
    assert facts_found(reading(two, "static", "noon", "grass"), 0, pair) == {"count": True, "objects": True}
    cones = Paraphrase("", 0, 1, shapes=("cone",), colours=("blue",))
    assert facts_found(reading(one[1:], "static", "noon", "grass"), 0, cones) == {
        "count": True, "colours": True, "shapes": False,
    }  # fmt: skip


def test_relations_and_empty_scenes() -> None:
    asked = Paraphrase("", 0, 2, (("white", "cone"), ("black", "cube")), relation="behind")
    far, near = ("white", "cone", "still", 1), ("black", "cube", "still", 0)
    assert facts_found(reading([near, far], "static", "noon", "grass"), 0, asked)["relation"]
    swapped = [("black", "cube", "still", 1), ("white", "cone", "still", 0)]
    assert not facts_found(reading(swapped, "static", "noon", "grass"), 0, asked)["relation"]
    empty = reading([], "static", "overcast", "snow")
    assert not facts_found(empty, 0, asked)["relation"]
    assert not facts_found(empty, 0, Paraphrase("", 0, 1, motion="still"))["motion"]
    assert facts_found(empty, 0, Paraphrase("", 0, 0, light="overcast")) == {"count": True, "light": True}


def test_words_may_mean_one_light_or_another() -> None:
    dusk = Paraphrase("", 0, 0, light="sunset", or_light="dusk")
    right = {light: facts_found(reading([], "static", light, "snow"), 0, dusk)["light"] for light in a.LIGHTS}
    assert {light for light, found in right.items() if found} == {"sunset", "dusk"}


def test_a_reading_in_words() -> None:
    shown = reading([("red", "ball", "left", 0), ("blue", "cube", "still", 1)], "pan left", "noon", "grass")
    assert in_words(shown, 0) == "red ball left, blue cube still; pan left, noon, grass"
    assert in_words(reading([], "static", "night", "snow"), 0) == "nothing; static, night, snow"
