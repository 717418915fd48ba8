"""The local backend with several processes: the same video, and an end whatever happens."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.direction.models import CPU
from tests.engine.wan_directory import DIT, PAIR, SIDECAR

from filmgate.app import Filmgate
from filmgate.backends.local import LocalBackend
from filmgate.direction.planner import plan
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.tokenizer import load_tokenizer
from filmgate.engine.sampling.step_cache import skipped_work
from filmgate.spec import (
    AccelerationPlan,
    AccelerationUse,
    Done,
    Failed,
    Layout,
    Progress,
    Request,
    Started,
    TaylorSeer,
)  # fmt: skip


def plan_for(root, gpus, **wish):
    model = describe(root)
    request = Request(**{"prompt": "a red ball", "device": "cpu", "gpus": gpus, **wish})
    return plan(request, model, CPU, load_tokenizer(model).count)


def frames_of(path):
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def test_two_processes_make_the_video_of_one(wan_pair, tmp_path):
    takes, videos = [], []
    for gpus, memory in ((1, "one_expert"), (2, "one_expert"), (2, "sharded")):
        folder = tmp_path / f"{gpus} {memory}"
        folder.mkdir()
        planned = plan_for(wan_pair, gpus, memory=memory)
        assert planned.residency.mode == memory
        events = list(LocalBackend(folder).render(planned))
        assert events[0] == Started(plan=planned)
        assert isinstance(events[-1], Done), events[-1]
        stages = [event.stage for event in events if isinstance(event, Progress) and event.stage != "load"]
        assert stages[:2] == ["encode", "denoise"]
        takes.append(events[-1].take)
        videos.append(frames_of(folder / "video.mp4"))
    assert takes[1].plan.layout == Layout(cfg=2)
    assert takes[0].plan_sha256 != takes[1].plan_sha256, "results may differ by rounding"
    assert [file.role for file in takes[0].files] == [file.role for file in takes[1].files]
    assert np.abs(videos[0].astype(int) - videos[1]).max() <= 2
    assert takes[1].plan_sha256 == takes[2].plan_sha256
    assert np.array_equal(videos[1], videos[2])
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("size", "tile"), [((48, 32), 0), ((160, 96), 64)], ids=["rows", "tiles"])
def test_two_processes_read_a_picture_as_one_does(make_wan, tmp_path, size, tile):
    sidecar = {**SIDECAR, "id": "wan2.2-i2v-a14b", "variant": "wan2.2-i2v-a14b", "task": "i2v"}
    root = make_wan("i2v", folders=PAIR, dit=replace(DIT, in_dim=36), sidecar=sidecar)
    image = tmp_path / "in.png"
    coarse = np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(image)
    videos, filmgate = [], Filmgate(model_paths=[root], cache=tmp_path / "cache")
    for gpus in (1, 2):
        wish = Request(
            prompt="a red ball", model=str(root), device="cpu", gpus=gpus, image=str(image), vae_tile=tile,
            width=size[0], height=size[1], steps=2,
        )  # fmt: skip
        planned = filmgate.plan(wish)
        assert planned.operation == "i2v"
        path = tmp_path / f"{gpus}.mp4"
        events = list(filmgate.render(planned, path))
        assert isinstance(events[-1], Done), events[-1]
        stages = [event.stage for event in events if isinstance(event, Progress) and event.stage != "load"]
        assert stages.count("encode") == 2
        videos.append(frames_of(path))
    # Frames went through x264, which turns a difference in the last bits into some codes here and there.
    difference = np.abs(videos[0].astype(int) - videos[1])
    assert difference.max() <= 12
    assert difference.mean() < 0.2


def test_a_worker_that_is_killed_ends_the_run(wan_pair, tmp_path):
    planned = plan_for(wan_pair, 2, steps=40)
    killed, events = None, []
    for event in LocalBackend(tmp_path).render(planned):
        events.append(event)
        if killed is None and isinstance(event, Progress) and event.stage == "denoise":
            victim = next(child for child in multiprocessing.active_children() if child.name.endswith("rank 1"))
            os.kill(victim.pid, signal.SIGKILL)
            killed = time.monotonic()
    assert killed is not None
    assert time.monotonic() - killed < 30
    assert isinstance(events[-1], Failed)
    assert "rank 1 was ended by SIGKILL" in events[-1].message
    assert not multiprocessing.active_children()
    assert list(tmp_path.iterdir()) == []


def test_gpus_that_are_not_here_are_named(wan_pair, tmp_path):
    planned = plan_for(wan_pair, 2)
    planned = planned.model_copy(update={"device": planned.device.model_copy(update={"kind": "cuda", "index": 90})})
    [failed] = LocalBackend(tmp_path).render(planned)
    assert isinstance(failed, Failed)
    assert failed.code == "DeviceError"
    assert "there is no device cuda:90" in failed.message


@pytest.mark.parametrize("cpu_ranks", [2])
def test_a_run_goes_on_with_its_ranks(wan_pair, tmp_path, cpu_ranks):
    planned = plan_for(wan_pair, cpu_ranks)
    state, folder = tmp_path / "state", tmp_path / "work"
    state.mkdir()
    folder.mkdir()
    events = LocalBackend(folder, None, state).render(planned)
    for event in events:
        if isinstance(event, Progress) and event.stage == "denoise" and event.done == 3:
            break
    events.close()
    again = list(LocalBackend(folder, None, state).render(planned))
    assert isinstance(again[-1], Done), again[-1]
    steps = [event.done for event in again if isinstance(event, Progress) and event.stage == "denoise"]
    assert steps[0] > 1
    assert len(again[-1].take.timings.steps) == len(planned.steps)


STARTER = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def environment_of(tmp_path):
    return {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}


def torchrun(tmp_path, *command, count=2):
    """A command in processes of torchrun on this machine, with a cache of their own."""
    return subprocess.run(
        [*STARTER, "--nproc-per-node", str(count), "-m", "filmgate", *map(str, command)], capture_output=True,
        text=True, timeout=240, check=False, env=environment_of(tmp_path), cwd=tmp_path,
    )  # fmt: skip


def test_torchrun_starts_the_processes_too(wan_pair, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    assert isinstance(list(LocalBackend(alone).render(plan_for(wan_pair, 1)))[-1], Done)
    wish = ("generate", "a red ball", "--model", wan_pair, "--device", "cpu", "--quiet")
    done = torchrun(tmp_path, *wish, "-o", "together.mp4", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    take = json.loads(done.stdout)["take"]
    assert take["plan"]["layout"] == {"cfg": 2, "sequence": 1}
    pixels = frames_of(tmp_path / "together.mp4").astype(int), frames_of(alone / "video.mp4")
    assert np.abs(pixels[0] - pixels[1]).max() <= 2


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--dry-run",), 0, "2 processes"),
        (("--gpus", "3"), 1, "3 do not go with the 2 processes that torchrun started"),
        (("--frames", "8"), 1, "frames"),
        (("--batch", "prompts.txt"), 1, "torchrun starts one video"),
    ],
)
def test_nobody_waits_where_there_is_nothing_to_do(wan_pair, tmp_path, options, code, words):
    prompt = () if "--batch" in options else ("a red ball",)
    done = torchrun(tmp_path, "generate", *prompt, "--model", wan_pair, "--device", "cpu", *options)
    assert done.returncode == code, done.stderr[-3000:]
    assert words in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.mp4"))


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize("order", [0, 1])
def test_what_was_skipped_is_skipped_again(wan_pair, tmp_path, gpus, order):
    """On several ranks each remembers its own tokens: a run goes on from where nobody asks for them."""
    planned = plan_for(wan_pair, gpus, steps=12)
    rule = TaylorSeer(interval=3, order=order, protected=1)
    recipe = tuple(AccelerationUse(expert=name, acceleration=rule) for name in ("high_noise", "low_noise"))
    work = skipped_work(planned.steps, planned.guidance_rule, recipe)
    planned = planned.model_copy(update={"acceleration": AccelerationPlan(profile="fast", recipe=recipe, work=work)})
    videos = []
    for kill in (None, 5, 8):
        state, folder = tmp_path / f"state-{kill}", tmp_path / f"work-{kill}"
        state.mkdir()
        folder.mkdir()
        if kill is not None:
            events = LocalBackend(folder, None, state).render(planned)
            for event in events:
                if isinstance(event, Progress) and event.stage == "denoise" and event.done == kill:
                    break
            events.close()
        again = list(LocalBackend(folder, None, state).render(planned))
        assert isinstance(again[-1], Done), again[-1]
        assert again[-1].take.passes == planned.pass_counts
        assert 0 < planned.pass_counts.computed < planned.pass_counts.total
        videos.append(again[-1].take.frames_sha256)
    assert len(set(videos)) == 1


def process_of(starter, rank):
    """The process of a rank, once torchrun has started it."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == starter and f"RANK={rank}" in (folder / "environ").read_text().split("\0"):
                return int(folder.name)
    return None


