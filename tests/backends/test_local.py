"""Our own engine as a backend, on a tiny model of random weights that lies on disk."""

import hashlib
import shutil

import numpy as np
import pytest
import torch
from tests.direction.models import CPU
from tests.engine.wan_directory import SIDECAR

from filmgate.backends.hardware import describe_device, hardware_line
from filmgate.backends.local import LocalBackend, device_name, origin_of, threads_for
from filmgate.direction.planner import plan
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.hashes import CACHE
from filmgate.engine.checkpoints.tokenizer import load_tokenizer
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.media.manifest import read_take
from filmgate.spec import DeviceDescription, Done, Failed, Preview, Progress, Request, Started


def plan_for(root, **wish):
    model = describe(root)
    return plan(Request(**{"prompt": "a red ball", **wish}), model, CPU, load_tokenizer(model).count)


def run(plan, workspace, cache=None):
    return list(LocalBackend(workspace, cache).render(plan))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_events_come_in_order(wan_pair, tmp_path):
    planned = plan_for(wan_pair, preview_every=2)
    events = run(planned, tmp_path)
    assert events[0] == Started(plan=planned)
    assert isinstance(events[-1], Done)
    told = [event for event in events if isinstance(event, Progress)]
    assert [event.stage for event in told if event.stage != "load"][:3] == ["encode", "denoise", "denoise"]
    assert [event.expert for event in told if event.stage == "denoise"] == [step.expert for step in planned.steps]
    assert [event.step for event in events if isinstance(event, Preview)] == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.png", "video.mp4"]


def test_the_take_names_every_weight_and_what_ran_them(wan_pair, tmp_path):
    planned = plan_for(wan_pair)
    take = run(planned, tmp_path)[-1].take
    assert [(file.path, file.bytes, file.sha256) for file in take.weights] == [
        (path.relative_to(wan_pair).as_posix(), path.stat().st_size, sha256(path))
        for path in sorted(wan_pair.rglob("*.safetensors"))
    ]
    assert len(take.weights) == 4
    assert take.versions["torch"] == torch.__version__
    assert take.hardware == hardware_line(describe_device("cpu"))
    assert len(take.timings.steps) == len(planned.steps)
    assert read_take(tmp_path / "video.mp4").weights == take.weights


def test_the_frames_are_those_of_the_pipeline(wan_pair, tmp_path):
    planned = plan_for(wan_pair, prompt="a blue cube", seed=5)
    take = run(planned, tmp_path)[-1].take
    networks = OnDemand(planned.model, torch.device("cpu"), planned.precision)
    frames = [item for item in render(planned, networks) if isinstance(item, np.ndarray)]
    assert take.frames_sha256 == hashlib.sha256(np.concatenate(frames).tobytes()).hexdigest()


def test_the_same_plan_gives_the_same_bits(wan_pair, tmp_path):
    seeds = [run(plan_for(wan_pair, seed=seed), tmp_path)[-1].take.frames_sha256 for seed in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_format_and_precision(make_wan, tmp_path, precision):
    (tmp_path / "workspace").mkdir()
    root = make_wan(folders={".": 1}, suffix=".pth", sidecar={**SIDECAR, "preset": dense_preset()})
    take = run(plan_for(root, precision=precision), tmp_path / "workspace")[-1].take
    assert sorted(file.path.split(".")[-1] for file in take.weights) == ["pth", "pth", "safetensors"]
    assert {step.expert for step in take.plan.steps} == {"dense"}


def dense_preset():
    return {**SIDECAR["preset"], "boundary": None, "guidance_high": 3.0}


def test_hashes_are_remembered(make_wan, tmp_path, monkeypatch):
    root, cache = make_wan(sidecar=SIDECAR), tmp_path / "cache"
    monkeypatch.setattr("filmgate.engine.checkpoints.hashes._SETTLED_NS", -1)
    (tmp_path / "workspace").mkdir()
    planned = plan_for(root)
    first = run(planned, tmp_path / "workspace", cache)[-1].take
    assert (cache / CACHE).is_file()

    def digest(*_arguments):
        raise AssertionError("hashed again")

    monkeypatch.setattr("filmgate.engine.checkpoints.hashes.hashlib.file_digest", digest)
    assert origin_of(planned, cache).weights == first.weights


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_closing_cancels_between_steps(wan_pair, tmp_path, monkeypatch, steps):
    passes = []
    forward = WanDiT.forward
    monkeypatch.setattr(WanDiT, "forward", lambda self, *a, **k: passes.append(1) or forward(self, *a, **k))
    threads = torch.get_num_threads()
    events = LocalBackend(tmp_path).render(plan_for(wan_pair, guidance_high=1.0, guidance_low=1.0))
    done = 0
    for event in events:
        if isinstance(event, Progress):
            done += event.stage == "denoise"
            if event.stage == ("denoise" if steps else "encode") and done == steps:
                break
    events.close()
    assert len(passes) == steps
    assert list(tmp_path.iterdir()) == []
    assert torch.get_num_threads() == threads
    assert torch.get_deterministic_debug_mode() == 0


def test_a_damaged_file_is_a_failure_that_names_it(make_wan, tmp_path):
    root = make_wan(sidecar=SIDECAR)
    planned = plan_for(root)
    weights = root / "low_noise_model" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert_failed(planned, tmp_path / "workspace", "DamagedFile", "low_noise_model")


def test_another_model_than_the_planned_is_a_failure(make_wan, tmp_path):
    root = make_wan(sidecar=SIDECAR)
    planned = plan_for(root)
    shutil.rmtree(root)
    make_wan(folders={".": 1}, sidecar=SIDECAR)
    assert_failed(planned, tmp_path / "workspace", "WrongVariant", "not the model that was planned with")


def test_a_model_that_is_gone_is_a_failure(make_wan, tmp_path):
    root = make_wan(sidecar=SIDECAR)
    planned = plan_for(root)
    shutil.rmtree(root)
    assert_failed(planned, tmp_path / "workspace", "MissingFile", str(root))


def test_a_device_that_is_not_here_is_a_failure(wan_pair, tmp_path):
    far = DeviceDescription(kind="cuda", name="far away", memory_bytes=1, index=63)
    planned = plan_for(wan_pair).model_copy(update={"device": far})
    assert_failed(planned, tmp_path / "workspace", "DeviceError", "cuda:63")


def assert_failed(plan, workspace, code, words):
    workspace.mkdir()
    last = run(plan, workspace)[-1]
    assert isinstance(last, Failed)
    assert last.code == code
    assert words in last.message
    assert list(workspace.iterdir()) == []


def test_it_says_where_it_would_run(tmp_path):
    capabilities = LocalBackend(tmp_path).capabilities()
    assert (capabilities.backend, capabilities.device) == ("local", describe_device())


def test_devices_by_name():
    names = [device_name(CPU.model_copy(update={"kind": kind, "index": 1})) for kind in ("cpu", "cuda", "mps")]
    assert names == ["cpu", "cuda:1", "mps"]


def test_a_repetition_uses_no_more_threads_than_then_or_than_there_are(monkeypatch):
    monkeypatch.setattr("filmgate.backends.local.describe_device", lambda _: CPU.model_copy(update={"cores": 4}))
    assert [threads_for(CPU.model_copy(update={"cores": cores})) for cores in (1, 4, 64)] == [1, 4, 4]
    gpu = DeviceDescription(kind="cuda", name="A", memory_bytes=1)
    assert threads_for(gpu) == 4
