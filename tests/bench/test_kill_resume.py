"""A handful of the kills that ``bench/kill_resume.py`` deals out, on a tiny model; that script does fifty."""

import random

import pytest

import kill_resume
from kill_resume import WAYS, Moment, Place, half_published, moments, result, round_of, run

WISH = {"prompt": "a red ball", "model": "tiny", "frames": 5, "steps": 4, "seed": 3}


@pytest.fixture(scope="module")
def reference(wan_pair, tmp_path_factory):
    root = tmp_path_factory.mktemp("kills")
    place = Place(root / "reference", root / "cache", WISH, (str(wan_pair),))
    return place, run(place), result(place)


@pytest.mark.parametrize(
    ("moment", "again"),
    [
        (Moment("event", 5), None),
        (Moment("event", 7), Moment("event", 3)),
        (Moment("write", 2), None),
        (Moment("link", 1), None),
        (Moment("link", 3), None),
    ],
)
def test_killed_and_started_again_it_is_as_if_nothing_had_been(reference, tmp_path, moment, again):
    place, _, expected = reference
    other = Place(tmp_path, place.cache, place.wish, place.models)
    hits, wrong = round_of(other, moment, again, expected)
    assert hits >= 1
    assert wrong == []


@pytest.fixture(scope="module")
def other_ways(reference, tmp_path_factory):
    """What the commands leave that nobody kills."""
    plain, root = reference[0], tmp_path_factory.mktemp("ways")
    places = {way: Place(root / way, root / "xdg" / "filmgate", plain.wish, plain.models, way) for way in WAYS[1:]}
    return {way: (place, run(place), result(place)) for way, place in places.items()}


@pytest.mark.parametrize(
    ("way", "moment"),
    [
        ("unkept", Moment("event", 5)),
        ("unkept", Moment("link", 1)),
        ("twins", Moment("event", 9)),
        ("twins", Moment("link", 2)),
        ("twins", Moment("link", 6)),
    ],
)
def test_killed_commands_leave_nothing_when_they_are_given_again(other_ways, tmp_path, way, moment):
    place, _, expected = other_ways[way]
    other = Place(tmp_path, place.cache, place.wish, place.models, way)
    hits, wrong = round_of(other, moment, None, expected)
    assert (hits, wrong) == (1, [])


def test_two_equal_lines_are_two_files_of_one_work(other_ways):
    _, whole, found = other_ways["twins"]
    assert found["names"] == [f"{n}-a-red-ball.{suffix}" for n in ("001", "002") for suffix in ("json", "mp4", "png")]
    assert found["001-a-red-ball.mp4"] == found["002-a-red-ball.mp4"]
    assert whole.events == 2 * other_ways["unkept"][1].events


def test_steps_that_were_done_are_not_done_again(reference, tmp_path):
    place, whole, _ = reference
    after = whole.told.index(("denoise", 3)) + 2  # Started is not told
    other = Place(tmp_path, place.cache, place.wish, place.models)
    run(other, Moment("event", after))
    told = run(other).told
    assert [done for stage, done in told if stage == "denoise"] == [4]
    assert "encode" not in dict(told)


def test_the_comparison_can_fail(reference, tmp_path):
    place, _, expected = reference
    other = Place(tmp_path, place.cache, {**place.wish, "seed": 4}, place.models)
    _, wrong = round_of(other, Moment("event", 1), None, expected)
    assert [line.split(": ")[1] for line in wrong] == ["clip.mp4 differs", "clip.png differs", "manifest differs"]


def test_what_is_left_behind_is_seen(reference, tmp_path):
    place, _, expected = reference
    other = Place(tmp_path, place.cache, place.wish, place.models)
    run(other)
    assert not half_published(other)
    (other.output / ".clip.part").touch()
    assert result(other)["names"] != expected["names"]
    (other.output / "clip.json").unlink()
    assert half_published(other)


def test_every_boundary_comes_before_chance():
    found = list(moments(15, 2.0, 30, random.Random(0)))
    assert [moment.number for moment in found[:15]] == list(range(1, 16))
    assert {moment.kind for moment in found[22:]} == {"time"}
    assert all(0 <= moment.number <= 2 for moment in found[22:])


def test_a_process_that_fails_by_itself_is_no_kill(reference, tmp_path):
    place = reference[0]
    with pytest.raises(SystemExit, match="the process failed"):
        run(Place(tmp_path, place.cache, {**place.wish, "steps": -1}, place.models))
    assert kill_resume.VARYING == ("timings", "created")
