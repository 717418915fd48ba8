"""Blocks that come and go compute what blocks that stay compute, bit by bit."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from tests.engine.wan_directory import DIT, TEXT, network
from torch import nn

from filmgate.engine.checkpoints.tensors import build_empty
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.runtime.host_memory import PAGE, HostBlock, HostRoom
from filmgate.engine.runtime.parallel import ALONE
from filmgate.engine.runtime.residency import holdings
from filmgate.engine.runtime.stream import BlockStream, stream_blocks, streamed_prefixes

CPU = torch.device("cpu")
DEEP = replace(DIT, num_layers=5)
VACE = replace(DIT, num_layers=4, vace_layers=(0, 2), vace_in_dim=96)


class Shelf:
    """Tensors of a module by name, and how often each was asked for."""

    def __init__(self, module: nn.Module) -> None:
        self.tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        self.asked: list[str] = []

    def copy_into(self, name: str, target: torch.Tensor) -> None:
        self.asked.append(name)
        target.copy_(self.tensors[name])

    def copy_all(self, groups) -> None:
        for group in groups:
            for name, target in group:
                self.copy_into(name, target)


def streamed(whole: nn.Module, build, **options):
    """A copy of ``whole`` whose blocks are streamed, the stream, and where its tensors come from."""
    module = build_empty(build).requires_grad_(False).eval()
    shelf = Shelf(whole)
    prefixes = tuple(f"{name}." for name in streamed_prefixes(module, options.get("kept", 0)))
    rest = {name: tensor for name, tensor in shelf.tensors.items() if not name.startswith(prefixes)}
    module.load_state_dict(rest, strict=False, assign=True)
    return module, stream_blocks(module, shelf, CPU, **options), shelf


def inputs(config):
    generator = torch.Generator().manual_seed(3)
    control = None
    if config.vace_layers:
        control = torch.randn(1, config.vace_in_dim, 2, 4, 4, generator=generator)
    x = torch.randn(1, config.in_dim, 2, 4, 4, generator=generator)
    return x, torch.tensor([500.0]), torch.randn(1, 7, config.text_dim, generator=generator), control


def run(module, config):
    x, timestep, context, control = inputs(config)
    with torch.no_grad():
        return module(x, timestep, context, control=control)


@pytest.mark.parametrize("host", ["pinned", "mapped"])
@pytest.mark.parametrize("kept", [0, 2, 4])
@pytest.mark.parametrize("config", [DEEP, VACE], ids=["plain", "vace"])
def test_every_pass_is_that_of_the_whole_network(config, kept, host) -> None:
    whole = network(WanDiT, config, 1)
    module, stream, _ = streamed(whole, lambda: WanDiT(config), host=host, kept=kept)
    expected = run(whole, config)
    for _ in range(3):
        assert torch.equal(run(module, config), expected)
    assert stream.copied > 0


@pytest.mark.parametrize("config", [DEEP, VACE], ids=["plain", "vace"])
def test_folded_text_is_that_of_the_whole_network(config) -> None:
    whole = network(WanDiT, config, 1)
    module, _, _ = streamed(whole, lambda: WanDiT(config))
    x, timestep, context, control = inputs(config)
    with torch.no_grad():
        found, expected = (
            one(x, timestep, text_cache=one.fold_text(context), control=control) for one in (module, whole)
        )
    assert torch.equal(found, expected)


def test_the_text_encoder_too() -> None:
    whole = network(Umt5Encoder, TEXT, 4)
    module, _, _ = streamed(whole, lambda: Umt5Encoder(TEXT), host="mapped")
    ids, mask = torch.arange(8)[None], torch.ones(1, 8)
    with torch.no_grad():
        assert torch.equal(module(ids, mask), whole(ids, mask))


@pytest.mark.parametrize("config", [DEEP, VACE], ids=["plain", "vace"])
def test_the_next_block_is_always_on_its_way_once_the_order_is_known(config) -> None:
    module, stream, _ = streamed(network(WanDiT, config, 1), lambda: WanDiT(config))
    x, timestep, context, control = inputs(config)
    with torch.no_grad():
        text = module.text_keys_values(context)
        # Texts are read by all blocks in their order, and VACE's branch then works between the others.
        for _ in range(2):
            module(x, timestep, text_cache=text, control=control)
        copied, late = stream.copied, stream.late
        module(x, timestep, text_cache=text, control=control)
    assert stream.late == late < 12
    assert stream.copied - copied == len(module.text_blocks())


def test_absent_blocks_have_no_numbers_that_could_be_used() -> None:
    module, stream, _ = streamed(network(WanDiT, DEEP, 1), lambda: WanDiT(DEEP))
    assert all(tensor.is_meta for tensor in module.blocks[2].state_dict().values())
    run(module, DEEP)
    there = [index for index, block in enumerate(module.blocks) if not block.ffn[0].weight.is_meta]
    assert there == [4]
    stream.close()
    assert all(tensor.is_meta for tensor in module.blocks.state_dict().values())


def test_two_blocks_are_on_the_device_and_the_rest_is_on_the_host_or_in_the_file() -> None:
    whole = network(WanDiT, DEEP, 1)
    block = sum(tensor.nbytes for tensor in whole.blocks[0].state_dict().values())
    beside = sum(tensor.nbytes for name, tensor in whole.state_dict().items() if not name.startswith("blocks."))
    for host, kept in (("pinned", 0), ("mapped", 0), ("pinned", 2)):
        module, stream, shelf = streamed(whole, lambda: WanDiT(DEEP), host=host, kept=kept)
        at_first = len(shelf.asked)
        run(module, DEEP)
        run(module, DEEP)
        found = {item.where: item.bytes for item in holdings("high_noise", module, stream)}
        assert found["cpu"] - beside - kept * block == pytest.approx(2 * block, rel=0.05)
        if host == "pinned":
            assert found["host"] == pytest.approx((5 - kept) * block, rel=0.05)
            assert len(shelf.asked) == at_first == (5 - kept) * len(whole.blocks[0].state_dict())
        else:
            assert "host" not in found
            assert at_first == 0 < len(shelf.asked)


def test_what_is_patched_is_so_whenever_it_comes() -> None:
    whole = network(WanDiT, DEEP, 1)
    module, stream, _ = streamed(whole, lambda: WanDiT(DEEP))
    x, timestep, context, _ = inputs(DEEP)

    def forward(one):
        """Without the texts' projections, so that the blocks in the buffers are the first that are used."""
        with torch.no_grad():
            return one(x, timestep, text_cache=text)

    with torch.no_grad():
        text = whole.text_keys_values(context)
    plain = forward(module)
    stream.patch({f"blocks.{index}.ffn.2.bias": lambda bias: bias.add_(1) for index in range(5)})
    for block in whole.blocks:
        block.ffn[2].bias.add_(1)
    assert torch.equal(forward(module), forward(whole))
    assert not torch.equal(forward(module), plain)
    stream.patch({})
    assert torch.equal(forward(module), plain)


