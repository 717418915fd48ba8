"""What a machine remembers of the videos that it made."""

import json
from importlib.metadata import PackageNotFoundError

import pytest
from tests.takes import make_plan, make_take

from filmgate.backends import measurements
from filmgate.backends.measurements import (
    FILE,
    computing_versions,
    expected_of,
    measured_by,
    read_measurements,
    remember,
    remembered,
    this_machine,
)
from filmgate.direction.calibration import correction_for
from filmgate.spec import Done, Started, Timings, VideoShape


def timings(steps=(9.0, 2.0, 4.0, 3.0), decode=6.0):
    return Timings(load=1.0, encode=1.0, steps=steps, decode=decode, deliver=1.0, total=20.0)


def measured(width=48, decode=6.0):
    return measured_by(make_plan(video=VideoShape(frames=5, height=32, width=width)), timings(decode=decode))


def test_the_first_step_does_not_count_unless_it_is_alone():
    plan = make_plan()
    found = measured_by(plan, timings())
    # Two passes a step: the median of 1, 2 and 1.5.
    assert found.forward == 1.5
    assert found.decode == 6.0
    assert (found.expected_forward, found.expected_decode) == (expected_of(plan).forward, expected_of(plan).decode)
    alone = measured_by(plan.model_copy(update={"steps": plan.steps[:1]}), timings((9.0,)))
    assert alone.forward == 4.5


def test_a_setting_says_what_it_depends_on():
    setting = measured().setting
    assert setting.device == "A processor, 2 cores"
    assert setting.versions == computing_versions()
    assert "torch" in setting.versions
    assert "filmgate" in setting.versions
    assert setting.video.width == 48


def test_versions_name_the_kernels_that_are_installed(monkeypatch):
    here = {"torch": "2.11", "triton": "3.6", "nvidia-cudnn-cu13": "9.19", "flash-attn-4": "4.0"}

    def version(name):
        if name not in here:
            raise PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(measurements, "version", version)
    assert computing_versions() == "torch 2.11, triton 3.6, nvidia-cudnn-cu13 9.19, flash-attn-4 4.0"


def test_nothing_is_known_at_first(tmp_path):
    assert read_measurements(tmp_path / "nowhere") == ()
    machine = this_machine(tmp_path)
    assert machine.measured == ()
    assert machine.host_memory > 1 << 28
    assert this_machine(tmp_path, 5).host_memory == 5


def test_measurements_are_remembered_beside_older_ones(tmp_path):
    cache = tmp_path / "cache"
    told = (measured(), measured(64), measured(decode=7.0))
    for one in told:
        remember(cache, one)
    assert read_measurements(cache) == told
    assert this_machine(cache).versions == computing_versions()
    assert [path.name for path in cache.iterdir()] == [FILE]


def test_of_one_setting_the_last_five_are_kept(tmp_path):
    remember(tmp_path, measured(64))
    for seconds in range(1, 9):
        remember(tmp_path, measured(decode=float(seconds)))
    kept = read_measurements(tmp_path)
    assert kept[0] == measured(64)
    assert [one.decode for one in kept[1:]] == [4.0, 5.0, 6.0, 7.0, 8.0]


def test_one_video_on_a_busy_machine_changes_no_plan(tmp_path):
    plan = make_plan()
    quiet = measured_by(plan, timings())
    busy = measured_by(plan, timings(tuple(20 * seconds for seconds in (9.0, 2.0, 4.0, 3.0)), decode=90.0))
    remember(tmp_path, quiet)
    before = correction_for(quiet.setting, quiet.expected_forward, read_measurements(tmp_path))
    remember(tmp_path, busy)
    assert correction_for(quiet.setting, quiet.expected_forward, read_measurements(tmp_path)) == before
    # A machine that stays so is planned with as it is.
    for _ in range(5):
        remember(tmp_path, busy)
    after = correction_for(quiet.setting, quiet.expected_forward, read_measurements(tmp_path))
    assert after.forward == pytest.approx(20 * before.forward)


def test_a_file_with_one_measurement_of_each_setting_is_read_and_added_to(tmp_path):
    """As older versions wrote it."""
    old = [measured().model_dump(mode="json"), measured(64).model_dump(mode="json")]
    (tmp_path / FILE).write_text(json.dumps(old))
    remember(tmp_path, measured(decode=7.0))
    assert read_measurements(tmp_path) == (measured(), measured(64), measured(decode=7.0))


@pytest.mark.parametrize("text", ["", "{", "[]x", '[{"forward": 1}]'])
def test_a_damaged_file_counts_as_none_and_is_replaced(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert read_measurements(tmp_path) == ()
    remember(tmp_path, measured())
    assert read_measurements(tmp_path) == (measured(),)


def test_only_the_newest_are_kept(tmp_path):
    known = [measured(16 * width).model_dump(mode="json") for width in range(1, 401)]
    (tmp_path / FILE).write_text(json.dumps(known))
    for width in range(401, 404):
        remember(tmp_path, measured(16 * width))
    kept = read_measurements(tmp_path)
    assert len(kept) == 400
    assert (kept[0], kept[-1]) == (measured(16 * 4), measured(16 * 403))


def events(take):
    yield Started(plan=take.plan)
    yield Done(take=take)


def test_a_finished_video_is_remembered_before_it_is_told(tmp_path):
    take = make_take(timings=timings())
    told = remembered(events(take), tmp_path)
    assert next(told) == Started(plan=take.plan)
    assert read_measurements(tmp_path) == ()
    assert next(told) == Done(take=take)
    assert read_measurements(tmp_path) == (measured_by(take.plan, take.timings),)


def test_a_cache_that_cannot_be_written_spoils_no_video(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    take = make_take(timings=timings())
    assert list(remembered(events(take), blocked))[-1] == Done(take=take)
    assert list(remembered(events(take), None))[-1] == Done(take=take)


def test_closing_closes_the_work():
    closed = []

    def work():
        try:
            yield Started(plan=make_plan())
        finally:
            closed.append(True)

    told = remembered(work(), None)
    next(told)
    told.close()
    assert closed == [True]
