"""How near the loading of weights comes to what disk and page cache can give, and what a warm worker does first.

    python bench/loading.py [--gib 1] [--device cpu] [--cold] [--json OUT] [--only load warm]
    python bench/loading.py --gib 27 --device cuda:0 --json OUT        an expert of A14B, whole
    python bench/loading.py --merge OUT [--commit]                     writes the claims of a run

load  A checkpoint of random bf16 weights is made: A14B's transformer with as many of its layers as fit in --gib, in
      shards with an index, names in the order of the alphabet. In turns, the best of several repetitions:
      ours      from the path to what is ready: headers read and checked, fp32 where it computes in fp32. On a GPU the
                transformer on the device; and everywhere its blocks as they are streamed, in page-locked memory (on a
                CPU: in memory) where an expert was before. What is outside the blocks, 2 % of the whole model, is then
                left out: in a small checkpoint it would be almost half
      fresh     the same streamed blocks with memory that has to be got and locked first, and so for the peer
      mapped    ours, from memory-mapped files as before, which is what systems without preadv get
      peer      the same bytes with nothing but threads of preadv: to memory that was allocated, locked and touched
                before the clock starts, in the best of several numbers of threads; to a GPU through page-locked buffers
                and asynchronous copies into one allocation
      library   safetensors' own load_file, every page touched
warm  bench/warm_worker.py: from a request to its first step in a process that has its networks
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors.torch import load_file
from torch import Tensor

from claims import RESULTS, Measured, commit, finished_runs, processor, report, today, versions, write
from filmgate.engine.checkpoints import filling as filling_room
from filmgate.engine.checkpoints.filling import Filling
from filmgate.engine.checkpoints.records import TensorRecord
from filmgate.engine.checkpoints.tensors import build_empty, open_tensors
from filmgate.engine.checkpoints.wan import DTYPES, FP32_MODULES
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.runtime.host_memory import HostBlock, HostRoom
from filmgate.engine.runtime.stream import BlockStream, stream_blocks
from host_memory import HostMemory
from loading_checkpoint import Stored, config_of, write_checkpoint
from loading_peers import THREADS, Peer, library
from true_size_weights import GIB
from warm_worker import warm_claims, warm_seconds

GOAL, OVERHEAD_GOAL = 0.8, 2.0
PARTS = ("load", "warm")
Load = Callable[[], Any]


def in_blocks(name: str) -> bool:
    """Whether a tensor is streamed."""
    return name.startswith("blocks.")


def files_of(index: Path) -> list[Path]:
    """Shards, in order."""
    return sorted(index.parent.glob("*.safetensors"))


def forget(files: Sequence[Path]) -> None:
    """Take files out of the page cache."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# -------------------------------------------------------------------------------------------------------------- ours


def load(
    config: DitConfig, index: Path, device: torch.device, room: HostRoom | None
) -> tuple[WanDiT, BlockStream | None]:
    """A transformer as the local backend loads it: all on the device, or only its blocks, in memory of ``room``."""

    def dtype(name: str) -> torch.dtype:
        return torch.float32 if FP32_MODULES.search(name) else DTYPES["bf16"]

    network = build_empty(lambda: WanDiT(config))
    filling = Filling(network, open_tensors(index), device=device, dtype=dtype)
    if room is None:
        filling.fill()
        stream = None
    else:
        stream = stream_blocks(network, filling, device, room=room)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return network, stream


def mapped(work: Load) -> Any:
    """The same from memory-mapped files."""
    before, filling_room.AVAILABLE = filling_room.AVAILABLE, False
    try:
        return work()
    finally:
        filling_room.AVAILABLE = before