def test_the_next_network_has_the_memory_of_the_last() -> None:
    room, whole = HostRoom(), network(WanDiT, DEEP, 1)
    first, stream, _ = streamed(whole, lambda: WanDiT(DEEP), room=room)
    run(first, DEEP)
    places = {host.bytes.data_ptr() for host in stream._hosts()}
    stream.close()
    stream.close()
    other = network(WanDiT, DEEP, 2)
    second, again, _ = streamed(other, lambda: WanDiT(DEEP), room=room)
    assert {host.bytes.data_ptr() for host in again._hosts()} == places
    assert torch.equal(run(second, DEEP), run(other, DEEP))


class Ranks:
    """Some ranks in one process: what each has of a block is looked up in the streams of all of them."""

    def __init__(self, streams, size, index) -> None:
        self.streams, self.size, self.index = streams, size, index

    def joined(self, part, whole) -> None:
        own = self.streams[self.index]._blocks
        number = next(number for number, block in enumerate(own) if block.part is part)
        whole.copy_(torch.cat([stream._blocks[number].part for stream in self.streams]))


@pytest.mark.parametrize("kept", [0, 2])
@pytest.mark.parametrize("config", [DEEP, VACE], ids=["plain", "vace"])
def test_ranks_put_blocks_together(config, kept) -> None:
    """Three ranks, by which no block divides evenly."""
    whole, streams = network(WanDiT, config, 1), []
    modules = []
    for index in range(3):
        module, stream, shelf = streamed(
            whole, lambda: WanDiT(config), kept=kept, group=Ranks(streams, 3, index), host="mapped"
        )  # fmt: skip
        modules.append((module, shelf, len(shelf.asked)))
        streams.append(stream)
    expected = run(whole, config)
    for module, shelf, at_first in modules:
        assert torch.equal(run(module, config), expected)
        assert torch.equal(run(module, config), expected)
        assert len(shelf.asked) == at_first > 0, "files are read once"
    block = sum(tensor.nbytes for tensor in whole.blocks[0].state_dict().values())
    count = len(whole.text_blocks()) - kept
    assert [stream.host_bytes for stream in streams] == [0, 0, 0]
    assert streams[0].device_bytes == pytest.approx((count / 3 + 2) * block, rel=0.2)
    streams[0].close()
    assert streams[0].device_bytes == 0


