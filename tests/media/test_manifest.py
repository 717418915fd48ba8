"""The receipt inside a video and beside it."""

import json

import numpy as np
import pytest
from tests.takes import make_plan, make_take

from filmgate.media.manifest import KEY, embedded, manifest_path, read_take, repeatable, write_manifest
from filmgate.media.write import write_video
from filmgate.spec import DamagedFile, InvalidRequest, OutputError

FRAMES = np.zeros((2, 32, 32, 3), np.uint8)


@pytest.fixture
def take():
    return make_take(make_plan(prompt="ein roter Würfel; 一个红球 = \\n"))


def test_the_manifest_lies_beside_the_video_and_reads_back(tmp_path, take):
    path = write_manifest(tmp_path / "clip.mp4", take)
    assert path == manifest_path(tmp_path / "clip.mp4") == tmp_path / "clip.json"
    assert read_take(path) == take
    assert json.loads(path.read_text(encoding="utf-8"))["plan"]["seed"] == 7


def test_the_take_inside_a_video_names_no_outputs(tmp_path, take):
    write_video(tmp_path / "clip.mp4", FRAMES, fps=12, metadata=embedded(take))
    found = read_take(tmp_path / "clip.mp4")
    assert found == repeatable(take)
    assert (found.files, found.timings, found.created, found.plan.seconds) == ((), None, None, 0.0)
    assert found.plan.fingerprint == take.plan_sha256


def test_what_differs_from_run_to_run_stays_outside(take):
    later = take.model_copy(
        update={
            "plan": take.plan.model_copy(update={"seconds": 99.0, "warnings": ("slow",)}),
            "timings": None,
            "created": "2027-01-01T00:00:00Z",
        }
    )
    assert embedded(later) == embedded(take)
    assert embedded(take.model_copy(update={"frames_sha256": "0" * 64})) != embedded(take)


def test_the_manifest_beside_adds_what_the_video_leaves_out(tmp_path, take):
    write_video(tmp_path / "clip.mp4", FRAMES, fps=12, metadata=embedded(take))
    write_manifest(tmp_path / "clip.mp4", take)
    assert read_take(tmp_path / "clip.mp4") == take.model_copy(update={"files": ()})


def test_what_is_inside_counts_more_than_what_lies_beside(tmp_path, take):
    write_video(tmp_path / "clip.mp4", FRAMES, fps=12, metadata=embedded(take))
    write_manifest(tmp_path / "clip.mp4", make_take(frames_sha256="0" * 64))
    assert read_take(tmp_path / "clip.mp4").frames_sha256 == take.frames_sha256


def test_a_video_that_lost_its_metadata_is_known_by_its_neighbour(tmp_path, take):
    write_video(tmp_path / "clip.mp4", FRAMES, fps=12)
    with pytest.raises(InvalidRequest, match=r"no clip\.json beside it"):
        read_take(tmp_path / "clip.mp4")
    write_manifest(tmp_path / "clip.mp4", take)
    assert read_take(tmp_path / "clip.mp4") == take


@pytest.mark.parametrize("text", ["", "{}", "not JSON", '{"version": 1, "plan": {"prompt": 3}}', "[]"])
def test_a_damaged_manifest(tmp_path, text):
    (tmp_path / "clip.json").write_text(text)
    with pytest.raises(DamagedFile, match=r"clip\.json"):
        read_take(tmp_path / "clip.json")
    write_video(tmp_path / "video.mp4", FRAMES, fps=12, metadata={KEY: text or "?"})
    with pytest.raises(DamagedFile, match=r"video\.mp4"):
        read_take(tmp_path / "video.mp4")


def test_a_missing_file_and_place(tmp_path, take):
    with pytest.raises(InvalidRequest, match="not a file"):
        read_take(tmp_path / "clip.mp4")
    with pytest.raises(OutputError):
        write_manifest(tmp_path / "missing" / "clip.mp4", take)
