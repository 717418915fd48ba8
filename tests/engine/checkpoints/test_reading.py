"""What several threads read is what lies in the file, bit by bit, and what a mapped file gives."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from tests.engine.checkpoints import published
from tests.engine.checkpoints.published import DIT

from filmgate.engine.checkpoints import filling, reading
from filmgate.engine.checkpoints.filling import Filling
from filmgate.engine.checkpoints.headers import read_safetensors
from filmgate.engine.checkpoints.networks import read_network
from filmgate.engine.checkpoints.reading import Wanted, dtype_of, read_all
from filmgate.engine.checkpoints.tensors import Tensors, build_empty
from filmgate.engine.checkpoints.wan import FP32_MODULES, narrow_as
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.runtime import host_memory
from filmgate.engine.runtime.stream import stream_blocks
from filmgate.spec import DamagedFile, MissingFile

CPU = torch.device("cpu")
NAMES = {torch.bfloat16: "BF16", torch.float32: "F32", torch.float16: "F16", torch.float8_e4m3fn: "F8_E4M3"}


def save(path, tensors, pad=0):
    """A safetensors file with tensors in the given order and a header of any length."""
    header, position = {}, 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": NAMES[tensor.dtype], "shape": list(tensor.shape),
            "data_offsets": [position, position := position + tensor.nbytes],
        }  # fmt: skip
    text = json.dumps(header).encode() + b" " * pad
    data = b"".join(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() for tensor in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.fixture
def tensors():
    draw = torch.Generator().manual_seed(5)
    shapes = {"a": (300, 7), "b": (), "c": (3,), "d": (1000,), "none": (0, 4), "e": (5, 5, 5), "f": (1, 1)}
    kinds = list(NAMES)
    return {
        name: torch.randn(shape, generator=draw).to(kinds[index % len(kinds)])
        for index, (name, shape) in enumerate(shapes.items())
    }


def wanted_of(path, target_dtype=None):
    records = read_safetensors(path).tensors
    return [
        Wanted(name, record, dtype_of(record), torch.empty(record.shape, dtype=target_dtype or dtype_of(record)))
        for name, record in records.items()
    ]


def same_bits(left, right):
    return left.dtype == right.dtype and torch.equal(
        left.reshape(-1).view(torch.uint8), right.reshape(-1).view(torch.uint8)
    )


@pytest.mark.parametrize("pad", [0, 1, 6], ids=lambda pad: f"pad{pad}")
@pytest.mark.parametrize("chunk", [8, 100, 1 << 20])
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_tensors_are_those_of_the_file(tmp_path, tensors, pad, chunk, threads, dtype) -> None:
    items = wanted_of(save(tmp_path / "x.safetensors", tensors, pad), dtype)
    read_all(items, threads=threads, chunk=chunk)
    for item in items:
        assert same_bits(item.target, tensors[item.name].to(item.target.dtype)), item.name


def test_order_and_gaps_do_not_matter(tmp_path, tensors) -> None:
    items = wanted_of(save(tmp_path / "x.safetensors", tensors))[::-2]
    read_all(iter(items), chunk=64)
    assert all(same_bits(item.target, tensors[item.name]) for item in items)


def test_reads_that_come_in_pieces_are_completed(tmp_path, tensors, monkeypatch) -> None:
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, buffers, offset: whole(file, [buffers[0][:7]], offset))
    items = wanted_of(save(tmp_path / "x.safetensors", tensors))
    read_all(items)
    assert all(same_bits(item.target, tensors[item.name]) for item in items)


def test_a_file_that_became_shorter_is_told_before_a_byte_is_read(tmp_path, tensors, monkeypatch) -> None:
    items = wanted_of(path := save(tmp_path / "x.safetensors", tensors))
    os.truncate(path, path.stat().st_size - 1)
    monkeypatch.setattr(os, "preadv", lambda *_: pytest.fail("it was read"))
    with pytest.raises(DamagedFile, match="became shorter while open") as found:
        read_all(items)
    assert found.value.key == "f"


def test_a_file_that_becomes_shorter_while_it_is_read_is_told_too(tmp_path, tensors, monkeypatch) -> None:
    items = wanted_of(path := save(tmp_path / "x.safetensors", tensors))
    whole = os.preadv

    def cut(file, buffers, offset):
        os.truncate(path, offset)
        return whole(file, buffers, offset)

    monkeypatch.setattr(os, "preadv", cut)
    with pytest.raises(DamagedFile, match="became shorter while open"):
        read_all(items, threads=2, chunk=512)


def test_the_message_is_that_of_a_mapped_file(tmp_path, tensors) -> None:
    records = read_safetensors(path := save(tmp_path / "x.safetensors", tensors))
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DamagedFile) as mapped:
        _ = Tensors(records)["f"]
    with pytest.raises(DamagedFile) as read:
        read_all([Wanted("f", records.tensors["f"], torch.float16, torch.empty(1, 1, dtype=torch.float16))])
    assert str(read.value) == str(mapped.value)


def test_a_file_that_is_gone_is_told(tmp_path, tensors) -> None:
    items = wanted_of(path := save(tmp_path / "x.safetensors", tensors))
    path.unlink()
    with pytest.raises(MissingFile, match="cannot be read"):
        read_all(items)


def test_an_error_of_the_disk_is_told_and_ends_the_reading(tmp_path, tensors, monkeypatch) -> None:
    calls, opened, closed = [], [], []

    def fail(*_):
        calls.append(1)
        time.sleep(0.01)
        raise OSError(5, "Input/output error")

    first, last = os.open, os.close
    items = wanted_of(save(tmp_path / "x.safetensors", tensors))
    monkeypatch.setattr(os, "preadv", fail)
    monkeypatch.setattr(os, "open", lambda *args: opened.append(handle := first(*args)) or handle)
    monkeypatch.setattr(os, "close", lambda handle: closed.append(handle) or last(handle))
    with pytest.raises(MissingFile, match="Input/output error"):
        read_all(items, threads=1, chunk=8)
    assert len(calls) < 400, "of more than 700"
    assert closed == opened != []


def test_targets_of_another_size_are_a_defect(tmp_path, tensors) -> None:
    item = wanted_of(save(tmp_path / "x.safetensors", tensors))[0]
    with pytest.raises(AssertionError, match="another size"):
        read_all([Wanted(item.name, item.record, item.dtype, torch.empty(3))])


def test_memory_beside_the_targets_is_bounded(tmp_path, monkeypatch) -> None:
    path = save(tmp_path / "x.safetensors", {f"t{index}": torch.ones(1 << 16) for index in range(64)})
    taken = []
    original = reading.HostBlock
    monkeypatch.setattr(reading, "HostBlock", lambda size, locked: taken.append(size) or original(size, locked=locked))
    read_all(wanted_of(path), threads=2, chunk=1 << 14)
    assert taken == [], "what needs no other format is read to where it belongs"
    items = wanted_of(path, torch.bfloat16)
    read_all(items, threads=2, chunk=1 << 14)
    assert 1 <= len(taken) <= 4
    assert sum(taken) <= 4 * ((1 << 14) + reading._MAX_PARTS * reading._ALIGNMENT)
    assert all(bool((item.target == 1).all()) for item in items)
    assert 2 * reading.THREADS * (reading.CHUNK + reading._MAX_PARTS * reading._ALIGNMENT) < 0.15 * 2**30
    assert host_memory.PAGE <= reading.CHUNK


# ------------------------------------------------------------------------------------------ copies beside the reading


class LateEvent:
    """An event of a lane: whoever waits for it makes the lane do everything up to it."""

    def __init__(self, lane: LateLane) -> None:
        self.lane, self.done = lane, False

    def synchronize(self) -> None:
        self.lane.work_until(lambda: self.done)

    def happen(self) -> None:
        self.done = True


class LateLane:
    """A stream that puts off all its work until somebody waits for it, as a slow bus would. Threads share it."""

    def __init__(self, _device: torch.device) -> None:
        self.work: list[Callable[[], None]] = []
        self.lock, self.waited = threading.RLock(), 0

    def wait_stream(self, stream: object) -> None:
        assert stream == "present"
        self.waited += 1

    def record_event(self) -> LateEvent:
        event = LateEvent(self)
        self.work.append(event.happen)
        return event

    def work_until(self, done: Callable[[], bool]) -> None:
        with self.lock:
            while self.work and not done():
                self.work.pop(0)()

    def synchronize(self) -> None:
        assert self.waited == 1, "targets may be where something is still computed"
        self.work_until(lambda: False)


@pytest.fixture
def slow_bus(monkeypatch) -> None:
    """Targets are reached in the way of CUDA, and every copy happens at the last moment."""
    here = "filmgate.engine.checkpoints.reading"
    monkeypatch.setattr(f"{here}.torch.cuda.Stream", LateLane)
    monkeypatch.setattr(f"{here}.torch.cuda.current_stream", lambda _device: "present")
    monkeypatch.setattr(f"{here}.torch.cuda.stream", lambda _lane: nullcontext())
    monkeypatch.setattr(f"{here}.torch.cuda.device", lambda _device: nullcontext())
    monkeypatch.setattr("filmgate.engine.runtime.host_memory._lock", lambda _pages: True)
    monkeypatch.setattr("filmgate.engine.runtime.host_memory._unlock", lambda _pages: None)
    monkeypatch.setattr(Wanted, "direct", property(lambda _: False))
    copy = reading._Reading._copy
    monkeypatch.setattr(
        reading._Reading, "_copy", lambda self, *what: self._lane.work.append(partial(copy, self, *what))
    )


@pytest.mark.usefixtures("slow_bus")
@pytest.mark.parametrize("dtype", [None, torch.float32])
@pytest.mark.parametrize("threads", [1, 3])
def test_buffers_are_filled_again_only_when_their_copies_have_left(tmp_path, tensors, dtype, threads) -> None:
    items = wanted_of(save(tmp_path / "x.safetensors", tensors), dtype)
    read_all(items, torch.device("cuda"), threads=threads, chunk=64)
    for item in items:
        assert same_bits(item.target, tensors[item.name].to(item.target.dtype)), item.name


@pytest.mark.usefixtures("slow_bus")
def test_a_buffer_that_nobody_waits_for_would_be_seen(tmp_path, tensors, monkeypatch) -> None:
    """The test above can fail: without waiting, later pieces are where earlier ones should be."""
    monkeypatch.setattr(LateEvent, "synchronize", lambda _: None)
    items = wanted_of(save(tmp_path / "x.safetensors", tensors))
    read_all(items, torch.device("cuda"), threads=1, chunk=64)
    assert not all(same_bits(item.target, tensors[item.name]) for item in items)


@pytest.mark.usefixtures("slow_bus")
def test_an_error_beside_copies_waits_for_them(tmp_path, tensors, monkeypatch) -> None:
    items = wanted_of(path := save(tmp_path / "x.safetensors", tensors))
    lanes, made = [], LateLane.__init__
    monkeypatch.setattr(LateLane, "__init__", lambda self, device: made(self, device) or lanes.append(self))
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, to, at: whole(file, to, at) if at < 2000 else 0)
    with pytest.raises(DamagedFile):
        read_all(items, torch.device("cuda"), threads=2, chunk=64)
    assert path.exists()
    assert [lane.work for lane in lanes] == [[]], "buffers are not let go of while something is copied from them"


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chunk", [64, 1 << 20])
def test_on_a_gpu_too(tmp_path, tensors, dtype, chunk) -> None:
    device = torch.device("cuda:0")
    items = [
        replace(item, target=torch.empty_like(item.target, device=device))
        for item in wanted_of(save(tmp_path / "x.safetensors", tensors, 3), dtype)
    ]
    read_all(items, device, chunk=chunk)
    for item in items:
        assert same_bits(item.target.cpu(), tensors[item.name].to(item.target.dtype)), item.name


# ------------------------------------------------------------------------------------- networks, against mapped files


def saved(tmp_path, how):
    state = published.transformer().state_dict()
    match how:
        case "Q4_K" | "Q8_0":
            return published.save_gguf(tmp_path / "x.gguf", state, how)
        case "scaled_fp8" | "int8":
            return published.save_scaled(tmp_path / "x.safetensors", state, convention=how)
    return published.save_single(tmp_path / "x.safetensors", state, dtype=getattr(torch, how))


def filled(path, weights, wide, *, streamed, available, monkeypatch):
    """Every tensor of a network that was filled in one of two ways, and how many were read rather than mapped."""
    count = 0
    whole = reading._runs

    def counted(wanted, size):
        nonlocal count
        for run in whole(wanted, size):
            count += len(run)
            yield run

    monkeypatch.setattr(reading, "_runs", counted)
    monkeypatch.setattr(filling, "AVAILABLE", available)
    records = read_network(path, "transformer").records

    def dtype(name):
        return torch.float32 if FP32_MODULES.search(name) else wide

    network = build_empty(lambda: WanDiT(DIT))
    source = Filling(network, Tensors(records), device=CPU, dtype=dtype, narrow=narrow_as(weights, records, dtype))
    if not streamed:
        source.fill()
        return network.state_dict(), count
    found = {}
    stream = stream_blocks(network, source, CPU)
    for block in stream._blocks:
        found |= {name: view.clone() for name, view in block.views(block.host.bytes)}
    return found, count


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("weights", ["as_computed", "as_stored", "int4"])
@pytest.mark.parametrize("how", ["bfloat16", "float32", "float8_e4m3fn", "scaled_fp8", "int8", "Q8_0", "Q4_K"])
def test_networks_are_those_of_mapped_files(tmp_path, monkeypatch, how, weights, streamed) -> None:
    path = saved(tmp_path, how)
    for wide in (torch.float32, torch.bfloat16):
        with monkeypatch.context() as patch:
            read, count = filled(path, weights, wide, streamed=streamed, available=True, monkeypatch=patch)
        with monkeypatch.context() as patch:
            mapped, none = filled(path, weights, wide, streamed=streamed, available=False, monkeypatch=patch)
        assert none == 0
        assert count or (how, wide) == ("float32", torch.float32) or not streamed
        assert read.keys() == mapped.keys()
        for name, tensor in mapped.items():
            assert same_bits(read[name], tensor), name


def test_plain_files_are_read_and_not_mapped(tmp_path, monkeypatch) -> None:
    path = saved(tmp_path, "bfloat16")
    _, whole = filled(path, "as_computed", torch.float32, streamed=False, available=True, monkeypatch=monkeypatch)
    assert whole == len(read_network(path, "transformer").records.tensors)


def test_what_is_used_in_place_on_a_cpu_stays_mapped(tmp_path, monkeypatch) -> None:
    path = saved(tmp_path, "float32")
    _, count = filled(path, "as_computed", torch.float32, streamed=False, available=True, monkeypatch=monkeypatch)
    assert count == 0


def test_blocks_are_read_in_the_order_of_the_file(tmp_path, monkeypatch) -> None:
    state = published.transformer().state_dict()
    path = save(tmp_path / "x.safetensors", {name: state[name].to(torch.bfloat16) for name in sorted(state)})
    offsets, whole = [], os.preadv

    def noted(file, buffers, offset):
        offsets.append(offset)
        return whole(file, buffers, offset)

    monkeypatch.setattr(os, "preadv", noted)
    monkeypatch.setitem(reading.read_all.__kwdefaults__, "threads", 1)
    network = build_empty(lambda: WanDiT(DIT))
    source = Filling(
        network, Tensors(read_network(path, "transformer").records), device=CPU, dtype=lambda _: torch.bfloat16
    )
    stream_blocks(network, source, CPU)
    assert len(offsets) <= DIT.num_layers, "each block with one read, or several of them"
    assert offsets == sorted(offsets)