def test_what_is_patched_is_so_after_it_was_put_together() -> None:
    whole, streams = network(WanDiT, DEEP, 1), []
    modules = []
    for index in range(2):
        module, stream, _ = streamed(whole, lambda: WanDiT(DEEP), group=Ranks(streams, 2, index))
        modules.append(module)
        streams.append(stream)
    for stream in streams:
        stream.patch({"blocks.1.ffn.2.bias": lambda bias: bias.add_(1)})
    whole.blocks[1].ffn[2].bias.add_(1)
    for _ in range(2):
        assert all(torch.equal(run(module, DEEP), run(whole, DEEP)) for module in modules)


def test_memory_of_another_size_is_let_go_of() -> None:
    room = HostRoom()
    small = room.take(1000, locked=False)
    room.give(small)
    gone = weakref.ref(small)
    del small
    assert gone() is not None
    assert room.take(2000, locked=False).bytes.shape == (2000,)
    assert gone() is None


def test_memory_begins_with_a_page() -> None:
    blocks = [HostBlock(size, locked=False) for size in (1, 4096, 5000)]
    assert [block.bytes.data_ptr() % PAGE for block in blocks] == [0, 0, 0]
    assert [block.bytes.nbytes for block in blocks] == [1, 4096, 5000]
    assert not any(block.locked for block in blocks)


def test_a_tensor_that_cannot_be_read_is_an_error_of_the_pass() -> None:
    module, _, shelf = streamed(network(WanDiT, DEEP, 1), lambda: WanDiT(DEEP), host="mapped")
    del shelf.tensors["blocks.3.ffn.0.weight"]
    with pytest.raises(KeyError, match=r"blocks\.3\.ffn\.0\.weight"):
        run(module, DEEP)


def test_a_network_that_stays_whole_has_no_stream() -> None:
    whole = network(WanDiT, DEEP, 1)
    module, stream, _ = streamed(whole, lambda: WanDiT(DEEP), kept=5)
    assert stream is None
    assert torch.equal(run(module, DEEP), run(whole, DEEP))


def test_blocks_that_stay_are_spread_evenly() -> None:
    module = network(WanDiT, replace(DIT, num_layers=10), 1)
    left = [int(name.split(".")[1]) for name in streamed_prefixes(module, 5)]
    assert left == [1, 3, 5, 7, 9]
    assert len(streamed_prefixes(module)) == 10


# ----------------------------------------------------------------------------------------- copies beside the computing


class LateEvent:
    """An event of a lane: whoever waits for it makes the lane do everything up to it."""

    def __init__(self, lane: LateLane | None = None) -> None:
        self.lane, self.done = lane, lane is None

    def synchronize(self) -> None:
        while not self.done:
            self.lane.work.pop(0)()

    def happen(self) -> None:
        self.done = True


class LateLane:
    """A stream that puts off all its work until somebody waits for it, as a slow bus would."""

    def __init__(self, _device: torch.device) -> None:
        self.work: list[Callable[[], None]] = []

    def record_event(self) -> LateEvent:
        event = LateEvent(self)
        self.work.append(event.happen)
        return event

    def wait_event(self, event: LateEvent) -> None:
        assert event.done, "what is computed on a CPU is done at once"


class Now:
    """The stream of the computation, on a CPU."""

    record_event = staticmethod(LateEvent)

    def wait_event(self, event: LateEvent) -> None:
        event.synchronize()


