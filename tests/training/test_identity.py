"""Who is in a clip: looks as a perfect reader sees them, what is lost when they change, whom a judge takes for whom."""

from __future__ import annotations

import pytest
import torch

from filmgate.spec import InvalidRequest
from filmgate.training.identity import (
    PARTS,
    SAID,
    identity_rows,
    looks_asked,
    looks_read,
    parts_right,
    scenes_with,
    shows,
    strangers,
    thirds,
)
from filmgate.training.readers import OBJECT_HEADS, SCENE_HEADS, ReaderConfig, Reading, WorldReader, heads_of
from filmgate.training.readers import reading_targets as targets_of
from filmgate.training.truth import question_scenes, questions
from filmgate.training.world.catalogue import RICH
from filmgate.training.world.characters import Look, look

HEADS = heads_of(RICH)


def perfect(scenes) -> Reading:
    answers = {name: value.clamp_min(0) for name, value in targets_of(scenes).items()}
    return Reading({n: answers[n] for n in HEADS.objects}, {n: answers[n] for n in HEADS.scene})


def test_a_perfect_reader_sees_the_look_that_was_drawn():
    wanted = [look(seed) for seed in range(12)]
    assert looks_read(perfect(scenes_with(wanted, 3))) == wanted
    assert {one.hat is None for one in wanted} == {True, False}


def test_looks_of_questions_are_those_of_their_scenes():
    asked = questions(120, world=RICH)
    numbers, looks = looks_asked(asked)
    assert 5 < len(numbers) < 60
    seen = looks_read(perfect(question_scenes(120, world=RICH)))
    assert [seen[number] for number in numbers] == looks
    assert None in seen, "most scenes show nobody"


def test_parts_are_counted():
    one = Look("robot", "red", "blue", "green", None)
    assert parts_right(one, one) == len(PARTS)
    assert parts_right(one._replace(hat="pink", head="white"), one) == 3
    assert parts_right(one._replace(head="white"), one, SAID) == len(SAID)
    assert parts_right(None, one) == 0


def test_somebody_who_changes_on_the_way_is_not_kept():
    wanted = [look(1), look(2)]
    changed = [wanted[0], wanted[1]._replace(body="white", head="white", limbs="white")]
    whole, late = perfect(scenes_with(wanted, 3)), perfect(scenes_with(changed, 3))
    readings = iter([whole, whole, whole, late])
    rows = identity_rows(lambda _: next(readings), torch.zeros(2, 3, 5, 8, 8, dtype=torch.uint8), wanted)
    assert rows["right"].tolist() == [1, 1]
    assert rows["throughout"].tolist() == [1, 0]
    assert rows["kept"][0] == 1
    assert rows["kept"][1] == pytest.approx((5 + parts_right(changed[1], wanted[1])) / 10)
    assert rows["kept"][1] < 1


def test_thirds_are_the_beginning_the_middle_and_the_end():
    rgb = torch.arange(33, dtype=torch.uint8).view(1, 1, 33, 1, 1).expand(1, 3, 33, 2, 2)
    parts = thirds(rgb)
    assert all(part.shape == rgb.shape for part in parts)
    ends = [(int(part[0, 0, 0, 0, 0]), int(part[0, 0, -1, 0, 0])) for part in parts]
    assert ends == [(0, 11), (11, 21), (21, 32)]


def test_a_judge_knows_somebody_from_others():
    wanted = look(7)
    others = strangers(wanted, 20, 0)
    assert wanted not in others
    assert all(parts_right(other, wanted) <= 3 for other in others)
    assert all(shows(perfect(scenes_with([wanted] * 5, 1)), wanted))
    assert not any(shows(perfect(scenes_with(others, 1)), wanted))


def test_readers_that_know_no_characters_are_refused():
    zero = torch.zeros(1, 3, dtype=torch.long)
    reading = Reading(dict.fromkeys(OBJECT_HEADS, zero), dict.fromkeys(SCENE_HEADS, zero[:, 0]))
    with pytest.raises(InvalidRequest, match="know no characters"):
        looks_read(reading)


def test_an_untrained_reader_answers_in_looks():
    torch.manual_seed(0)
    reader = WorldReader(ReaderConfig(dim=24, layers=1, frames=2, height=32, width=32), HEADS)
    reading, features = reader.examine(torch.zeros(3, 3, 5, 32, 32, dtype=torch.uint8), batch=2)
    assert features.shape == (3, 24)
    assert len(looks_read(reading)) == 3
    torch.testing.assert_close(reader.read(torch.zeros(3, 3, 5, 32, 32, dtype=torch.uint8)).scene, reading.scene)
