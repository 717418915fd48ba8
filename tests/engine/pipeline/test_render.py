"""The stages together, on random weights."""

import numpy as np
import pytest
import torch
from tests.engine.pipeline.networks import RandomNetworks, plain_video, random_plan

from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.values import ColourMap
from filmgate.spec import DeviceError, Preview, Progress

COLOURS = ColourMap(((0.1, 0.2, 0.3),) * 16)


def run(plan, networks):
    items = list(render(plan, networks))
    frames = np.concatenate([item for item in items if isinstance(item, np.ndarray)])
    return [item for item in items if not isinstance(item, np.ndarray)], frames


@pytest.mark.parametrize("guidance", [(3.5, 3.0), (1.0, 2.0), (1.0, 1.0)])
def test_frames_are_those_of_a_plain_loop(guidance):
    plan = random_plan(solver="euler", guidance=guidance)
    _, frames = run(plan, RandomNetworks())
    expected = plain_video(plan, RandomNetworks())
    assert frames.shape == expected.shape == (5, 32, 48, 3)
    assert np.abs(frames.astype(int) - expected).max() <= 1
    assert (frames == expected).mean() > 0.99
    assert expected.std() > 5


def test_twice_the_same_is_the_same():
    plan = random_plan()
    assert np.array_equal(run(plan, RandomNetworks())[1], run(plan, RandomNetworks())[1])
    assert not np.array_equal(run(plan, RandomNetworks())[1], run(random_plan(seed=8), RandomNetworks())[1])


def test_every_choice_of_the_plan_reaches_the_picture():
    reference = run(random_plan(), RandomNetworks())[1]
    changes = [
        {"prompt": "a blue cube"}, {"negative": "dark"}, {"guidance": (5.0, 3.0)}, {"guidance": (3.5, 5.0)},
        {"solver": "euler"}, {"solver": "dpmpp_2m"}, {"boundary": 0.95}, {"boundary": 0.5},
    ]  # fmt: skip
    for change in changes:
        assert not np.array_equal(run(random_plan(**change), RandomNetworks())[1], reference), change


def test_progress_counts_every_unit():
    plan = random_plan()
    events, _ = run(plan, RandomNetworks())
    assert all(isinstance(event, Progress) for event in events)
    told = {stage: [e for e in events if e.stage == stage] for stage in ("load", "encode", "denoise", "decode")}
    assert [(e.done, e.total) for e in told["load"]] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [(e.done, e.total) for e in told["encode"]] == [(1, 1)]
    assert [(e.done, e.total, e.expert) for e in told["denoise"]] == [
        (step.index + 1, 4, step.expert) for step in plan.steps
    ]
    assert [(e.done, e.total) for e in told["decode"]] == [(1, 5), (5, 5)]
    assert all(e.seconds > 0 for e in events)
    assert told["load"][0].eta_seconds == plan.seconds
    assert told["decode"][-1].eta_seconds == 0


def test_eta_follows_the_measured_steps():
    events, _ = run(random_plan(seconds=0.0), RandomNetworks())
    steps = [event for event in events if event.stage == "denoise"]
    assert steps[-1].eta_seconds == 0, "the plan left nothing for decoding"
    assert steps[0].eta_seconds == pytest.approx(3 * steps[0].seconds)
    guided, _ = run(random_plan(seconds=0.0, guidance=(1.0, 2.0)), RandomNetworks())
    first = next(event for event in guided if event.stage == "denoise")
    assert first.eta_seconds == pytest.approx(5 * first.seconds), "a guided step is two passes"


def test_networks_come_and_go_one_at_a_time():
    networks = RandomNetworks()
    run(random_plan(), networks)
    names = ("text_encoder", "high_noise", "low_noise", "vae")
    assert networks.log == [sign + name for name in names for sign in "+-"]


def test_previews_come_every_k_steps_and_not_at_the_end():
    networks = RandomNetworks(COLOURS)
    events, _ = run(random_plan(preview_every=1), networks)
    assert [event.step for event in events if isinstance(event, Preview)] == [1, 2, 3]
    assert networks.log.count("+vae") == 1
    assert networks.log.index("+vae") > networks.log.index("-low_noise"), "a colour map needs no VAE"


def test_previews_do_not_change_the_video():
    with_previews = run(random_plan(preview_every=1), RandomNetworks())[1]
    assert np.array_equal(with_previews, run(random_plan(), RandomNetworks())[1])


@pytest.mark.parametrize("after", range(10))
def test_closing_cancels_at_any_point(after):
    networks = RandomNetworks()
    items = render(random_plan(), networks)
    for _ in range(after):
        next(items)
    log = list(networks.log)
    items.close()
    assert [entry for entry in networks.log[len(log) :] if entry[0] == "+"] == []


def test_running_out_of_memory_is_a_device_error():
    networks = RandomNetworks()

    def vae():
        raise torch.OutOfMemoryError("tried to allocate 80 GiB")

    networks.vae = vae
    with pytest.raises(DeviceError, match="ran out of memory at 48x32x5 in fp32"):
        run(random_plan(), networks)
