"""Batches and resumed runs of our own engine, on a tiny model that lies on disk."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.direction.models import CPU

from filmgate import Filmgate
from filmgate.app import Order
from filmgate.backends.backend import Job
from filmgate.backends.local import LocalBackend, _shared
from filmgate.direction.planner import plan
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.tokenizer import load_tokenizer
from filmgate.engine.pipeline import residency
from filmgate.spec import (
    AccelerationPlan,
    AccelerationUse,
    Done,
    Failed,
    Progress,
    Request,
    SparseAttention,
    Started,
)  # fmt: skip

ROOT = Path(__file__).parents[2]
SHAPES = ("ball", "cube", "cylinder", "cone")
WISHES = [
    {"seed": seed, "prompt": prompt, **more}
    for seed, (prompt, more) in enumerate(
        [
            ("a red ball", {}), ("a blue cube", {}), ("a red ball rolls", {"frames": 9}), ("a cube", {"steps": 6}),
            ("a ball", {"solver": "euler"}), ("a red cube", {"guidance_low": 1.0}), ("red", {"width": 48}),
            ("blue", {}),
        ]
    )
]  # fmt: skip


def plans_for(root):
    model = describe(root)
    count = load_tokenizer(model).count
    return [plan(Request(**wish), model, CPU, count) for wish in WISHES]


def jobs_for(plans, root, *, state=True):
    for number, one in enumerate(plans):
        workspace, kept = root / f"{number}", root / f"{number}-state"
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir(parents=True)
        kept.mkdir(exist_ok=True)
        yield Job(one, workspace, kept if state else None)


@pytest.fixture(scope="module")
def alone(wan_pair, tmp_path_factory):
    """Takes of all plans, each made by itself."""
    takes = []
    for one in plans_for(wan_pair):
        workspace = tmp_path_factory.mktemp("alone")
        takes.append(list(LocalBackend(workspace).render(one))[-1].take)
    return takes


@pytest.fixture
def loads(monkeypatch):
    """Names of the networks that were loaded, in order."""
    seen = []
    for name in ("load_dit", "load_text_encoder", "load_vae"):
        original = getattr(residency, name)

        def counted(model, *arguments, _original=original, _name=name, **options):
            seen.append(arguments[0] if _name == "load_dit" else _name)
            return _original(model, *arguments, **options)

        monkeypatch.setattr(residency, name, counted)
    return seen


def test_eight_at_once_are_each_what_they_are_alone_and_each_expert_is_loaded_once(wan_pair, alone, tmp_path, loads):
    plans, expected = plans_for(wan_pair), alone
    events = list(LocalBackend.batch(list(jobs_for(plans, tmp_path)), tmp_path / "cache"))
    assert loads == ["load_text_encoder", "high_noise", "low_noise", "load_vae"]
    takes = {number: event.take for number, event in events if isinstance(event, Done)}
    assert [takes[number].frames_sha256 for number in range(8)] == [take.frames_sha256 for take in expected]
    for number, take in enumerate(expected):
        assert [file.sha256 for file in takes[number].files] == [file.sha256 for file in take.files], "files too"
        assert len(takes[number].timings.steps) == len(plans[number].steps)


def test_sizes_tiles_and_modes_may_differ_and_each_expert_is_loaded_once(wan_pair, tmp_path, loads):
    model = describe(wan_pair)
    wide = plan(Request(prompt="a ball", width=96, height=64), model, CPU, load_tokenizer(model).count)
    changes = [
        {}, {"vae_tile": 64}, {"mode": "streamed", "host": "mapped", "kept_blocks": 1, "vae_tile": 64},
        {"mode": "resident", "text_encoder": "device"}
    ]  # fmt: skip
    residencies = [wide.residency.model_copy(update=change) for change in changes]
    plans = [plans_for(wan_pair)[0], *(wide.model_copy(update={"residency": one}) for one in residencies)]
    alone = [list(LocalBackend(job.workspace).render(job.plan))[-1].take for job in jobs_for(plans, tmp_path)]
    loads.clear()
    events = list(LocalBackend.batch(list(jobs_for(plans, tmp_path)), tmp_path / "cache"))
    assert loads == ["load_text_encoder", "high_noise", "low_noise", "load_vae", "load_vae", "load_vae"]
    takes = {number: event.take for number, event in events if isinstance(event, Done)}
    assert [takes[number].frames_sha256 for number in range(5)] == [take.frames_sha256 for take in alone]
    assert takes[1].frames_sha256 != takes[2].frames_sha256 == takes[3].frames_sha256


def test_eight_at_once_on_toybox_too(tmp_path, loads):
    filmgate = Filmgate(cache=tmp_path / "cache")
    prompts = [f"a {colour} {shape} rolls to the right, sunset" for colour in ("red", "blue") for shape in SHAPES]
    wishes = [{"prompt": prompt, "seed": seed, "steps": 4, "frames": 9} for seed, prompt in enumerate(prompts)]
    plans = [filmgate.plan(Request(**wish)) for wish in wishes]
    assert {plan.model.id for plan in plans} == {"toybox-t2v"}
    orders = [Order(plan, tmp_path / f"{number}.mp4") for number, plan in enumerate(plans)]
    events = list(filmgate.render_batch(orders, state=tmp_path / "state"))
    assert loads == ["load_text_encoder", "high_noise", "low_noise", "load_vae"]
    takes = {number: event.take for number, event in events if isinstance(event, Done)}
    for number, one in enumerate(plans):
        alone = list(filmgate.render(one, tmp_path / f"alone-{number}.mp4", state=tmp_path / "state"))[-1].take
        assert takes[number].frames_sha256 == alone.frames_sha256
        assert [file.sha256 for file in takes[number].files] == [file.sha256 for file in alone.files]
    assert len({take.frames_sha256 for take in takes.values()}) == 8


def test_every_job_has_its_own_beginning_and_end_and_eta_is_of_all(wan_pair, tmp_path):
    plans = plans_for(wan_pair)[:3]
    events = list(LocalBackend.batch(list(jobs_for(plans, tmp_path, state=False))))
    for number, one in enumerate(plans):
        own = [event for told, event in events if told == number]
        assert own[0] == Started(plan=one)
        assert isinstance(own[-1], Done)
        assert sum(isinstance(event, Started) for event in own) == 1
    steps = [event for _, event in events if isinstance(event, Progress) and event.stage == "denoise"]
    later = [event.eta_seconds for event in steps if event.expert == "low_noise"]
    assert later == sorted(later, reverse=True) or later[0] > later[-1] > 0
    last = [event for _, event in events if isinstance(event, Progress)][-1]
    assert last.eta_seconds == 0


@pytest.mark.parametrize("kill", [5, 14, 24, 40, 60])
def test_a_batch_that_was_killed_goes_on(wan_pair, alone, tmp_path, kill):
    killed = subprocess.run(
        [sys.executable, "-m", __spec__.name, str(wan_pair), str(tmp_path), str(kill)], check=False,
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = sorted(path.name for path in tmp_path.glob("*-state/*.safetensors"))
    events = list(LocalBackend.batch(list(jobs_for(plans_for(wan_pair), tmp_path)), tmp_path / "cache"))
    takes = {number: event.take for number, event in events if isinstance(event, Done)}
    assert [takes[number].files for number in range(8)] == [take.files for take in alone]
    goes_on = [event.note for _, event in events if isinstance(event, Progress) and "goes on" in (event.note or "")]
    assert bool(goes_on) == bool(before)
    assert bool(before) == (kill > 5), "the first kill is before anything was kept"


def be_killed(root, folder, kill):
    """Carry out the batch in this process, which ends after ``kill`` more events."""
    for count, _ in enumerate(LocalBackend.batch(list(jobs_for(plans_for(root), folder)), folder / "cache")):
        if count == kill:
            os.kill(os.getpid(), signal.SIGKILL)


def test_plans_of_two_models_are_two_groups(wan_pair, make_wan, tmp_path):
    from tests.engine.wan_directory import SIDECAR

    other = make_wan(sidecar={**SIDECAR, "id": "other"})
    plans = [plans_for(wan_pair)[0], plans_for(other)[1], plans_for(wan_pair)[2]]
    events = list(LocalBackend.batch(list(jobs_for(plans, tmp_path))))
    assert [number for number, event in events if isinstance(event, Done)] == [0, 2, 1]


def test_plans_whose_passes_are_lighter_have_networks_of_their_own(wan_pair):
    """What makes passes lighter is built into a network: the first plan's must not reach the others."""
    plain = plans_for(wan_pair)[0]
    light = (AccelerationUse(expert="low_noise", acceleration=SparseAttention(budget=0.25)),)
    lighter = plain.model_copy(update={"acceleration": AccelerationPlan(profile="fast", recipe=light)})
    assert _shared(lighter) == _shared(lighter.model_copy(update={"seed": 1}))
    assert _shared(lighter) != _shared(plain)


