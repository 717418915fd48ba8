"""Pictures and videos on disk, through planning, rendering and repeating."""

import dataclasses
import hashlib

import numpy as np
import pytest
from PIL import Image
from tests.engine.wan_directory import DIT, PAIR, SIDECAR

from filmgate.app import Filmgate
from filmgate.app.wishes import describe_inputs
from filmgate.backends.local import read_inputs
from filmgate.cli.rerun import compare, find_model, localise
from filmgate.engine.models.config import ImageEncoderConfig
from filmgate.media.manifest import read_take
from filmgate.media.pictures import read_picture
from filmgate.media.write import write_video
from filmgate.spec import Done, Failed, InvalidRequest, Progress, Request

CLIP = ImageEncoderConfig(dim=80, dim_ffn=96, heads=1, layers=3, grid=2)
DENSE = {**SIDECAR["preset"], "boundary": None, "guidance_high": 3.0}


def picture(path, seed=0, size=(48, 32)):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return str(path)


@pytest.fixture
def video(tmp_path):
    frames = [np.full((32, 48, 3), 20 * k, np.uint8) for k in range(12)]
    write_video(tmp_path / "in.mp4", frames, fps=24)
    return str(tmp_path / "in.mp4")


def sidecar(variant, task, **changes):
    family = variant.split("-")[0]
    return {**SIDECAR, "id": variant, "variant": variant, "family": family, "task": task, **changes}


@pytest.fixture
def image_model(make_wan):
    """Wan 2.2 I2V: a pair with channels beside the noise."""
    dit = dataclasses.replace(DIT, in_dim=36)
    return make_wan("i2v", folders=PAIR, dit=dit, sidecar=sidecar("wan2.2-i2v-a14b", "i2v"))


def made(root, tmp_path, name="out.mp4", **wishes):
    filmgate = Filmgate(model_paths=[root], cache=tmp_path / "cache")
    plan = filmgate.plan(Request(prompt="a red ball", model=str(root), device="cpu", **wishes))
    events = list(filmgate.render(plan, tmp_path / name))
    return plan, events


def test_image_to_video_from_a_file_and_again(image_model, tmp_path):
    image = picture(tmp_path / "in.png", size=(64, 64))
    plan, events = made(image_model, tmp_path, image=image)
    assert (plan.operation, plan.video.width, plan.video.height) == ("i2v", 32, 32)
    take = events[-1].take
    assert [(file.role, file.path, file.width) for file in take.plan.inputs] == [("image", image, 64)]
    told = [(e.done, e.total) for e in events if isinstance(e, Progress) and e.stage == "encode"]
    assert told == [(1, 2), (2, 2)]
    loads = [(e.done, e.total) for e in events if isinstance(e, Progress) and e.stage == "load"]
    assert [done for done, _ in loads] == [1, 2, 3, 4, 5][: len(loads)]
    before = read_take(tmp_path / "out.mp4")
    filmgate = Filmgate(model_paths=[image_model], cache=tmp_path / "cache")
    again = localise(before, (find_model(before, filmgate, None),))
    after = list(filmgate.render(again, tmp_path / "again.mp4"))[-1].take
    assert compare(before, after).exact


def test_a_picture_that_changed_is_a_failure_that_names_it(image_model, tmp_path):
    image = picture(tmp_path / "in.png")
    filmgate = Filmgate(model_paths=[image_model], cache=tmp_path / "cache")
    plan = filmgate.plan(Request(prompt="a red ball", model=str(image_model), device="cpu", image=image))
    picture(tmp_path / "in.png", seed=1)
    last = list(filmgate.render(plan, tmp_path / "out.mp4"))[-1]
    assert isinstance(last, Failed)
    assert last.code == "InvalidRequest"
    assert "has changed since it was planned" in last.message
    assert not (tmp_path / "out.mp4").exists()


