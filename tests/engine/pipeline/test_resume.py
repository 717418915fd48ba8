"""A run that ends after any step and goes on elsewhere gives the same bits as one that did not end."""

import numpy as np
import pytest
from tests.engine.pipeline.networks import RandomNetworks, random_plan

from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.store import DiskStore
from filmgate.spec import GuidanceRule, Progress

ORIGIN = {"plan": "the same"}
SIGMAS = (0.9998, 0.97, 0.93727, 0.83306, 0.62469, 0.3, 0.0)


def plan_of(solver="unipc", method="cfg", **changes):
    rule = GuidanceRule(method=method, momentum=-0.5) if method == "apg" else GuidanceRule(method=method)
    return random_plan(solver=solver, guidance_rule=rule, sigmas=SIGMAS, **changes)


def store(folder, plan):
    return DiskStore(folder, ORIGIN, len(plan.steps), interval=0.0)


def frames_of(items):
    return np.concatenate([item for item in items if isinstance(item, np.ndarray)])


def stop_after(items, stage, done):
    """As a kill: nothing is closed or tidied up, the items are just no longer asked for."""
    for item in items:
        if isinstance(item, Progress) and (item.stage, item.done) == (stage, done):
            return


@pytest.mark.parametrize("done", range(1, 7))
@pytest.mark.parametrize(
    ("solver", "method"),
    [
        ("unipc", "cfg"), ("dpmpp_2m", "cfg"), ("euler", "cfg_zero_star"), ("res_multistep", "cfg"),
        ("euler_ancestral", "cfg"), ("lcm", "nag"), ("unipc", "apg"),
    ],
)  # fmt: skip
def test_after_any_step(tmp_path, solver, method, done):
    plan = plan_of(solver, method)
    expected = frames_of(render(plan, RandomNetworks()))
    stop_after(render(plan, RandomNetworks(), store=store(tmp_path, plan)), "denoise", done)
    networks = RandomNetworks()
    items = list(render(plan, networks, store=store(tmp_path, plan)))
    assert np.array_equal(frames_of(items), expected)
    steps = [item.done for item in items if isinstance(item, Progress) and item.stage == "denoise"]
    assert steps == list(range(done + 1, 7)), "what was done is not done again"
    assert "+text_encoder" not in networks.log


@pytest.mark.parametrize(("stage", "done"), [("load", 1), ("encode", 1), ("load", 2), ("decode", 1), ("decode", 5)])
def test_at_any_other_boundary(tmp_path, stage, done):
    plan = plan_of()
    expected = frames_of(render(plan, RandomNetworks()))
    stop_after(render(plan, RandomNetworks(), store=store(tmp_path, plan)), stage, done)
    assert np.array_equal(frames_of(render(plan, RandomNetworks(), store=store(tmp_path, plan))), expected)


def test_again_and_again(tmp_path):
    plan = plan_of("unipc", "apg")
    expected = frames_of(render(plan, RandomNetworks()))
    for done in range(1, 7):
        stop_after(render(plan, RandomNetworks(), store=store(tmp_path, plan)), "denoise", done)
    assert np.array_equal(frames_of(render(plan, RandomNetworks(), store=store(tmp_path, plan))), expected)


@pytest.mark.parametrize("part", ["x", "guess-0", "guess-1", "origin", "average"])
def test_every_part_of_the_state_matters(tmp_path, part, monkeypatch):
    """What would come of a store that forgot a part: another video, so that the tests above would notice."""
    from filmgate.engine.pipeline import store as module

    plan = plan_of("unipc", "apg")
    expected = frames_of(render(plan, RandomNetworks()))
    stop_after(render(plan, RandomNetworks(), store=store(tmp_path, plan)), "denoise", 4)
    read = module.read_tensors

    def forgetful(path):
        tensors, metadata = read(path)
        return {name: value * (0.5 if name == part else 1) for name, value in tensors.items()}, metadata

    monkeypatch.setattr(module, "read_tensors", forgetful)
    assert not np.array_equal(frames_of(render(plan, RandomNetworks(), store=store(tmp_path, plan))), expected)


def test_the_eta_of_a_resumed_run_knows_what_steps_took(tmp_path):
    plan = plan_of(seconds=1000.0)
    stop_after(render(plan, RandomNetworks(), store=store(tmp_path, plan)), "denoise", 4)
    first = next(iter(render(plan, RandomNetworks(), store=store(tmp_path, plan))))
    assert first.note == "an unfinished run goes on with step 5 of 6"
    assert first.eta_seconds < 1000.0