def test_one_that_fails_takes_no_other_with_it(wan_pair, make_wan, tmp_path):
    from tests.engine.wan_directory import SIDECAR

    broken = make_wan(sidecar={**SIDECAR, "id": "broken"})
    plans = [plans_for(wan_pair)[0], plans_for(broken)[1], plans_for(wan_pair)[2]]
    weights = broken / "low_noise_model" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    events = list(LocalBackend.batch(list(jobs_for(plans, tmp_path))))
    ends = {number: event for number, event in events if isinstance(event, Done | Failed)}
    assert [type(ends[number]) for number in range(3)] == [Done, Failed, Done]
    assert ends[1].code == "DamagedFile"


def test_timings_of_a_resumed_run_count_what_was_before(wan_pair, tmp_path, monkeypatch):
    from filmgate.backends import local

    monkeypatch.setattr(local, "INTERVAL", 0.0)
    one = plans_for(wan_pair)[0]
    state = tmp_path / "state"
    state.mkdir()
    for event in LocalBackend(tmp_path, tmp_path / "cache", state).render(one):
        if isinstance(event, Progress) and event.stage == "denoise" and event.done == 2:
            break
    events = list(LocalBackend(tmp_path, tmp_path / "cache", state).render(one))
    told = [event for event in events if isinstance(event, Progress)]
    assert told[0].note == "an unfinished run goes on with step 3 of 4"
    assert [event.done for event in told if event.stage == "denoise"] == [3, 4]
    timings = events[-1].take.timings
    assert len(timings.steps) == 4
    assert timings.total > sum(timings.steps)


def test_weights_that_changed_since_are_noticed(make_wan, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file
    from tests.engine.wan_directory import SIDECAR

    from filmgate.backends import local

    monkeypatch.setattr(local, "INTERVAL", 0.0)
    root = make_wan(sidecar=SIDECAR)
    one, state = plans_for(root)[0], tmp_path / "state"
    state.mkdir()
    for event in LocalBackend(tmp_path, None, state).render(one):
        if isinstance(event, Progress) and event.stage == "denoise":
            break
    weights = root / "low_noise_model" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    told = [event for event in LocalBackend(tmp_path, None, state).render(one) if isinstance(event, Progress)]
    assert "not continued" in told[0].note
    assert "low_noise_model" in told[0].note
    assert [event.done for event in told if event.stage == "denoise"] == [1, 2, 3, 4]


if __name__ == "__main__":
    be_killed(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
