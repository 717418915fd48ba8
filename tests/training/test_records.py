"""What runs leave behind can be read again, also packed."""

import json
import math
from pathlib import Path

import pytest
import torch

from filmgate.spec.errors import DamagedFile, MissingFile
from filmgate.training.curves import _in_sittings, draw, read_curve
from filmgate.training.records import Curve, keep, load_tensors, save_tensors


def test_kept_weights_are_those_of_bf16(tmp_path: Path) -> None:
    weights = {"a": torch.randn(5, 7), "b.c": torch.randn(3), "count": torch.tensor([123_457])}
    plain, packed = tmp_path / "run" / "net.safetensors", tmp_path / "net.planes"
    save_tensors(plain, weights)
    keep(plain, packed)
    again = load_tensors(packed)
    assert set(again) == set(weights)
    assert torch.equal(again["a"], weights["a"].bfloat16().float())
    assert again["a"].dtype == torch.float32
    assert torch.equal(again["count"], weights["count"])
    assert not list(tmp_path.rglob("*.part"))


def test_a_curve_is_read_without_its_closing_line_and_drawn(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "run.jsonl")
    for step in (1, 2, 3):
        curve.note(step=step, psnr=20.0 + step, object_psnr=17.123456789 + step)
    curve.note(event="end", steps=3)
    rows = read_curve(tmp_path / "run.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[0]["object_psnr"] == 18.12346
    assert json.loads((tmp_path / "run.jsonl").read_text().splitlines()[-1])["event"] == "end"
    draw([tmp_path / "run.jsonl"], tmp_path / "pictures" / "run.png")
    assert (tmp_path / "pictures" / "run.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_sitting_stands_behind_the_first() -> None:
    x, y = _in_sittings([10, 20, 5, 15], [4.0, 3.0, 2.0, 1.0])
    assert x == [10, 20, 20, 25, 35]
    assert [value for value in y if not math.isnan(value)] == [4, 3, 2, 1]
    assert math.isnan(y[2]), "no line leads from one to the other"


def test_what_is_no_file_of_tensors_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no such file"):
        load_tensors(tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(DamagedFile, match="not a sound file"):
        load_tensors(tmp_path / "text.safetensors")
