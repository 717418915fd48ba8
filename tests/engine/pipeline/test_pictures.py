"""Pictures to what a transformer is told of them: masks, clips, first frames, features."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.engine.models.test_clip import TINY, randomised
from tests.engine.pipeline.networks import VAE

from filmgate.engine.models.clip import normalise
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.pictures import (
    first_frame,
    frames_beside,
    known_frames,
    look,
    read_video,
    to_tensor,
)
from filmgate.spec import InvalidRequest, VideoShape

SHAPE = VideoShape(frames=9, width=48, height=32)


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return WanVae(VAE).eval().requires_grad_(False)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_codes_become_minus_one_to_one():
    codes = np.array([[[0, 51, 255]]], np.uint8)
    assert to_tensor(codes).flatten().tolist() == pytest.approx([-1, -0.6, 1], abs=1e-7)
    assert to_tensor(picture(4, 6)).shape == (3, 4, 6)
    clip = to_tensor(np.stack([picture(4, 6, seed) for seed in range(5)]))
    assert clip.shape == (3, 5, 4, 6)
    assert torch.equal(clip[:, 2], to_tensor(picture(4, 6, 2)))


def test_the_mask_of_the_first_frame_fills_its_latent_frame_and_that_of_the_last_one_channel():
    assert known_frames({0}, 9, 4).tolist() == [[1, 0, 0]] * 4
    assert known_frames({0, 8}, 9, 4).tolist() == [[1, 0, 0]] * 3 + [[1, 0, 1]]
    assert known_frames({0}, 1, 4).tolist() == [[1]] * 4


@given(st.integers(0, 12), st.sets(st.integers(0, 48)))
def test_a_mask_says_of_every_frame_whether_it_is_known(groups, known):
    frames = 1 + 4 * groups
    mask = known_frames(known, frames, 4)
    assert mask.shape == (4, 1 + groups)
    assert mask[:, 0].tolist() == [float(0 in known)] * 4
    assert mask[:, 1:].T.flatten().tolist() == [float(number in known) for number in range(1, frames)]


def test_a_clip_is_the_picture_and_grey_behind_it(vae):
    image = picture(32, 48)
    beside = frames_beside(image, None, SHAPE, vae)
    clip = torch.zeros(1, 3, 9, 32, 48)
    clip[0, :, 0] = to_tensor(image)
    torch.testing.assert_close(beside[4:], vae.normalise(vae.encode_sequence(clip)[0])[0], atol=1e-5, rtol=1e-5)
    assert beside.shape == (20, 3, 4, 6)
    assert beside[:4].flatten(2).std(-1).max() == 0
    assert beside[:4, :, 0, 0].tolist() == [[1, 0, 0]] * 4


def test_a_last_picture_is_at_the_end_of_the_clip(vae):
    image, last = picture(32, 48), picture(32, 48, 1)
    beside = frames_beside(image, last, SHAPE, vae)
    clip = torch.zeros(1, 3, 9, 32, 48)
    clip[0, :, 0], clip[0, :, 8] = to_tensor(image), to_tensor(last)
    torch.testing.assert_close(beside[4:], vae.normalise(vae.encode_sequence(clip)[0])[0], atol=1e-5, rtol=1e-5)
    with pytest.raises(InvalidRequest, match="1 has no room for a first and a last picture"):
        frames_beside(image, last, SHAPE.model_copy(update={"frames": 1}), vae)


def test_a_picture_is_stretched_by_what_sizes_were_rounded_and_cut_by_more(vae):
    nearly, tall = picture(66, 100), picture(100, 48)
    for image, whole in ((nearly, nearly), (tall, tall[34:66])):
        stretched = F.interpolate(to_tensor(whole)[None], (32, 48), mode="bicubic", align_corners=False)[0]
        clip = torch.zeros(1, 3, 9, 32, 48)
        clip[0, :, 0] = stretched
        expected = vae.normalise(vae.encode_sequence(clip)[0])[0]
        torch.testing.assert_close(frames_beside(image, None, SHAPE, vae)[4:], expected, atol=1e-5, rtol=1e-5)


def test_a_first_frame_is_scaled_and_cut_and_encoded_alone(vae):
    image = picture(40, 50)
    scaled = np.asarray(Image.fromarray(image).resize((50, 40), Image.Resampling.LANCZOS))[4:36, 1:49]
    expected = vae.normalise(vae.encode_sequence(to_tensor(scaled)[None, :, None])[0])[0]
    assert expected.shape == (16, 1, 4, 6)
    small = first_frame(np.ascontiguousarray(scaled), SHAPE, vae)
    torch.testing.assert_close(small, expected, atol=1e-5, rtol=1e-5)
    assert first_frame(image, SHAPE, vae).shape == (16, 1, 4, 6)


def test_a_video_is_encoded_whole(vae):
    frames = np.stack([picture(32, 48, seed) for seed in range(9)])
    expected = vae.normalise(vae.encode_sequence(to_tensor(frames)[None])[0])[0]
    torch.testing.assert_close(read_video(frames, vae), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_pictures_of_different_sizes_are_looked_at_and_put_below_one_another():
    encoder = randomised(TINY)
    shown = [picture(30, 50), picture(80, 20)]
    rows = look(shown, encoder)
    assert rows.shape == (10, 32)
    for index, one in enumerate(shown):
        expected = encoder(normalise(to_tensor(one), 28))[0]
        torch.testing.assert_close(rows[5 * index : 5 * index + 5], expected, atol=1e-6, rtol=1e-6)
