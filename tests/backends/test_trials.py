"""Trials over a tiny pair: together or each by itself, the numbers are the same."""

import os
import time

import numpy as np
import pytest
import torch
from tests.backends.test_local_ranks import plan_for

from filmgate.backends import trials
from filmgate.backends.trial_store import FOLDER, TrialStore
from filmgate.direction.acceleration import followed
from filmgate.direction.gating import Facts
from filmgate.spec import (
    AccelerationUse,
    DamagedFile,
    DeviceError,
    EightBit,
    GuidanceReuse,
    Progress,
    SparseAttention,
    TaylorSeer,
)

FACTS = Facts("w" * 64, "2026-11-30T12:00:00Z", "torch 2", "a processor")
MISSING = DeviceError("attention by blocks needs nvidia-cudnn-frontend, which is not installed")


@pytest.fixture(scope="module")
def plans(wan_pair):
    exact = plan_for(wan_pair, 1, steps=8)
    ways = {"predicted": TaylorSeer(interval=2, order=1, protected=1), "kept": GuidanceReuse(after=0.3, interval=2)}
    recipes = {name: (AccelerationUse(expert="low_noise", acceleration=one),) for name, one in ways.items()}
    return exact, {
        name: exact.model_copy(update={"acceleration": followed(exact, recipe, None, "fast")})
        for name, recipe in recipes.items()
    }


def test_numbers_and_frames(plans):
    exact, others = plans
    [tried] = trials.run_trials([exact], [others], None, frames=True)
    assert set(tried.frames) == {"", "predicted", "kept"}
    shape = (exact.video.frames, exact.video.height, exact.video.width, 3)
    assert all(clip.shape == shape and clip.dtype == np.uint8 for clip in tried.frames.values())
    for name in others:
        skipped = sum(work.blocks != "computed" or work.difference == "kept" for work in others[name].acceleration.work)
        assert len(tried.forward[name]) == skipped > 0
        assert len(tried.trajectory[name]) == 8
        first = next(i for i, error in enumerate(tried.trajectory[name]) if error > 0)
        assert exact.steps[first].expert == "low_noise", "before, they are one walk"
    assert set(tried.trajectory) == set(others)


def test_large_videos_are_looked_at_one_recipe_at_a_time_after_one_exact_walk(plans, monkeypatch):
    exact, others = plans
    [together] = trials.run_trials([exact], [others], None, frames=False)
    monkeypatch.setattr(trials, "_TOGETHER", 0)
    asked = []
    whole = trials.walk_exact
    monkeypatch.setattr(trials, "walk_exact", lambda *args, **how: asked.append(list(args[1])) or whole(*args, **how))
    [apart] = trials.run_trials([exact], [others], None, frames=False)
    assert asked == [["predicted", "kept"]]
    assert apart.forward == together.forward
    assert apart.trajectory == together.trajectory
    assert apart.ratios == together.ratios


def recipe_of(*accelerations):
    return tuple(AccelerationUse(expert="low_noise", acceleration=one) for one in accelerations)


def lightened(exact):
    recipe = recipe_of(EightBit(linear=False))
    return exact.model_copy(update={"acceleration": followed(exact, recipe, None, "fast")})


def without_package(monkeypatch, error=MISSING):
    """As on a GPU without the package that the kernels come from."""

    def check(*_, **__):
        raise error

    for place in ("pipeline.speed", "runtime.prepare"):  # before anything is loaded, and once it is
        monkeypatch.setattr(f"filmgate.engine.{place}.check_block_attention", check)


def test_what_is_not_installed_is_known_before_anything_is_loaded(plans, monkeypatch):
    exact, _ = plans
    light = [recipe_of(EightBit()), recipe_of(SparseAttention()), recipe_of(TaylorSeer(), SparseAttention())]
    assert [trials.unavailable(exact, recipe) for recipe in light] == ["", "", ""], "on a CPU it always can"
    without_package(monkeypatch)
    assert {trials.unavailable(exact, recipe) for recipe in light} == {str(MISSING)}
    for recipe in (recipe_of(TaylorSeer()), recipe_of(EightBit(attention=False))):
        assert trials.unavailable(exact, recipe) == ""


def test_a_recipe_that_cannot_be_carried_out_costs_no_other(plans, monkeypatch):
    exact, others = plans
    without_package(monkeypatch)
    every = {"light": lightened(exact), **others}
    events = list(trials.follow_trials([exact, exact], [every, every], None, frames=False))
    assert [event for event in events if isinstance(event, trials.LeftOut)] == [("light", str(MISSING))]
    measured = [event.name for event in events if isinstance(event, trials.Measured)]
    assert measured == ["predicted", "kept"] * 2
    tried = [event for event in events if isinstance(event, trials.Tried)]
    assert [set(one.trajectory) for one in tried] == [set(others)] * 2


def test_a_recipe_for_which_memory_is_too_small_costs_no_other(plans, monkeypatch):
    exact, others = plans
    whole = trials.walk_recipe

    def walk(plan, name, *rest):
        if name == "predicted":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(plan, name, *rest)

    monkeypatch.setattr(trials, "walk_recipe", walk)
    events = list(trials.follow_trials([exact], [others], None, frames=False))
    [left] = [event for event in events if isinstance(event, trials.LeftOut)]
    assert left.name == "predicted"
    assert "ran out of memory" in left.reason
    assert [event.name for event in events if isinstance(event, trials.Measured)] == ["kept"]


