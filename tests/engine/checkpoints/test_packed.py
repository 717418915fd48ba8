"""Packed weights come back bit by bit, once, complete, or not at all."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engine.wan_directory import SIDECAR

from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.packed import BORROWED, materialise, pack_directory
from filmgate.engine.checkpoints.packed_file import lean, pack, read_packed, read_packed_header, unpack
from filmgate.spec import CheckpointError, DamagedFile, InvalidRequest, MissingFile, OutputError


@pytest.fixture
def weights(tmp_path):
    draw = torch.Generator().manual_seed(1)
    tensors = {
        "half": torch.randn(300, 77, generator=draw).bfloat16(),
        "zero": torch.zeros(64, dtype=torch.bfloat16),
        "single": torch.randn(50, generator=draw),
        "count": torch.arange(9),
        "empty": torch.zeros(0, 4),
    }
    path = tmp_path / "w.safetensors"
    save_file(tensors, path, {"format": "pt"})
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_seven_bits_are_every_bit(weights, tmp_path):
    header = pack(weights, tmp_path / "w.planes", 7)
    assert unpack(tmp_path / "w.planes", tmp_path / "again") == header == read_packed_header(tmp_path / "w.planes")
    assert sha256(tmp_path / "again") == sha256(weights) == header.sha256


@pytest.mark.parametrize(("bits", "error"), [(3, 2**-4), (5, 2**-6)])
def test_fewer_bits_are_rounded_and_smaller(weights, tmp_path, bits, error):
    pack(weights, tmp_path / "w.planes", bits)
    unpack(tmp_path / "w.planes", tmp_path / "again.safetensors")
    before, after = load_file(weights), load_file(tmp_path / "again.safetensors")
    ratio = (after["half"].double() / before["half"].double() - 1).abs().max()
    assert 0 < ratio <= error
    assert all(torch.equal(before[name], after[name]) for name in ("zero", "single", "count", "empty"))
    assert (tmp_path / "w.planes").stat().st_size < weights.stat().st_size * (4.2 + bits) / 16 + 1500


def test_altered_bytes_are_noticed_or_change_nothing(weights, tmp_path):
    header = pack(weights, tmp_path / "w.planes")
    data, noticed = (tmp_path / "w.planes").read_bytes(), 0
    for position in np.linspace(0, len(data) - 1, 60).astype(int):
        altered = bytearray(data)
        altered[position] ^= 0x10
        (tmp_path / "bad.planes").write_bytes(altered)
        try:
            unpack(tmp_path / "bad.planes", tmp_path / "out")
        except CheckpointError:
            noticed += 1
            assert not (tmp_path / "out").exists()
        else:  # bits that fill up the last byte of a stream
            assert sha256(tmp_path / "out") == header.sha256
            (tmp_path / "out").unlink()
    assert noticed >= 58


@pytest.mark.parametrize("kept", [0, 10, 30, -1])
def test_a_truncated_file_is_noticed_before_anything_is_written(weights, tmp_path, kept):
    pack(weights, tmp_path / "w.planes")
    (tmp_path / "bad.planes").write_bytes((tmp_path / "w.planes").read_bytes()[:kept])
    with pytest.raises(DamagedFile, match=r"bad\.planes"):
        read_packed_header(tmp_path / "bad.planes")


def test_what_cannot_be_packed(weights, tmp_path):
    with pytest.raises(InvalidRequest, match=r"1 \.\.\. 7"):
        pack(weights, tmp_path / "w.planes", 8)
    save_file({"w": torch.tensor([float("inf")]).bfloat16()}, tmp_path / "inf.safetensors")
    with pytest.raises(CheckpointError):
        pack(tmp_path / "inf.safetensors", tmp_path / "w.planes")
    with pytest.raises(MissingFile):
        unpack(tmp_path / "missing.planes", tmp_path / "out")


@pytest.fixture
def packed(make_wan, tmp_path):
    pack_directory(make_wan(sidecar=SIDECAR), tmp_path / "packed", 5, {"*VAE*": 7})
    return tmp_path / "packed"


def test_a_directory_comes_back_as_a_model(packed, make_wan, tmp_path):
    root = materialise(packed, tmp_path / "cache")
    assert root.parent == tmp_path / "cache"
    assert describe(root).id == "tiny"
    original = {path.relative_to(tmp_path / "model") for path in (tmp_path / "model").rglob("*")}
    assert {path.relative_to(root) for path in root.rglob("*")} == original
    assert list((tmp_path / "cache").glob(".*")) == []


def test_what_is_whole_is_not_made_again_and_what_is_not_is(packed, tmp_path):
    root = materialise(packed, tmp_path / "cache")
    vae = root / "Wan2.1_VAE.safetensors"
    before = vae.stat()
    assert materialise(packed, tmp_path / "cache") == root
    assert (vae.stat().st_ino, vae.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    digest = sha256(vae)
    vae.write_bytes(b"cut short")
    assert materialise(packed, tmp_path / "cache") == root
    assert sha256(vae) == digest


def test_other_contents_are_another_directory(packed, tmp_path):
    first = materialise(packed, tmp_path / "cache")
    (packed / "generation.json").write_text("{}")
    second = materialise(packed, tmp_path / "cache")
    assert first != second
    assert first.is_dir()


def test_a_directory_without_packed_files_is_itself(wan_pair, tmp_path):
    assert materialise(wan_pair, tmp_path / "cache") == wan_pair
    assert not (tmp_path / "cache").exists()


def test_directories_that_cannot_be_made(packed, tmp_path):
    with pytest.raises(MissingFile):
        materialise(tmp_path / "missing", tmp_path / "cache")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        materialise(packed, tmp_path / "file")


def test_what_another_directory_has_is_borrowed(tmp_path):
    """Two models with one VAE: it lies in the first, and the second is expanded with it."""
    for name, seed in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        folder.mkdir()
        generator = torch.Generator().manual_seed(seed)
        save_file({"w": torch.randn(40, 8, generator=generator).bfloat16()}, folder / "dit.safetensors")
        save_file({"v": torch.arange(64).bfloat16()}, folder / "vae.safetensors")
        (folder / "facts.json").write_text("{}")
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    pack_directory(tmp_path / "one", shipped / "one")
    pack_directory(tmp_path / "two", shipped / "two", lenders=[shipped / "one"])
    assert json.loads((shipped / "two" / BORROWED).read_text()) == {"vae.safetensors": "../one/vae.safetensors.planes"}
    assert not (shipped / "two" / "vae.safetensors.planes").exists()
    pack_directory(tmp_path / "two", shipped / "whole")
    found, whole = (materialise(shipped / name, tmp_path / "cache") for name in ("two", "whole"))
    assert sorted(path.name for path in found.iterdir()) == ["dit.safetensors", "facts.json", "vae.safetensors"]
    assert all((found / p.name).read_bytes() == p.read_bytes() for p in whole.iterdir())
    assert found.name.rpartition("-")[2] == whole.name.rpartition("-")[2]

    (shipped / "one" / "vae.safetensors.planes").unlink()
    with pytest.raises(MissingFile):
        materialise(shipped / "two", tmp_path / "other")
    for place in ("../../secret.planes", "../one/facts.json"):
        (shipped / "two" / BORROWED).write_text(json.dumps({"vae.safetensors": place}))
        with pytest.raises(DamagedFile):
            materialise(shipped / "two", tmp_path / "other")


@pytest.fixture
def relatives(tmp_path):
    """A model and a child that differs in one tensor and has one more, both packed, and the child packed whole."""
    draw = torch.Generator().manual_seed(1)
    parent = {name: torch.randn(40, 30, generator=draw).bfloat16() for name in ("a", "b", "d")}
    child = parent | {"b": torch.randn(40, 36, generator=draw).bfloat16(), "c": torch.randn(5, generator=draw)}
    for name, tensors in (("parent", parent), ("child", child)):
        (tmp_path / name / "model").mkdir(parents=True)
        save_file(tensors, tmp_path / name / "model" / "dit.safetensors", {"format": "pt"})
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    pack_directory(tmp_path / "parent", shipped / "parent")
    pack_directory(tmp_path / "child", shipped / "child", lenders=[shipped / "parent"])
    pack_directory(tmp_path / "child", shipped / "whole")
    return shipped


def test_a_child_keeps_only_what_its_parent_has_not(relatives, tmp_path):
    place = "model/dit.safetensors.planes"
    header = read_packed_header(relatives / "child" / place)
    assert (header.base, header.own) == (f"../../parent/{place}", ("c", "b"))
    assert list(read_packed(relatives / "child" / place).tensors) == list(
        read_packed(relatives / "whole" / place).tensors
    )
    sizes = [(relatives / name / place).stat().st_size for name in ("child", "whole")]
    assert sizes[0] < 0.55 * sizes[1]
    found, whole = (materialise(relatives / name, tmp_path / "cache") for name in ("child", "whole"))
    assert (found / "model/dit.safetensors").read_bytes() == (whole / "model/dit.safetensors").read_bytes()
    assert found.name.rpartition("-")[2] == whole.name.rpartition("-")[2]


def test_nothing_is_left_to_strangers_or_to_those_who_leave_it_to_others(relatives, tmp_path):
    place = "model/dit.safetensors.planes"
    child, whole = (relatives / name / place for name in ("child", "whole"))
    before = whole.read_bytes()
    assert not lean(whole, child)
    save_file({name: torch.zeros(40, 30).bfloat16() for name in "abd"}, tmp_path / "s.safetensors")
    pack(tmp_path / "s.safetensors", tmp_path / "s.planes")
    assert not lean(whole, tmp_path / "s.planes")
    assert whole.read_bytes() == before


def test_a_parent_that_is_missing_altered_or_elsewhere_is_noticed(relatives, tmp_path):
    place = "model/dit.safetensors.planes"
    parent, child = relatives / "parent" / place, relatives / "child" / place
    kept, lent = parent.read_bytes(), child.read_bytes()
    save_file({name: torch.ones(40, 30).bfloat16() for name in "abd"}, tmp_path / "s.safetensors")
    pack(tmp_path / "s.safetensors", parent)
    with pytest.raises(DamagedFile, match="expands to other bytes"):
        materialise(relatives / "child", tmp_path / "cache")
    save_file({"a": torch.ones(40, 30).bfloat16()}, tmp_path / "s.safetensors")
    pack(tmp_path / "s.safetensors", parent)
    with pytest.raises(DamagedFile, match="has not what"):
        materialise(relatives / "child", tmp_path / "cache")
    parent.unlink()
    with pytest.raises(MissingFile, match="not there"):
        materialise(relatives / "child", tmp_path / "cache")
    parent.write_bytes(kept)
    child.write_bytes(lent.replace(b'"../../parent/', b'"../../../aaa/'))  # as long, so that only the place is wrong
    with pytest.raises(DamagedFile, match="beside this directory"):
        materialise(relatives / "child", tmp_path / "cache")