@pytest.fixture
def slow_bus(monkeypatch) -> None:
    """Streams take the way of CUDA, and every copy happens at the last moment."""
    here = "filmgate.engine.runtime.stream"
    monkeypatch.setattr(f"{here}.torch.cuda.Stream", LateLane)
    monkeypatch.setattr(f"{here}.torch.cuda.current_stream", lambda _device: Now())
    monkeypatch.setattr(f"{here}.torch.cuda.stream", lambda _lane: nullcontext())
    monkeypatch.setattr(f"{here}.torch.cuda.device", lambda _device: nullcontext())
    monkeypatch.setattr(f"{here}.torch.cuda.synchronize", lambda _device: None)
    monkeypatch.setattr("filmgate.engine.runtime.host_memory._lock", lambda _pages: True)
    monkeypatch.setattr("filmgate.engine.runtime.host_memory._unlock", lambda _pages: None)
    monkeypatch.setattr(f"{here}._overlaps", lambda _device: True)
    copy = BlockStream._copy
    monkeypatch.setattr(BlockStream, "_copy", lambda self, *what: self._lane.work.append(partial(copy, self, *what)))


@pytest.mark.usefixtures("slow_bus")
@pytest.mark.parametrize("host", ["pinned", "mapped"])
@pytest.mark.parametrize("config", [DEEP, VACE], ids=["plain", "vace"])
def test_copies_that_come_late_are_waited_for(config, host) -> None:
    whole = network(WanDiT, config, 1)
    module, stream, _ = streamed(whole, lambda: WanDiT(config), host=host)
    expected = run(whole, config)
    for _ in range(3):
        assert torch.equal(run(module, config), expected)
    stream.patch({"blocks.1.ffn.2.bias": lambda bias: bias.add_(1)})
    whole.blocks[1].ffn[2].bias.add_(1)
    assert torch.equal(run(module, config), run(whole, config))
    assert stream.locked
    found = {item.where for item in holdings("dense", module, stream)}
    assert found == {"cpu", "host, page-locked"}
    stream.close()


@pytest.mark.usefixtures("slow_bus")
def test_blocks_that_are_put_together_late_are_waited_for() -> None:
    whole, streams = network(WanDiT, VACE, 1), []
    modules = []
    for index in range(2):
        module, stream, _ = streamed(whole, lambda: WanDiT(VACE), group=Ranks(streams, 2, index))
        modules.append(module)
        streams.append(stream)
    expected = run(whole, VACE)
    for _ in range(2):
        assert all(torch.equal(run(module, VACE), expected) for module in modules)
    assert {item.where for item in holdings("dense", modules[0], streams[0])} == {"cpu"}


@pytest.mark.usefixtures("slow_bus")
def test_a_tensor_that_the_thread_cannot_read_is_an_error_of_the_pass() -> None:
    module, stream, shelf = streamed(network(WanDiT, DEEP, 1), lambda: WanDiT(DEEP), host="mapped")
    del shelf.tensors["blocks.3.ffn.0.weight"]
    with pytest.raises(KeyError, match=r"blocks\.3\.ffn\.0\.weight"):
        run(module, DEEP)
    stream.close()


@pytest.mark.usefixtures("slow_bus")
def test_a_copy_that_nobody_waits_for_would_be_seen(monkeypatch) -> None:
    """The test above can fail: without waiting, blocks compute with what was in the buffer before."""
    monkeypatch.setattr(Now, "wait_event", lambda _self, _event: None)
    whole = network(WanDiT, DEEP, 1)
    module, _, _ = streamed(whole, lambda: WanDiT(DEEP))
    assert not torch.equal(run(module, DEEP), run(whole, DEEP))


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{"host": "pinned"}, {"host": "mapped"}, {"group": ALONE}], ids=str)
def test_on_a_gpu_too(options) -> None:
    """From the host, from the file, and from parts on the device, of which one rank has all."""
    device, config = torch.device("cuda:0"), replace(DIT, num_layers=8, dim=256, num_heads=4, ffn_dim=1024)
    whole = network(WanDiT, config, 1)
    module = build_empty(lambda: WanDiT(config)).requires_grad_(False).eval()
    shelf = Shelf(whole)
    rest = {name: tensor.to(device) for name, tensor in shelf.tensors.items() if not name.startswith("blocks.")}
    module.load_state_dict(rest, strict=False, assign=True)
    stream = stream_blocks(module, shelf, device, **options)
    x, timestep, context, _ = (None if part is None else part.to(device) for part in inputs(config))
    with torch.no_grad():
        found = [module(x, timestep, context) for _ in range(4)]
        expected = whole.to(device)(x, timestep, context)
    assert stream.locked
    assert all(torch.equal(one, expected) for one in found)
    stream.close()
