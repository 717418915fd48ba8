"""What fits where: the planner's answers, and which form of a model is taken."""

import pytest
from tests.economics.cases import GIB, machine, needs

from filmgate.direction.architectures import DESCRIBED, describe_published
from filmgate.direction.devices import profile_named
from filmgate.direction.planner import plan
from filmgate.direction.presets import PRESETS
from filmgate.economics.feasibility import (
    HERE,
    clips_of,
    feasible,
    few_step_preset,
    least_memory,
    place_of_card,
    places_of,
)
from filmgate.economics.timings import duration_of
from filmgate.spec import Request


def table(wanted, here=None):
    return {(one.model, one.form, one.place): one for one in feasible(wanted, places_of(here, wanted))}


def test_every_published_model_has_a_row_on_every_place():
    wanted = needs(cards=("rtx4090", "h100"))
    rows = feasible(wanted, places_of(machine(), wanted))
    assert {(one.model, one.place) for one in rows} == {(m, p) for m in DESCRIBED for p in (HERE, "rtx4090", "h100")}
    assert len({(one.model, one.form, one.place) for one in rows}) == len(rows)


def test_the_seconds_are_those_of_the_planner():
    setup = table(needs(cards=("h200",)))["wan2.2-t2v-a14b", "stock", "h200"]
    asked = Request(prompt="a", width=1280, height=720, frames=81)
    planned = plan(asked, describe_published(setup.model), profile_named("h200").description, lambda _: 160)
    assert setup.basis == "analytic"
    assert setup.seconds == pytest.approx(planned.seconds, rel=0.01)
    assert (setup.size, setup.frames, setup.fps, setup.steps) == ("1280x720", 81, 16, 40)
    assert (setup.memory_mode, setup.precision) == ("one-expert", "bf16")


def test_a_published_time_is_met_within_a_tenth():
    # Wan2.2, assets/comp_effic.png: TI2V-5B at 720p on one RTX 4090 takes 534.7 s
    setup = table(needs(cards=("rtx4090",)))["wan2.2-ti2v-5b", "stock", "rtx4090"]
    assert setup.seconds == pytest.approx(534.7, rel=0.1)


def test_what_others_hold_of_a_card_is_not_there():
    wanted = needs(cards=())
    wide, tight = (table(wanted, machine(free=free))["wan2.2-ti2v-5b", "stock", HERE] for free in (23, 12))
    assert wide.device_bytes > 12 * GIB >= tight.device_bytes
    assert not table(wanted, machine(free=2))["wan2.2-ti2v-5b", "stock", HERE].fits


def test_several_cards_count_if_they_are_alike_and_the_fullest_decides():
    wanted = needs(cards=())
    alike = machine(count=3)
    full = alike.gpus[1].model_copy(update={"free_bytes": 10 * GIB})
    other = alike.gpus[2].model_copy(update={"name": "NVIDIA L4"})
    (place,) = places_of(alike.model_copy(update={"gpus": (alike.gpus[0], full, other)}), wanted)
    assert (place.count, place.device.memory_bytes) == (2, 10 * GIB)


def test_a_machine_without_a_gpu_is_no_place():
    wanted = needs(cards=("h100",))
    assert [place.name for place in places_of(machine(count=0), wanted)] == ["h100"]


def test_a_gpu_that_was_found_in_another_way_counts():
    wanted = needs(cards=())
    device = profile_named("m4-max").description
    (place,) = places_of(machine(count=0), wanted, device)
    assert (place.here, place.device) == (True, device)


def test_a_screen_takes_two_gigabytes_of_a_card_and_nothing_of_a_mac():
    headless, desktop = place_of_card("rtx4090"), place_of_card("rtx4090", desktop=True)
    assert headless.device.memory_bytes - desktop.device.memory_bytes == 2 * 10**9
    assert place_of_card("m4-max", desktop=True) == place_of_card("m4-max")


def test_a_full_disk_rules_a_model_out_and_says_so():
    setups = table(needs(cards=()), machine(disk=50))
    large, small = (setups[name, "stock", HERE] for name in ("wan2.2-t2v-a14b", "wan2.2-ti2v-5b"))
    assert not large.fits
    assert "127 GB of disk, and 50 GB are free" in large.reason
    assert small.fits


def test_little_memory_of_the_machine_streams_from_disk():
    setups = table(needs(cards=()), machine(host=16))
    assert "from disk" in setups["wan2.2-t2v-a14b", "stock", HERE].memory_mode