def check(config: DitConfig, index: Path, device: torch.device, *, streamed: bool) -> None:
    """What was loaded is what the library finds in the files, bit by bit.

    Raises:
        AssertionError: it is not.
    """
    network, stream = load(config, index, device, HostRoom() if streamed else None)
    found: dict[str, Tensor] = {name: tensor for name, tensor in network.state_dict().items() if not tensor.is_meta}
    for block in () if stream is None else stream._blocks:
        if block.host is not None:
            found.update(block.views(block.host.bytes))
    for path in files_of(index):
        for name, tensor in load_file(path).items():
            if streamed and not in_blocks(name):
                continue
            ours = found.pop(name).cpu()
            if not torch.equal(ours, tensor.to(ours.dtype)):
                raise AssertionError(f"{name}: something else was loaded")
    if found:
        raise AssertionError(f"{list(found)}: not in the files")
    if stream is not None:
        stream.close()


# ---------------------------------------------------------------------------------------------------------- measuring


class Bench:
    """The ways to load one checkpoint, and their seconds.

    Args:
        config: Of the checkpoint.
        index: Of its shards.
        device: Where networks work.
        cold: Take the files out of the page cache before every reading.
    """

    def __init__(self, config: DitConfig, index: Path, device: torch.device, *, cold: bool) -> None:
        self.config, self.index, self.device, self.cold = config, index, device, cold
        self.files = files_of(index)
        self.gib = sum(path.stat().st_size for path in self.files) / GIB
        self.records = open_tensors(index).records.tensors

    def run(self, repeats: int, *, to_host: bool) -> dict[str, Any]:
        """Every way in turns; GiB per second of the best of each, and memory of the host beyond what must stay."""
        read = {name: record for name, record in self.records.items() if in_blocks(name) or not to_host}
        peer = Peer(read.values(), self.device, to_host=to_host)
        gib = peer.total / GIB
        room = HostRoom() if to_host else None
        # The number of threads is chosen first, so that the peer is not the best of many more tries than ours.
        tried = {count: min(self.seconds(partial(peer.read, count)) for _ in range(2)) for count in THREADS}
        threads = min(tried, key=tried.__getitem__)
        ways: dict[str, Load] = {
            "ours": lambda: self.ours(room),
            "peer": lambda: peer.read(threads),
            "mapped": lambda: mapped(lambda: self.ours(room)),
            "library": lambda: library(self.files, read, torch.device("cpu") if to_host else self.device),
        }
        if to_host:
            self.ours(room)  # so that the memory is there
            ways["fresh"] = lambda: self.ours(HostRoom())
            ways["fresh_peer"] = lambda: self.fresh_peer(read.values(), threads)
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(repeats):
            for name, work in ways.items():
                best[name] = min(best[name], self.seconds(work))
        rates = {name: round(gib / seconds, 4) for name, seconds in best.items()}
        return {
            "gib": round(gib, 4), "gib_per_second": rates, "peer_threads": threads,
            "share": round(rates["ours"] / rates["peer"], 4),
            "fresh_share": round(rates["fresh"] / rates["fresh_peer"], 4) if to_host else None,
            "overhead_gib": self.overhead(to_host=to_host),
        }  # fmt: skip

    def seconds(self, work: Load) -> float:
        """Of one way; what it made is let go of afterwards."""
        # A virtual machine's free memory may be its host's: then it comes slower than any file. Each way finds memory
        # that was used a moment ago.
        if self.device.type == "cpu":
            HostBlock(int(1.2 * self.gib * GIB), locked=False).bytes.zero_()
        if self.cold:
            forget(self.files)
        start = time.perf_counter()
        made = work()
        seconds = time.perf_counter() - start
        del made
        gc.collect()
        return seconds

    def fresh_peer(self, records: Iterable[TensorRecord], threads: int) -> None:
        """The peer, and the getting and locking of its memory."""
        Peer(records, self.device, to_host=True, touched=False).read(threads)

    def ours(self, room: HostRoom | None) -> None:
        """Load, and give the memory back to ``room``."""
        _, stream = load(self.config, self.index, self.device, room)
        if stream is not None:
            stream.close()

    def overhead(self, *, to_host: bool) -> float:
        """GiB of the host's memory at the peak of a loading, beyond what must stay."""
        before = HostMemory.now()[0]
        with HostMemory().watched() as memory:
            network, stream = load(self.config, self.index, self.device, HostRoom() if to_host else None)
        kept = 0 if stream is None else stream.host_bytes
        if self.device.type == "cpu":
            kept += sum(tensor.nbytes for tensor in network.state_dict().values() if not tensor.is_meta)
        if stream is not None:
            stream.close()
        return round((memory.peak - before - kept) / GIB, 4)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for."""
    device = torch.device(options.device)
    hardware = processor() if device.type == "cpu" else torch.cuda.get_device_name(device)
    content: dict[str, Any] = {
        "mode": "smoke" if options.smoke else "true", "hardware": hardware, "versions": versions(), "date": today(),
        "commit": commit(), "device": device.type, "cold": options.cold, "stored": options.stored,
    }  # fmt: skip
    if "load" in options.only:
        config = config_of(options.gib, options.stored, small=options.smoke)
        with tempfile.TemporaryDirectory(prefix="filmgate-loading-", dir=options.folder) as folder:
            index = write_checkpoint(config, options.stored, Path(folder))
            check(config, index, device, streamed=True)
            if device.type == "cuda":
                check(config, index, device, streamed=False)
            bench = Bench(config, index, device, cold=options.cold)
            content |= {"layers": config.num_layers, "gib": round(bench.gib, 4)}
            content["host"] = bench.run(options.repeats, to_host=True)
            if device.type == "cuda":
                content["device_memory"] = bench.run(options.repeats, to_host=False)
    if "warm" in options.only:
        content["warm"] = warm_seconds(device, options.repeats, options.gib, options.stored, small=options.smoke)
    return content


def numbers_of(content: Mapping[str, Any]) -> Iterator[Measured]:
    """What a run claims."""
    prefix = "gpu." if content["device"] == "cuda" else ""
    kind = f"{'cold.' if content['cold'] else ''}{'fp32.' if content['stored'] == 'fp32' else ''}"
    for part, name in (("host", "load.host" if prefix else "load"), ("device_memory", "load")):
        if (found := content.get(part)) is None:
            continue
        base, rates = f"{prefix}{name}.{kind}", found["gib_per_second"]
        yield Measured(f"{base}bandwidth_share", found["share"], "of peer", GOAL)
        if found["fresh_share"] is not None:
            yield Measured(f"{base}fresh_bandwidth_share", found["fresh_share"], "of peer", GOAL)
            yield Measured(f"{base}fresh_gib_per_second", rates["fresh"], "GiB/s")
        yield Measured(f"{base}gib_per_second", rates["ours"], "GiB/s")
        yield Measured(f"{base}peer_gib_per_second", rates["peer"], "GiB/s")
        yield Measured(f"{base}mapped_gib_per_second", rates["mapped"], "GiB/s")
        yield Measured(f"{base}library_gib_per_second", rates["library"], "GiB/s")
        yield Measured(f"{base}host_overhead_gib", found["overhead_gib"], "GiB", OVERHEAD_GOAL, higher_is_better=False)
    if "warm" in content:
        yield from warm_claims(content["warm"], prefix)


def merge(paths: Sequence[Path], stated: str | None, folder: Path | None = None) -> list[Path]:
    """Write the claims of runs.

    Raises:
        ValueError: one was a trial.
    """
    return [
        write("loading", numbers_of(content), folder=folder or RESULTS, **known)
        for content, known in finished_runs(paths, stated)
    ]


def main() -> int:
    """Measure, or write the claims of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=1.0, help="size; on a GPU the host needs four times that")
    parser.add_argument("--stored", choices=get_args(Stored), default="bf16", help="format in the files")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--cold", action="store_true", help="from the disk and not from the page cache")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--folder", type=Path, help="where the checkpoint is made; it is removed")
    parser.add_argument("--json", type=Path, help="file of the run")
    parser.add_argument("--smoke", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="write the claims of runs")
    parser.add_argument("--commit", help="with --merge: of a run that took place where there is no git")
    options = parser.parse_args()
    if options.merge:
        for path in dict.fromkeys(merge(options.merge, options.commit)):
            report(path)
        return 0
    with torch.no_grad():
        content = measure(options)
    print(json.dumps(content, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
