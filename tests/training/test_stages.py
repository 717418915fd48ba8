"""Sittings are divided among stages in their order: nothing is begun that cannot go on, and time is never exceeded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.training.members import MEMBERS
from filmgate.training.stages import KINDS, STAGES, State, chosen, clips_for, divided, finished, left_of, required

NAMES = list(STAGES)
progresses = st.fixed_dictionaries({name: st.floats(0, 1) for name in NAMES})


def test_the_table_is_of_one_piece() -> None:
    package = Path(__file__).parents[2] / "src" / "filmgate" / "training"
    for place, (name, stage) in enumerate(STAGES.items()):
        assert stage.name == name
        assert (package / f"{stage.program}.py").is_file()
        assert set(required(stage)) <= set(NAMES[:place])
        assert {need for need, _ in stage.needs} <= set(NAMES)
        assert stage.kind is None or KINDS[stage.kind].vae in required(stage)
        if "--member" in stage.options:
            assert stage.options[stage.options.index("--member") + 1] in MEMBERS
    assert len({stage.weights for stage in STAGES.values()}) == len(STAGES)
    assert STAGES["base"].stop == STAGES["mixed"].start


@given(progresses, st.floats(1, 4000), st.booleans())
def test_no_sitting_takes_longer_than_it_may(progress: dict[str, float], seconds: float, finish: bool) -> None:
    state = State(progress)
    slots = divided(STAGES, state, seconds, finish=finish)
    now = end = 0.0
    for slot in slots:
        assert slot.training >= 0
        if not slot.beside:
            assert slot.begins == pytest.approx(end)
            now = slot.begins
        assert slot.begins == now
        end = max(end, slot.ends)
        if slot.name in STAGES:
            assert not finished(STAGES[slot.name], progress[slot.name])
            assert slot.reaches <= STAGES[slot.name].stop + 1e-6
    assert end <= seconds + 1e-6


def test_stages_go_on_in_order_and_one_that_does_not_end_is_the_last() -> None:
    state = State({"vae": 1.0, "text": 1.0, "base": 0.3})
    slots = divided(STAGES, state, 600)
    assert [slot.name for slot in slots] == ["fill rich", "base"]
    assert 0.3 < slots[1].reaches < STAGES["base"].stop
    later = divided(STAGES, State({**state.progress, "base": 0.65}, frozenset({"rich"})), 1200)
    assert [slot.name for slot in later] == ["mixed", "high_noise", "low_noise"]
    assert later[0].training == STAGES["mixed"].seconds


def test_measured_rates_change_what_is_filled() -> None:
    state = State({"vae": 1.0, "text": 1.0})
    slow = State(state.progress, rates={"fill rich": 30.0, "compile rich": 10.0})
    usual, changed = (divided(STAGES, s, 900)[0] for s in (state, slow))
    assert clips_for(KINDS["rich"], 30.0, 900) == int(30 * 0.13 * 900)
    assert changed.other == pytest.approx(25 + 117)
    assert usual.other == pytest.approx(130 + 117, abs=0.1)


def test_no_small_buffer_is_begun_late() -> None:
    state = State({name: 1.0 for name in NAMES if name not in ("camera_low", "ti2v")}, frozenset({"rich"}))
    left = STAGES["camera_low"].seconds + STAGES["camera_low"].overhead
    assert [slot.name for slot in divided(STAGES, state, left + 250)] == ["camera_low"]
    names = [slot.name for slot in divided(STAGES, state, left + 2500)]
    assert names == ["camera_low", "fill large", "ti2v"]


def test_all_can_be_shortened_to_end_within_a_sitting() -> None:
    state = State({name: 1.0 for name in NAMES if name not in ("high_noise", "low_noise")}, frozenset({"rich"}))
    wanted = chosen("high_noise,low_noise", {})
    slots = divided(wanted, state, 500, finish=True)
    assert [slot.name for slot in slots] == ["high_noise", "low_noise"]
    assert slots[-1].ends == pytest.approx(500)
    assert [slot.reaches for slot in slots] == pytest.approx([1.0, 1.0])
    assert slots[1].training / slots[0].training == pytest.approx(540 / 360)
    assert divided(wanted, state, 5000, finish=True)[0].training == left_of(wanted["high_noise"], 0.0)


def test_text_trains_beside_the_vae_or_alone() -> None:
    together = divided(STAGES, State({}), 1600)
    assert [slot.name for slot in together[:2]] == ["vae", "text"]
    assert together[1].begins == 0.0
    assert together[2].begins == together[0].ends
    filling = divided(STAGES, State({"vae": 1.0}), 1000)
    assert [slot.name for slot in filling] == ["fill rich", "text", "base"]
    assert (filling[1].begins, filling[1].beside) == (0.0, "fill rich")
    assert filling[2].begins == filling[0].ends
    alone = divided(STAGES, State({"vae": 1.0}, frozenset({"rich"})), 1000)
    assert (alone[0].name, alone[0].other) == ("text", STAGES["text"].overhead)


def _all_but(*names: str) -> dict[str, float]:
    return {name: 0.0 if name in names else 1.0 for name in NAMES}


def test_what_trains_beside_another_is_waited_for_and_said_to_reach_what_it_reaches() -> None:
    """few_high ends soon; few_low has all of its way before it."""
    state = State(_all_but("few_high", "few_low", "dense") | {"few_high": 0.9}, frozenset({"rich"}))
    slots = divided(STAGES, state, 800)
    assert [slot.name for slot in slots] == ["few_high", "few_low", "dense"]
    assert (slots[1].beside, slots[1].training, slots[1].reaches) == ("few_high", 240.0, 1.0)
    assert slots[2].begins == slots[1].ends > slots[0].ends
    cut = divided(STAGES, state, 150)
    assert cut[1].reaches == pytest.approx((150 - 60) / 240)


@pytest.mark.parametrize("seconds", [400.0, 3000.0])
def test_shortening_all_does_not_shorten_what_trains_beside_the_last_seconds_of_another(seconds: float) -> None:
    state = State(_all_but("few_high", "few_low") | {"few_high": 0.95}, frozenset({"rich"}))
    slots = divided(STAGES, state, seconds, finish=True)
    assert [slot.training for slot in slots] == pytest.approx([12.0, 240.0])
    shorter = divided(STAGES, state, 60 + 120, finish=True)
    assert [slot.training for slot in shorter] == pytest.approx([6.0, 120.0], rel=1e-5)
    assert [slot.reaches for slot in shorter] == pytest.approx([1.0, 1.0])


def test_a_text_encoder_is_not_shortened_to_the_filling_beside_it() -> None:
    state = State({"vae": 1.0}, rates={"fill rich": 5000.0, "compile rich": 10.0})
    slots = divided(chosen("vae,text,base", {}), state, 3000, finish=True)
    assert [slot.name for slot in slots] == ["fill rich", "text", "base"]
    assert slots[1].training == STAGES["text"].seconds
    assert slots[2].begins == slots[1].ends


def test_nothing_is_called_finished_that_was_hardly_trained() -> None:
    """Less than is worth starting for is no shortening."""
    state = State(_all_but("high_noise", "low_noise"), frozenset({"rich"}))
    slots = divided(STAGES, state, 70, finish=True)
    assert [slot.name for slot in slots] == ["high_noise"]
    assert slots[0].reaches == pytest.approx(40 / 360)


def test_what_begins_anew_is_begun_only_where_there_is_time_for_all_of_it() -> None:
    text = State(_all_but("text"), frozenset({"rich", "large"}))
    need = STAGES["text"].seconds + STAGES["text"].overhead
    assert divided(STAGES, text, need - 1) == []
    assert [slot.reaches for slot in divided(STAGES, text, need)] == [1.0]


def test_a_reader_shortens_its_schedule_to_what_is_left_but_not_to_nothing() -> None:
    """The machine is there anyway, and a sitting that trained it late is better than one more."""
    reader = State(_all_but("reader"), frozenset({"rich", "large"}))
    whole, overhead = STAGES["reader"].seconds, STAGES["reader"].overhead
    assert divided(STAGES, reader, 0.7 * whole + overhead - 1) == []
    assert [(s.training, s.reaches) for s in divided(STAGES, reader, 0.7 * whole + overhead)] == [(0.7 * whole, 1.0)]
    assert [(s.training, s.reaches) for s in divided(STAGES, reader, whole + overhead + 99)] == [(whole, 1.0)]
    assert divided(STAGES, reader, whole + overhead - 100, finish=True)[0].training == pytest.approx(320)


def test_what_needs_a_stage_waits_for_its_end() -> None:
    """There is no time for the text encoder beside the VAE, and without it none for what reads it."""
    slow = chosen("vae,text,base", {"text": 5000.0})
    assert [slot.name for slot in divided(slow, State({}), 1600)] == ["vae"]


def test_text_does_not_wait_for_a_filling_that_does_not_come() -> None:
    slots = divided(STAGES, State({"vae": 1.0}), 181)
    assert [(slot.name, slot.beside) for slot in slots] == [("text", "")]


def test_unknown_stages_and_times_are_refused() -> None:
    assert list(chosen("low_noise,base", {"base": 5.0})) == ["base", "low_noise"]
    assert chosen(None, {"base": 5.0})["base"].seconds == 5.0
    with pytest.raises(UnknownName):
        chosen("bass", {})
    with pytest.raises(UnknownName):
        chosen(None, {"bass": 1.0})
    with pytest.raises(InvalidRequest):
        chosen(None, {"base": 0.0})