def test_every_picture_matters(image_model, tmp_path):
    one, two = picture(tmp_path / "1.png"), picture(tmp_path / "2.png", seed=1)
    takes = [
        made(image_model, tmp_path, f"{number}.mp4", width=32, height=32, **wishes)[1][-1].take.frames_sha256
        for number, wishes in enumerate(
            ({"image": one}, {"image": two}, {"image": one, "last_image": two}, {"image": one, "last_image": one})
        )
    ]
    assert len(set(takes)) == 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_wan_21_loads_its_image_encoder_as_it_is_published(make_wan, tmp_path, precision):
    dit = dataclasses.replace(DIT, in_dim=36, image_dim=80)
    root = make_wan(
        "i2v", folders={".": 1}, dit=dit, clip=CLIP, sidecar=sidecar("wan2.1-i2v-14b-480p", "i2v", preset=DENSE)
    )
    image = picture(tmp_path / "in.png", size=(40, 40))
    plan, events = made(root, tmp_path, image=image, precision=precision)
    assert plan.model.dit.image_dim == 80
    assert isinstance(events[-1], Done)
    assert [file.path for file in events[-1].take.weights if "clip" in file.path]
    told = [(e.done, e.total) for e in events if isinstance(e, Progress) and e.stage == "encode"]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_first_and_last_frame_of_wan_21(make_wan, tmp_path):
    dit = dataclasses.replace(DIT, in_dim=36, image_dim=80, image_positions=2 * CLIP.positions)
    root = make_wan(
        "flf", folders={".": 1}, dit=dit, clip=CLIP, sidecar=sidecar("wan2.1-flf2v-14b", "flf2v", preset=DENSE)
    )
    one, two = picture(tmp_path / "1.png"), picture(tmp_path / "2.png", seed=1)
    _, events = made(root, tmp_path, image=one, last_image=two)
    assert isinstance(events[-1], Done)


def test_without_its_image_encoder_the_model_says_so(make_wan, tmp_path):
    dit = dataclasses.replace(DIT, in_dim=36, image_dim=80)
    root = make_wan("i2v", folders={".": 1}, dit=dit, sidecar=sidecar("wan2.1-i2v-14b-480p", "i2v", preset=DENSE))
    image = picture(tmp_path / "in.png")
    _, events = made(root, tmp_path, image=image)
    assert isinstance(events[-1], Failed)
    assert events[-1].code == "MissingFile"
    assert "the image encoder is missing" in events[-1].message


def test_video_to_video_from_a_file(wan_pair, tmp_path, video):
    plan, events = made(wan_pair, tmp_path, video=video, strength=0.5)
    assert (plan.operation, plan.video.frames, len(plan.steps), plan.steps_of("high_noise")) == ("v2v", 5, 2, 0)
    assert isinstance(events[-1], Done)
    pictures = read_inputs(plan)
    assert pictures.video.shape == (5, 16, 32, 3)
    assert [round(frame.mean() / 20) for frame in pictures.video] == [0, 2, 4, 6, 8], "at the model's 12 fps"
    other = made(wan_pair, tmp_path, "2.mp4", video=video, strength=1.0)[1][-1].take
    assert other.frames_sha256 != events[-1].take.frames_sha256


def test_inputs_are_described_in_order(tmp_path, video):
    image = picture(tmp_path / "in.png")
    (tmp_path / "path.txt").write_text("a clip\n0 0.5 0.5 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n")
    request = Request(
        prompt="a", camera=str(tmp_path / "path.txt"), references=(image, image), mask=image, video=video, image=image
    )
    assert [file.role for file in describe_inputs(request)] == [
        "image", "video", "mask", "reference", "reference", "camera",
    ]  # fmt: skip


def test_what_the_model_cannot_do_is_said_before_anything_is_loaded(wan_pair, tmp_path):
    with pytest.raises(InvalidRequest, match="tiny cannot start from a picture"):
        made(wan_pair, tmp_path, image=picture(tmp_path / "in.png"))
    with pytest.raises(InvalidRequest, match=r"image: .*missing\.png is not a file"):
        made(wan_pair, tmp_path, image=str(tmp_path / "missing.png"))


def test_one_frame_is_a_picture_that_says_how_it_was_made(wan_pair, tmp_path):
    filmgate = Filmgate(model_paths=[wan_pair], cache=tmp_path / "cache")
    plan = filmgate.plan(Request(prompt="a red ball", model=str(wan_pair), device="cpu", frames=1))
    take = list(filmgate.render(plan, tmp_path / "out.png"))[-1].take
    assert [(file.role, file.path) for file in take.files] == [("picture", "out.png")]
    pixels = read_picture(tmp_path / "out.png")
    assert pixels.shape == (32, 32, 3)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == take.frames_sha256, "without loss"
    (tmp_path / "out.json").unlink()
    assert read_take(tmp_path / "out.png").frames_sha256 == take.frames_sha256
    as_video = list(filmgate.render(plan, tmp_path / "out.mp4"))[-1].take
    assert [(file.role, file.path) for file in as_video.files] == [("video", "out.mp4")]
    assert as_video.frames_sha256 == take.frames_sha256
    several = filmgate.plan(Request(prompt="a red ball", model=str(wan_pair), device="cpu"))
    with pytest.raises(InvalidRequest, match=r"'out\.png' is not an MP4\. Allowed: a name in \.mp4"):
        filmgate.render(several, tmp_path / "out.png")
