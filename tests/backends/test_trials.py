"""Trials over a tiny pair: together or each by itself, the numbers are the same."""

import numpy as np
import pytest
from tests.backends.test_local_ranks import plan_for

from filmgate.backends import trials
from filmgate.direction.acceleration import followed
from filmgate.spec import AccelerationUse, GuidanceReuse, TaylorSeer


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
