"""Devices, formats, threads, and the settings under which work repeats."""

import pytest
import torch

from filmgate.engine.runtime.place import choose_device, devices, dtype_of, repeatable, use_threads
from filmgate.spec import DeviceError, InvalidRequest

CPU = torch.device("cpu")


def settings():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    return torch.get_num_threads(), torch.get_deterministic_debug_mode(), flags


def test_the_processor_is_always_there():
    assert devices()[-1] == "cpu"
    assert choose_device("cpu") == CPU
    assert str(choose_device()) == devices()[0]


def test_a_device_that_torch_does_not_find():
    with pytest.raises(DeviceError, match=r"cuda:63.*cpu"):
        choose_device("cuda:63")
    with pytest.raises(InvalidRequest, match="cuda:N"):
        choose_device("gpu")


def test_formats():
    assert dtype_of("bf16", CPU) == torch.bfloat16
    assert dtype_of("fp32", CPU) == torch.float32
    with pytest.raises(DeviceError, match="bf16"):
        dtype_of("fp16", CPU)


def test_threads_are_at_least_one():
    with pytest.raises(InvalidRequest, match="1 or more"):
        use_threads(0)


def test_settings_hold_within_and_are_restored_after():
    before = settings()
    with repeatable(1):
        assert settings() == (1, 2, (False, True, False, False))
    assert settings() == before
    with pytest.raises(ZeroDivisionError), repeatable(1):
        _ = 1 / 0
    assert settings() == before


def test_what_was_stricter_before_stays_so():
    torch.set_deterministic_debug_mode("warn")
    try:
        with repeatable(1):
            assert torch.get_deterministic_debug_mode() == 2
        assert torch.get_deterministic_debug_mode() == 1
    finally:
        torch.set_deterministic_debug_mode("default")
