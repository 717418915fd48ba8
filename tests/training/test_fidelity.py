"""What the autoencoder loses: numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from filmgate.evaluation.metrics import psnr
from filmgate.training.fidelity import Fidelity, fidelity


def test_error_is_counted_where_it_is() -> None:
    before = torch.full((2, 3, 4, 8, 8), 100, dtype=torch.uint8)
    after = before.clone()
    covered = torch.zeros(2, 4, 8, 8, dtype=torch.bool)
    covered[0, :, :2, :2] = True
    after[0, :, 3, :2, :2] = 110  # an object of the first clip is wrong in its last frame
    quality = fidelity(before, after, covered)
    assert quality.clips[0] == pytest.approx(psnr(100 * 4 / 64 / 4))
    assert quality.clips[1] == 100
    assert quality.objects == pytest.approx([psnr(100 / 4)])
    assert quality.frames[0] == pytest.approx([100, 100, 100, psnr(100 * 4 / 64)])
    by_position = (quality.frames[0] + quality.frames[1]) / 2
    assert quality.frame_gap() == pytest.approx(by_position.mean() - by_position[3])
    assert quality.frame_gap(np.array([1, 1])) == 0


def test_batches_join() -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randint(0, 256, (5, 3, 3, 8, 8), dtype=torch.uint8, generator=generator) for _ in range(2))
    covered = torch.rand(5, 3, 8, 8, generator=generator) < 0.1
    covered[2] = False
    whole = fidelity(before, after, covered)
    parts = Fidelity.joined([fidelity(before[i], after[i], covered[i]) for i in (slice(0, 2), slice(2, 5))])
    assert len(whole.objects) == 4
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other)
