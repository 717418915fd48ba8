"""Unfinished runs and batches: what is put aside in the middle becomes, bit by bit, what it would have been."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from filmgate.app import Filmgate, Order
from filmgate.engine.pipeline import residency, store
from filmgate.media.manifest import read_take
from filmgate.spec import Done, Failed, Progress, Request

PROMPTS = ("a ball", "a cube", "a cone", "a can")
STEPS = 6
PROGRAM = "from filmgate.cli.main import main; main()"
MODEL = "tiny"


@pytest.fixture
def filmgate(wan_pair, tmp_path):
    """The tiny pair of experts with random weights, painted for real."""
    return Filmgate([wan_pair], cache=tmp_path / "cache")


def wish(prompt, seed=3):
    return Request(prompt=prompt, model=MODEL, steps=STEPS, seed=seed)


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def painted(events):
    """Numbers of the denoising steps of a run, and its take."""
    steps, take = [], None
    for event in events:
        assert not isinstance(event, Failed), event
        if isinstance(event, Progress) and event.stage == "denoise":
            steps.append(event.done)
        elif isinstance(event, Done):
            take = event.take
    return steps, take


@pytest.fixture
def always_kept(monkeypatch):
    """Every step is written down, as it is where steps take long."""
    keep = store.DiskStore.keep
    monkeypatch.setattr(store.DiskStore, "keep", lambda self, state, *, due: keep(self, state, due=True))  # noqa: ARG005


@pytest.mark.usefixtures("always_kept")
@pytest.mark.parametrize("stop", range(1, STEPS))
def test_a_run_goes_on_after_the_step_at_which_it_was_left(filmgate, tmp_path, stop):
    plan = filmgate.plan(wish("a ball"))
    whole, first = painted(filmgate.render(plan, tmp_path / "whole.mp4", state=tmp_path / "other"))
    assert whole[-1] == STEPS
    state, video = tmp_path / "state", tmp_path / "parted.mp4"
    events = filmgate.render(plan, video, state=state)
    for event in events:
        if isinstance(event, Progress) and event.stage == "denoise" and event.done == stop:
            break
    events.close()
    assert not video.exists()
    assert filmgate.unfinished(plan, state) == video
    rest, second = painted(filmgate.render(plan, video, state=state))
    assert rest == list(range(stop + 1, STEPS + 1))
    assert second.frames_sha256 == first.frames_sha256
    assert digest(video) == digest(tmp_path / "whole.mp4")
    assert filmgate.unfinished(plan, state) is None


def test_a_run_of_another_plan_is_not_gone_on_with(filmgate, tmp_path):
    events = filmgate.render(filmgate.plan(wish("a ball")), tmp_path / "clip.mp4", state=tmp_path / "state")
    for event in events:
        if isinstance(event, Progress) and event.done == 2 and event.stage == "denoise":
            break
    events.close()
    other = filmgate.plan(wish("a ball", seed=4))
    assert filmgate.unfinished(other, tmp_path / "state") is None
    assert painted(filmgate.render(other, tmp_path / "other.mp4", state=tmp_path / "state"))[0][-STEPS:] == list(
        range(1, STEPS + 1)
    )


def test_a_batch_makes_what_single_runs_make_and_loads_each_network_once(filmgate, tmp_path, monkeypatch):
    plans = [filmgate.plan(wish(prompt, seed)) for seed, prompt in enumerate(PROMPTS)]
    singles = [painted(filmgate.render(p, tmp_path / f"s{i}.mp4"))[1] for i, p in enumerate(plans)]
    loads, load = Counter(), residency.load_dit

    def counted(model, expert, **options):
        loads[expert] += 1
        return load(model, expert, **options)

    monkeypatch.setattr(residency, "load_dit", counted)
    takes = {}
    for number, event in filmgate.render_batch([Order(p, tmp_path / f"b{i}.mp4") for i, p in enumerate(plans)]):
        assert not isinstance(event, Failed), event
        if isinstance(event, Done):
            takes[number] = event.take
    assert loads == {"high_noise": 1, "low_noise": 1}
    assert [takes[i].frames_sha256 for i in range(len(plans))] == [take.frames_sha256 for take in singles]
    assert [digest(tmp_path / f"b{i}.mp4") for i in range(4)] == [digest(tmp_path / f"s{i}.mp4") for i in range(4)]


def test_one_order_that_fails_takes_no_other_with_it(filmgate, tmp_path):
    plans = [filmgate.plan(wish(prompt)) for prompt in PROMPTS[:2]]
    (tmp_path / "taken.mp4").write_text("mine")
    orders = [Order(plans[0], tmp_path / "taken.mp4"), Order(plans[1], tmp_path / "free.mp4")]
    ends = {number: event for number, event in filmgate.render_batch(orders) if isinstance(event, Done | Failed)}
    assert isinstance(ends[0], Failed)
    assert isinstance(ends[1], Done)
    assert (tmp_path / "taken.mp4").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_process_leaves_no_rubbish_and_its_successor_finishes(filmgate, tmp_path, wan_pair):
    expected = painted(filmgate.render(filmgate.plan(wish("a ball")), tmp_path / "expected.mp4"))[1]
    out, state = tmp_path / "out", tmp_path / "state"
    out.mkdir()
    command = [
        sys.executable, "-c", PROGRAM, "generate", "a ball", "--model", str(wan_pair), "--steps", str(STEPS),
        "--seed", "3", "-o", str(out / "clip.mp4"), "--state", str(state), "--json",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    kills = 0
    for patience in (0.5, 1.5, 2.5, 3.0):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(patience)
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        assert not (out / "clip.mp4").exists() or read_take(out / "clip.mp4")
    assert kills
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert json.loads(done.stdout)
    assert read_take(out / "clip.mp4").frames_sha256 == expected.frames_sha256
    assert digest(out / "clip.mp4") == digest(tmp_path / "expected.mp4")
    assert sorted(file.name for file in out.iterdir()) == ["clip.json", "clip.mp4"]
    assert not [entry for entry in state.iterdir() if entry.is_dir()]
