"""Several plans, phase by phase, are each what they are alone."""

import numpy as np
import pytest
from tests.engine.pipeline.networks import RandomNetworks, random_plan

from filmgate.engine.pipeline.batch import Clock, walk_all
from filmgate.engine.pipeline.render import NO_PICTURES, Run, render
from filmgate.engine.pipeline.store import DiskStore, MemoryStore
from filmgate.spec import BackendError, FilmgateError, InvalidRequest, Progress, VideoShape

PLANS = [
    random_plan(seed=1),
    random_plan(seed=2, prompt="a blue cube"),
    random_plan(seed=1, solver="euler"),
    random_plan(seed=3, video=VideoShape(frames=9, height=48, width=32)),
    random_plan(seed=4, boundary=0.999999),  # the low-noise expert alone
    random_plan(seed=5, boundary=0.1),  # the high-noise expert alone
    random_plan(seed=6, guidance=(1.0, 1.0)),
    random_plan(seed=7, solver="lcm"),
]


def stores(kind, folder):
    for number, plan in enumerate(PLANS):
        place = folder / str(number)
        place.mkdir(exist_ok=True)
        yield MemoryStore() if kind == "memory" else DiskStore(place, {"plan": plan.fingerprint}, len(plan.steps))


def frames_of(items):
    return np.concatenate([item for item in items if isinstance(item, np.ndarray)])


def finished(runs, networks):
    items = list(walk_all(runs))
    frames = [frames_of(run.advance()) for run in runs]
    networks.release("vae")
    return items, frames


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_eight_are_each_what_they_are_alone_and_every_network_comes_once(tmp_path, kind):
    networks = RandomNetworks()
    runs = [
        Run(plan, networks, lambda: NO_PICTURES, store)
        for plan, store in zip(PLANS, stores(kind, tmp_path), strict=True)
    ]
    _, frames = finished(runs, networks)
    names = ("text_encoder", "high_noise", "low_noise", "vae")
    assert networks.log == [sign + name for name in names for sign in "+-"]
    for plan, found in zip(PLANS, frames, strict=True):
        assert np.array_equal(found, frames_of(render(plan, RandomNetworks())))


@pytest.mark.parametrize("kill", range(3, 40, 4))
def test_a_batch_goes_on_where_it_was(tmp_path, kill):
    def runs(networks):
        return [
            Run(plan, networks, lambda: NO_PICTURES, store)
            for plan, store in zip(PLANS, stores("disk", tmp_path), strict=True)
        ]

    networks = RandomNetworks()
    for count, _ in enumerate(walk_all(runs(networks)), 1):
        if count == kill:
            break
    items, frames = finished(runs(RandomNetworks()), RandomNetworks())
    for plan, found in zip(PLANS, frames, strict=True):
        assert np.array_equal(found, frames_of(render(plan, RandomNetworks())))
    steps = sum(isinstance(item, Progress) and item.stage == "denoise" for _, item in items)
    assert steps <= sum(len(plan.steps) for plan in PLANS)
    if kill > 25:
        assert steps < sum(len(plan.steps) for plan in PLANS), "phases that were whole are not done again"


def test_one_that_fails_takes_no_other_with_it():
    def gone():
        raise InvalidRequest("image", "it is gone")

    networks = RandomNetworks()
    runs = [Run(plan, networks, lambda: NO_PICTURES, MemoryStore()) for plan in PLANS[:3]]
    runs[1] = Run(PLANS[1], networks, gone, MemoryStore())
    items = list(walk_all(runs))
    assert [(number, item.code) for number, item in items if isinstance(item, FilmgateError)] == [(1, "InvalidRequest")]
    for number in (0, 2):
        assert np.array_equal(frames_of(runs[number].advance()), frames_of(render(PLANS[number], RandomNetworks())))


def test_one_that_fails_in_the_middle_is_left_out(monkeypatch):
    from filmgate.engine.pipeline import denoise

    check, seen = denoise.check_finite, []

    def failing(latent, steps, index):
        seen.append(index)
        if seen.count(1) == 2 and index == 1:
            raise BackendError("numbers that are not finite")
        check(latent, steps, index)

    monkeypatch.setattr(denoise, "check_finite", failing)
    networks = RandomNetworks()
    runs = [Run(plan, networks, lambda: NO_PICTURES, MemoryStore()) for plan in PLANS[:3]]
    items = list(walk_all(runs))
    assert [number for number, item in items if isinstance(item, FilmgateError)] == [1]
    assert [run.state.done for run in runs] == [4, 1, 4]


def test_the_clock_counts_what_is_left_of_all():
    plans = [random_plan(seconds=14.0, guidance=(1.0, 1.0)) for _ in range(3)]
    clock = Clock(plans)
    assert clock.eta() == pytest.approx(3 * 14)
    step = Progress(stage="denoise", done=1, total=4, seconds=2.0)
    clock.note(0, step)
    # 4 passes of 2 s, and 6 s that the plan leaves for decoding; one pass is done.
    assert clock.eta() == pytest.approx(3 * 14 - 2)
    for done in (2, 3, 4):
        clock.note(0, step.model_copy(update={"done": done}))
    clock.note(0, Progress(stage="decode", done=5, total=5, seconds=1.0))
    assert clock.eta() == pytest.approx(2 * (8 + 1)), "decoding took a second"
    clock.end(1)
    assert clock.eta() == pytest.approx(9)