def test_weights_in_eight_bits_only_where_they_are_much_faster():
    for setup in table(needs(cards=("rtx3060", "rtx4090", "h100"))).values():
        if setup.weights == "fp8":
            assert setup.offloaded
        if setup.fits and not setup.offloaded:
            assert setup.weights == "as_computed"


@pytest.mark.parametrize(
    ("seconds", "model", "clips", "frames"),
    [
        (5, "wan2.2-ti2v-5b", 1, 121), (5, "wan2.2-t2v-a14b", 1, 81), (5.06, "wan2.2-t2v-a14b", 1, 81),
        (3, "wan2.2-t2v-a14b", 1, 49), (12, "wan2.2-t2v-a14b", 3, 65), (0.1, "wan2.2-t2v-a14b", 1, 5),
        (60, "wan2.2-ti2v-5b", 12, 121),
    ],
)  # fmt: skip
def test_a_video_is_as_many_clips_as_it_takes(seconds, model, clips, frames):
    assert clips_of(seconds, PRESETS[model]) == clips
    setup = table(needs(cards=("h100",), seconds=seconds))[model, "stock", "h100"]
    assert setup.frames == frames
    assert setup.frames / setup.fps * clips >= seconds * 0.95


@pytest.mark.parametrize(
    ("resolution", "model", "size", "native"),
    [
        ("480p", "wan2.2-t2v-a14b", "832x480", "exact"), ("720p", "wan2.2-t2v-a14b", "1280x720", "exact"),
        ("1080p", "wan2.2-t2v-a14b", "1280x720", "smaller"), ("480p", "wan2.2-ti2v-5b", "1280x704", "larger"),
        ("720p", "wan2.2-ti2v-5b", "1280x704", "exact"), ("720p", "wan2.1-t2v-1.3b", "832x480", "smaller"),
    ],
)  # fmt: skip
def test_a_model_paints_at_a_size_that_it_was_made_for(resolution, model, size, native):
    setup = table(needs(cards=("h100",), resolution=resolution))[model, "stock", "h100"]
    assert (setup.size, setup.native) == (size, native)


def test_able_is_who_can_do_the_kind():
    def able(kind):
        return {one.model for one in feasible(needs(kind=kind, cards=("h200",)), [place_of_card("h200")]) if one.able}

    assert {"wan2.2-t2v-a14b", "wan2.2-ti2v-5b"} <= able("t2v")
    assert {"wan2.2-i2v-a14b", "wan2.2-ti2v-5b"} <= able("i2v")
    assert "wan2.2-i2v-a14b" in able("flf2v")
    assert "wan2.2-ti2v-5b" not in able("flf2v")


def test_few_steps_are_those_that_are_published():
    wanted = needs()
    assert few_step_preset("wan2.2-t2v-a14b", wanted) == "lightning"
    assert few_step_preset("wan2.2-ti2v-5b", wanted) == "fastwan"
    assert few_step_preset("wan2.2-vace-a14b", wanted) is None
    assert few_step_preset("wan2.2-i2v-a14b", needs(kind="flf2v")) == "lightning-flf2v"
    assert few_step_preset("wan2.2-i2v-a14b", needs(kind="i2v")) == "lightning"


def test_the_least_memory_is_where_it_stops_to_fit():
    wanted, place = needs(cards=("rtx4090",)), place_of_card("rtx4090")
    setup = table(wanted)["wan2.2-t2v-a14b", "stock", "rtx4090"]
    least = least_memory(setup, wanted, place)
    for factor, fits in ((1.0, True), (0.97, False)):
        device = place.device.model_copy(update={"memory_bytes": round(least * factor)})
        found = feasible(wanted, [place.model_copy(update={"device": device})], variants=["wan2.2-t2v-a14b"])
        assert next(one.fits for one in found if one.form == "stock") == fits


@pytest.mark.parametrize(
    ("model", "card"), [("wan2.2-t2v-a14b", "h100"), ("wan2.2-ti2v-5b", "rtx4090"), ("wan2.2-t2v-a14b", "a100-80"),
                        ("wan2.2-t2v-a14b", "l40s"), ("wan2.1-t2v-14b", "h100")],
)  # fmt: skip
def test_seconds_are_those_that_costs_are_reckoned_with(model, card):
    wanted = needs(resolution="720p", seconds=5.0)
    (setup,) = (one for one in feasible(wanted, [place_of_card(card)], variants=[model]) if one.form == "stock")
    reckoned = duration_of(model, card, 1, "720p", 5)
    assert setup.seconds - setup.load_seconds == pytest.approx(reckoned.seconds, rel=0.02)
    assert setup.seconds_from == reckoned.basis
    assert (setup.basis == "published") == (reckoned.row is not None)
