"""Tensors come back as they were written, or not at all."""

import pytest
import torch

from filmgate.engine.checkpoints.tensor_file import read_tensors, write_tensors
from filmgate.spec import DamagedFile, MissingFile, OutputError

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int64)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "state.safetensors"
    tensors = {str(dtype): (torch.arange(-6, 6).reshape(3, 4) * 0.3).to(dtype) for dtype in DTYPES}
    tensors["strided"] = torch.randn(4, 3).T
    tensors["number"] = torch.tensor(-0.0)
    tensors["nothing"] = torch.empty(0, 3)
    write_tensors(path, tensors, {"step": "7", "origin": "ä = {}"})
    return path, tensors


def test_everything_comes_back_bit_by_bit(file):
    path, tensors = file
    found, metadata = read_tensors(path)
    assert metadata == {"step": "7", "origin": "ä = {}"}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert found[name].contiguous().view(-1).view(torch.uint8).tolist() == (
            tensor.contiguous().view(-1).view(torch.uint8).tolist()
        )


def test_tensors_that_come_back_are_aligned_as_new_ones_are(file):
    assert {tensor.data_ptr() % 64 for tensor in read_tensors(file[0])[0].values() if tensor.numel()} == {0}


def test_a_bit_anywhere_is_noticed(file):
    path, _ = file
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamagedFile):
            read_tensors(path)
    path.write_bytes(whole)
    read_tensors(path)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_half_a_file_is_noticed(file, keep):
    file[0].write_bytes(file[0].read_bytes()[:keep])
    with pytest.raises(DamagedFile):
        read_tensors(file[0])


def test_a_missing_file_and_place(tmp_path):
    with pytest.raises(MissingFile):
        read_tensors(tmp_path / "nothing")
    with pytest.raises(OutputError):
        write_tensors(tmp_path / "missing" / "state", {"x": torch.ones(1)}, {})