def until(what, seconds=90):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
@pytest.mark.parametrize(
    ("how", "victim", "what"),
    [
        (signal.SIGSTOP, 1, "Error: rank 1 did not answer the others; rank 0 says: "),
        (signal.SIGSTOP, 0, "Error: rank 0 did not answer the others; rank 1 says: "),
        (signal.SIGKILL, 1, "Error: rank 1 is gone: something ended its process; "),
    ],
)
def test_whatever_happens_to_a_process_of_torchrun_is_said_and_ends_all(wan_pair, tmp_path, how, victim, what):
    command = ("generate", "a red ball", "--model", wan_pair, "--device", "cpu", "--steps", "900", "-o", "out.mp4")
    said = tmp_path / "said"
    with said.open("w") as file:
        run = subprocess.Popen(
            [*STARTER, "--nproc-per-node", "2", "-m", "filmgate", *map(str, command)], stdout=file, stderr=file,
            env=environment_of(tmp_path), cwd=tmp_path,
        )  # fmt: skip
    try:
        until(lambda: "Denoising" in said.read_text())
        ranks = [until(lambda rank=rank: process_of(run.pid, rank)) for rank in (0, 1)]
        time.sleep(2)
        begun = time.monotonic()
        os.kill(ranks[victim], how)
        assert run.wait(60) == 1
        took = time.monotonic() - begun
    finally:
        run.kill()
    errors = [line for line in said.read_text().splitlines() if line.startswith("Error:")]
    assert len(errors) == 1, said.read_text()[-5000:]
    assert errors[0].startswith(what)
    assert "the run of 2 ranks was ended, none is left running. The same command starts it again." in errors[0]
    assert took < 30
    assert not [rank for rank in ranks if Path(f"/proc/{rank}").exists()]
