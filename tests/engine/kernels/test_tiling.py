"""Tiles that are blended: exact where a network sees no further than what is thrown away."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from filmgate.engine.kernels.tiling import blend_weights, spans, tiled

CPU = torch.device("cpu")


@pytest.mark.parametrize(("length", "tile", "overlap"), [(8, 8, 2), (9, 8, 2), (33, 8, 2), (90, 32, 8), (160, 32, 8)])
def test_tiles_cover_everything_and_overlap_enough(length, tile, overlap):
    found = spans(length, tile, overlap)
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(end - begin == tile for begin, end in found)
    assert all(before[1] - after[0] >= overlap for before, after in pairwise(found))
    # No more than are needed.
    assert len(found) == 1 or tile + (len(found) - 2) * (tile - overlap) < length


def test_what_is_shorter_than_a_tile_is_one():
    assert spans(5, 8, 2) == [(0, 5)]


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize(("length", "tile", "overlap"), [(8, 8, 2), (33, 8, 2), (90, 32, 8), (17, 16, 15)])
def test_weights_are_one_together_and_none_at_cuts(length, tile, overlap, scale):
    found = spans(length, tile, overlap)
    weights = blend_weights(found, overlap, scale)
    total = torch.zeros(length * scale)
    for (begin, end), weight in zip(found, weights, strict=True):
        total[begin * scale : end * scale] += weight
    torch.testing.assert_close(total, torch.ones_like(total))
    assert weights[0][0] == 1
    for before, after in pairwise(weights):
        assert before[-1] == after[0] == 0


def blur(video):
    """Frames one at a time, then in twos, each position mixed with its neighbours: it sees one position far."""
    kernel = torch.arange(1.0, 10).view(1, 1, 3, 3)
    for chunk in video.split([1, *[2] * ((video.shape[2] - 1) // 2)], dim=2):
        frames = chunk[0].transpose(0, 1)
        yield F.conv2d(frames, kernel, padding=1).transpose(0, 1)[None]


def test_it_is_exact_where_nothing_is_seen_across_a_cut():
    video = torch.randn(1, 1, 5, 21, 30)
    whole = torch.cat(list(blur(video)), dim=2)
    chunks = list(tiled(blur, video, tile=12, overlap=4, device=CPU))
    assert [chunk.shape[2] for chunk in chunks] == [1, 2, 2]
    torch.testing.assert_close(torch.cat(chunks, dim=2), whole, atol=1e-4, rtol=1e-5)


def test_with_too_little_overlap_it_is_not():
    def twice(video):
        yield next(blur(next(blur(video))))

    video = torch.randn(1, 1, 1, 21, 30)
    for overlap, exact in ((2, False), (8, True)):
        (found,) = tiled(twice, video, tile=12, overlap=overlap, device=CPU)
        assert torch.allclose(found, next(twice(video)), atol=1e-2) is exact


@pytest.mark.parametrize(("into", "out"), [(1, 3), (3, 1)])
def test_sizes_may_change(into, out):
    def resize(video):
        mode = "nearest" if out > into else "area"
        yield F.interpolate(video, scale_factor=(1, out / into, out / into), mode=mode)

    video = torch.randn(1, 2, 1, 10 * into, 14 * into)
    (whole,) = resize(video)
    (found,) = tiled(resize, video, tile=6, overlap=2, into=into, out=out, device=CPU)
    torch.testing.assert_close(found, whole)


def test_a_tile_as_large_as_the_whole_is_the_whole_bit_by_bit():
    video = torch.randn(1, 1, 3, 9, 9)
    found = torch.cat(list(tiled(blur, video, tile=9, overlap=2, device=CPU)), dim=2)
    assert torch.equal(found, torch.cat(list(blur(video)), dim=2))
