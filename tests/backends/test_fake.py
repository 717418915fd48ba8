"""The fake backend keeps every promise of a backend; these tests are what a new backend is measured by."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from tests.takes import make_plan

from filmgate.backends.fake import FakeBackend, stripes
from filmgate.media.manifest import read_take, repeatable
from filmgate.media.read import read_video
from filmgate.spec import Done, Failed, Preview, Progress, Started


def run(backend, plan):
    return list(backend.render(plan))


def test_events_come_in_order(tmp_path):
    plan = make_plan(preview_every=2)
    events = run(FakeBackend(tmp_path), plan)
    assert events[0] == Started(plan=plan)
    assert isinstance(events[-1], Done)
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert list(dict.fromkeys(stages)) == ["load", "encode", "denoise", "decode", "deliver"]
    steps = [event for event in events if isinstance(event, Progress) and event.stage == "denoise"]
    assert [event.done for event in steps] == [1, 2, 3, 4]
    assert [event.expert for event in steps] == [step.expert for step in plan.steps]
    assert [event.step for event in events if isinstance(event, Preview)] == [2]
    preview = next(event for event in events if isinstance(event, Preview))
    assert Image.open(io.BytesIO(preview.png)).size == (3 * 48, 32)


def test_the_take_tells_the_truth_about_its_files(tmp_path):
    plan = make_plan()
    take = run(FakeBackend(tmp_path), plan)[-1].take
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.png", "video.mp4"]
    assert [record.role for record in take.files] == ["video", "sheet"]
    for record in take.files:
        data = (tmp_path / record.path).read_bytes()
        assert (record.bytes, record.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    frames = stripes(plan, 0, 5)
    assert take.frames_sha256 == hashlib.sha256(frames.tobytes()).hexdigest()
    assert np.abs(read_video(tmp_path / "video.mp4").frames.astype(int) - frames).mean() < 12
    assert take.plan_sha256 == plan.fingerprint
    assert len(take.timings.steps) == 4
    assert take.timings.total >= take.timings.deliver > 0
    inside = read_take(tmp_path / "video.mp4")
    assert inside == repeatable(take)
    assert inside.plan.fingerprint == plan.fingerprint


def test_the_same_plan_gives_the_same_frames(tmp_path):
    hashes = [run(FakeBackend(tmp_path), make_plan(seed=seed))[-1].take.frames_sha256 for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_failure_is_an_event_and_leaves_nothing(tmp_path):
    events = run(FakeBackend(tmp_path, fail_after=2), make_plan())
    assert isinstance(events[-1], Failed)
    assert events[-1].code == "BackendError"
    assert "after 2 steps" in events[-1].message
    assert sum(isinstance(e, Progress) and e.stage == "denoise" for e in events) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", [1, 2, 4, 8, 9])
def test_closing_cancels_and_leaves_nothing(tmp_path, after):
    events = FakeBackend(tmp_path).render(make_plan())
    for _ in range(after):
        next(events)
    events.close()
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_that_is_gone_is_a_failure(tmp_path):
    last = run(FakeBackend(tmp_path / "missing"), make_plan())[-1]
    assert isinstance(last, Failed)
    assert last.code == "OutputError"