def test_other_errors_end_the_trials(plans, monkeypatch):
    exact, _ = plans
    without_package(monkeypatch, DamagedFile("a file", "is damaged"))
    with pytest.raises(DamagedFile):
        list(trials.follow_trials([exact], [{"light": lightened(exact)}], None, frames=False))


def test_progress_counts_the_steps_of_all_walks_and_knows_what_is_left(plans):
    exact, others = plans
    events = list(trials.follow_trials([exact] * 2, [{"light": lightened(exact), **others}] * 2, None, frames=False))
    told = [event for event in events if isinstance(event, Progress)]
    assert len({event.total for event in told}) == 1
    assert [event.done for event in told] == list(range(1, told[0].total + 1))
    assert told[-1].eta_seconds == 0, "as many passes were made as were counted before"
    assert told[len(told) // 2].eta_seconds > 0


def killed_after_one_recipe(plans, store):
    exact, others = plans
    events = trials.follow_trials([exact], [others], None, frames=False, store=store)
    first = next(event for event in events if isinstance(event, trials.Measured))
    events.close()
    return first


@pytest.mark.parametrize("together", [0, 8192])
def test_a_killed_run_goes_on_where_it_was(plans, monkeypatch, tmp_path, together):
    exact, others = plans
    monkeypatch.setattr(trials, "_TOGETHER", together)
    [whole] = trials.run_trials([exact], [others], None, frames=False)
    store = TrialStore(tmp_path, FACTS)
    first = killed_after_one_recipe(plans, store)
    assert store.measured(exact, others) == [first.name] == ["predicted"]
    calls = []
    for name in ("walk_exact", "walk_recipe"):
        make = getattr(trials, name)
        monkeypatch.setattr(
            trials, name, lambda *args, _name=name, _make=make, **how: calls.append(_name) or _make(*args, **how)
        )
    events = list(trials.follow_trials([exact], [others], None, frames=False, store=store))
    assert calls == (["walk_recipe"] if together == 0 else ["walk_exact", "walk_recipe"])
    assert [event.name for event in events if isinstance(event, trials.Measured)] == ["predicted", "kept"]
    assert [event for event in events if isinstance(event, trials.Tried)] == [whole]
    calls.clear()
    again = list(trials.follow_trials([exact], [others], None, frames=False, store=store))
    assert again[-2] == whole
    assert again[-1].done == again[-1].total
    assert not calls, "all is measured"


def test_what_was_kept_holds_for_the_same_only_and_is_thrown_away(plans, monkeypatch, tmp_path):
    exact, others = plans
    monkeypatch.setattr(trials, "_TOGETHER", 0)
    store = TrialStore(tmp_path, FACTS)
    killed_after_one_recipe(plans, store)
    assert {path.suffix for path in (tmp_path / FOLDER).iterdir()} == {".json", ".safetensors"}
    for facts in (FACTS._replace(weights="v" * 64), FACTS._replace(versions="torch 3")):
        assert TrialStore(tmp_path, facts).measured(exact, others) == []
    other = exact.model_copy(update={"seed": exact.seed + 1})
    assert store.measured(other, others) == []
    store.clear([exact], [{}])
    assert store.measured(exact, others) == ["predicted"], "it belongs to another run"
    list(trials.follow_trials([exact], [others], None, frames=False, store=store))
    assert {path.suffix for path in (tmp_path / FOLDER).iterdir()} == {".json"}, "the walk is needed no more"
    store.clear([exact], [others])
    assert not (tmp_path / FOLDER).exists()


def test_damaged_files_are_measured_again(plans, monkeypatch, tmp_path):
    exact, others = plans
    monkeypatch.setattr(trials, "_TOGETHER", 0)
    store = TrialStore(tmp_path, FACTS)
    killed_after_one_recipe(plans, store)
    for path in (tmp_path / FOLDER).iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    [whole] = trials.run_trials([exact], [others], None, frames=False)
    events = list(trials.follow_trials([exact], [others], None, frames=False, store=store))
    assert [event for event in events if isinstance(event, trials.Tried)] == [whole]


def test_of_walks_that_nobody_came_back_for_few_stay(plans, monkeypatch, tmp_path):
    exact, others = plans
    monkeypatch.setattr(trials, "_TOGETHER", 0)
    (tmp_path / FOLDER).mkdir()
    for part, age in ((".old.1234.part", 7200), (".new.1234.part", 0)):
        (tmp_path / FOLDER / part).touch()
        os.utime(tmp_path / FOLDER / part, (time.time() - age, time.time() - age))
    for weights in "abc":
        killed_after_one_recipe(plans, TrialStore(tmp_path, FACTS._replace(weights=weights * 64)))
    assert len(list((tmp_path / FOLDER).glob("*.safetensors"))) == 2
    assert [path.name for path in (tmp_path / FOLDER).glob(".*.part")] == [".new.1234.part"]
    assert TrialStore(tmp_path, FACTS._replace(weights="a" * 64)).measured(exact, others) == ["predicted"]
