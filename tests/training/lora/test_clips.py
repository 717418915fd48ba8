"""A folder of clips, and the rules by which they are cut."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.training.lora.folders import write_clip, write_folder

from filmgate.media.read import read_video
from filmgate.spec import Compression, DamagedFile, InvalidRequest, VideoShape
from filmgate.training.lora.clips import Clip, Cut, bucket_of, cut_clips, numbers_of, read_cut, read_folder
from filmgate.training.lora.recipe import LoraRecipe

WAN = Compression()
RECIPE = LoraRecipe()


def clip(width=160, height=96, frames=33, fps=12.0, name="a.mp4"):
    return Clip(Path(name), ("a",), width, height, frames, fps)


def cut(*clips, recipe=RECIPE, size=(160, 96), frames=33, fps=12, motion=False):
    return cut_clips(clips, recipe, WAN, size=size, frames=frames, fps=fps, motion=motion)


def test_a_folder_is_its_videos_and_pictures_in_order(tmp_path):
    write_folder(tmp_path, count=2)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a red ball")
    (tmp_path / "notes.md").write_text("nothing")
    found = read_folder(tmp_path)
    assert [c.path.name for c in found] == ["a.png", "clip-0.mp4", "clip-1.mp4"]
    assert [(c.width, c.height, c.frames, c.fps) for c in found] == [
        (40, 30, 1, None),
        (32, 32, 5, 12),
        (32, 32, 5, 12),
    ]


@pytest.mark.parametrize("suffix", [".gif", ".webm"])
def test_other_containers_are_read_too(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    frames = [Image.new("RGB", (32, 32), (i * 20, 0, 0)) for i in range(9)]
    if suffix == ".gif":
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)
    else:
        write_webm(path, frames)
    path.with_suffix(".txt").write_text("a red ball")
    (found,) = read_folder(tmp_path)
    assert (found.width, found.height, found.frames) == (32, 32, 9)
    assert read_cut(cut(found, size=(32, 32), frames=5, fps=5)[0]).shape == (5, 32, 32, 3)


def write_webm(path, frames):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def broken(path):
    path.write_text("no")
    path.with_suffix(".txt").write_text("a ball")


@pytest.mark.parametrize(
    ("break_it", "error", "says"),
    [
        (lambda f: f, InvalidRequest, "there are no clips in"),
        (lambda f: write_clip(f / "a.mp4"), InvalidRequest, r"have no caption: a\.mp4\. Allowed: a text in a\.txt"),
        (
            lambda f: (f / "metadata.jsonl").write_text('{"file_name": "b.mp4", "text": "b"}'),
            InvalidRequest, "is not there, but a table",
        ),
        (lambda f: broken(f / "a.mp4"), DamagedFile, r"a\.mp4: not a video"),
        (lambda f: broken(f / "a.png"), DamagedFile, r"a\.png: not a picture"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_named_with_what_to_do(break_it, error, says, tmp_path):
    break_it(tmp_path)
    with pytest.raises(error, match=says):
        read_folder(tmp_path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InvalidRequest, match="is not a folder"):
        read_folder(tmp_path / "none")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ((160, 96), (160, 96)),
        ((1600, 960), (160, 96)),
        ((96, 160), (96, 160)),
        ((100, 100), (128, 128)),
        ((300, 96), (224, 64)),
    ],
)
def test_a_bucket_has_the_proportions_of_the_clip_and_the_area_of_the_size(source, expected):
    found = bucket_of(clip(*source), (160, 96), WAN)
    assert found == expected
    assert found[0] % WAN.multiple == 0
    assert found[1] % WAN.multiple == 0


def test_without_buckets_every_clip_has_the_size():
    (one,) = cut(clip(100, 100), recipe=RECIPE.changed({"buckets": "false"}))
    assert one.video == VideoShape(frames=33, height=96, width=160)


@pytest.mark.parametrize(
    ("frames", "fps", "expected"),
    [
        (33, 12.0, 33),
        (40, 12.0, 33),
        (32, 12.0, 29),
        (66, 24.0, 33),
        (65, 24.0, 33),
        (64, 24.0, 29),
        (5, 12.0, 5),
        (17, 6.0, 33),
    ],
)
def test_frames_are_4n_plus_1_at_the_models_speed(frames, fps, expected):
    (one,) = cut(clip(frames=frames, fps=fps))
    assert one.video.frames == expected
    numbers = numbers_of(one)
    assert len(numbers) == expected
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert numbers[-1] < frames


def test_nearest_frames_are_taken():
    (one,) = cut(clip(frames=25, fps=30.0), frames=9, fps=12)
    assert numbers_of(one) == [0, 3, 5, 8, 10, 13, 15, 18, 20]


def test_a_clip_that_is_too_short_says_so():
    with pytest.raises(InvalidRequest, match=r"a\.mp4 is too short: 4 frames at 12 fps are 4 at 12 fps.*5 or more"):
        cut(clip(frames=4))


def test_long_clips_give_one_part_or_all():
    assert [c.start for c in cut(clip(frames=80))] == [0]
    parts = cut(clip(frames=80), recipe=RECIPE.changed({"long": "all"}))
    assert [(c.start, c.video.frames) for c in parts] == [(0, 33), (33, 33), (66, 13)]
    assert numbers_of(parts[2]) == list(range(66, 79))


def test_pictures_are_clips_of_one_frame_where_nothing_has_to_move():
    picture = clip(frames=1, fps=None, name="a.png")
    assert cut(picture)[0].video.frames == 1
    with pytest.raises(InvalidRequest, match=r"a\.png is a picture"):
        cut(picture, motion=True)


@pytest.mark.parametrize(
    ("options", "says"), [({"size": (150, 96)}, "width"), ({"frames": 32}, "4n"), ({"size": (160, 0)}, "height")]
)
def test_a_size_that_cannot_be_encoded_is_refused(options, says):
    with pytest.raises(InvalidRequest, match=says):
        cut(clip(), **options)


def test_frames_are_covered_and_cut_in_the_middle(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=9, size=(64, 32))
    one = Cut(Clip(path, ("a",), 64, 32, 9, 12.0), VideoShape(frames=5, height=32, width=32), 2, 12)
    whole = read_video(path).frames
    np.testing.assert_array_equal(read_cut(one), whole[2:7, :, 16:48])


def test_a_clip_that_breaks_off_is_named(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=5)
    one = Cut(Clip(path, ("a",), 32, 32, 9, 12.0), VideoShape(frames=9, height=32, width=32), 0, 12)
    with pytest.raises(InvalidRequest, match=r"a\.mp4 ends before its frame 5"):
        read_cut(one)
