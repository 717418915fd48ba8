"""Files that nobody vouches for: whatever their bytes, reading their description ends soon, in bounded memory, with the
tensors or with an error of ours; nothing in them is executed."""

import json
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tests.engine.checkpoints import published

from filmgate.engine.checkpoints.describe import inspect
from filmgate.engine.checkpoints.gguf_header import read_gguf
from filmgate.engine.checkpoints.networks import networks_in
from filmgate.engine.checkpoints.single_files import read_description
from filmgate.engine.checkpoints.tensors import Tensors
from filmgate.engine.checkpoints.weights import read_weights
from filmgate.spec import CheckpointError, DamagedFile, FilmgateError, MissingFile, UnsafeCheckpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the memory that a process has had")
QUICK = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
SECONDS, BYTES = 3.0, 64 << 20
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(line):
    """Bytes of this process in memory: now (VmRSS) or at most since the last reset (VmHWM). What Python, torch, mapped
    files and the readers' own libraries take is all in it."""
    (found,) = (row for row in STATUS.read_text().splitlines() if row.startswith(f"{line}:"))
    return int(found.split()[1]) * 1024


class Memory:
    """Measures how much more memory a block of code takes at its worst moment than before it."""

    def __enter__(self):
        RESET.write_text("5")
        self.before = resident("VmRSS")
        return self

    def __exit__(self, *_):
        self.grown = resident("VmHWM") - self.before


@pytest.mark.parametrize(
    "take", [lambda: torch.ones(BYTES // 4), lambda: bytes(BYTES) + b"1", lambda: bytearray(BYTES)]
)
def test_memory_is_seen_whoever_takes_it(take):
    grown = []
    for _ in range(3):  # the system may take other pages of this process at the same moment
        with Memory() as memory:
            assert len(take()) >= BYTES // 4
        grown.append(memory.grown)
    assert max(grown) > BYTES * 0.9
    with Memory() as memory:
        assert len(bytes(1000)) == 1000
    assert memory.grown < BYTES / 8


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A small sound file of every format, as bytes by suffix."""
    root = tmp_path_factory.mktemp("samples")
    state = {name: tensor[..., :32].contiguous() for name, tensor in published.transformer().state_dict().items()}
    state = {name: tensor for name, tensor in state.items() if "blocks.1" not in name}
    save_file(dict(state), root / "x.safetensors", {"format": "pt"})
    torch.save(state, root / "x.pth")
    published.save_gguf(root / "x.gguf", state, "Q8_0", metadata={"general.name": "a model"})
    return {path.suffix: path.read_bytes() for path in root.iterdir()}


def examine(path):
    """Everything that is done before a network is built; only errors of ours may leave it."""
    start = time.process_time()
    with Memory() as memory:
        records, message = looked_into(path)
    assert time.process_time() - start < SECONDS
    assert memory.grown < BYTES
    if message is not None:
        assert path.name in message or path.parent.name in message, message
        assert len(message) < 2000, message
    return records


def looked_into(path):
    """(what the file says of its tensors, None), or (None, the refusal)."""
    try:
        records = read_weights(path)
        for network in networks_in(records):
            assert network.records.tensors.keys()
        inspect(path)
    except FilmgateError as refusal:
        return None, str(refusal)
    return records, None


ALONE = """
import sys, time
from filmgate.engine.checkpoints.describe import inspect
from filmgate.spec import FilmgateError

def peak():
    (row,) = (row for row in open("/proc/self/status") if row.startswith("VmHWM:"))
    return int(row.split()[1]) * 1024

before, start = peak(), time.process_time()
try:
    inspect(sys.argv[1])
    end = "read"
except FilmgateError as error:
    end = type(error).__name__
print(end, peak() - before, time.process_time() - start)
"""


def examine_alone(path):
    """The same in a process of its own, where no memory was there to be used again: what it ended with."""
    run = subprocess.run([sys.executable, "-c", ALONE, path], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    end, grown, seconds = run.stdout.split()
    assert int(grown) < BYTES
    assert float(seconds) < SECONDS
    return end


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".gguf"])
@QUICK
@given(data=st.data())
def test_altered_files_are_read_or_refused(samples, tmp_path, suffix, data):
    content = bytearray(samples[suffix])
    # Mostly in the description, which is at the start, or (of a zip archive) also at the end.
    near = st.integers(0, 4000) | st.integers(len(content) - 4000, len(content) - 1) | st.integers(0, len(content) - 1)
    for position, bits in data.draw(st.lists(st.tuples(near, st.integers(1, 255)), min_size=1, max_size=6)):
        content[position] ^= bits
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    records = examine(path)
    if records is not None and suffix != ".pth":
        assert all(record.begin + record.bytes <= len(content) for record in records.tensors.values())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".gguf"])
@QUICK
@given(data=st.data())
def test_truncated_files_are_refused(samples, tmp_path, suffix, data):
    content = samples[suffix]
    kept = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 3000))
    (tmp_path / f"x{suffix}").write_bytes(content[:kept])
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / f"x{suffix}")
    examine(tmp_path / f"x{suffix}")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin", ".gguf", ".safetensors.index.json", ".toml"])
@QUICK
@given(content=st.binary(max_size=300))
def test_noise_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_description(path) if suffix == ".toml" else read_weights(path)


HUGE = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -1, 10**30])


@QUICK
@given(st.data())
def test_safetensors_headers_that_lie(tmp_path, data):
    numbers = HUGE | st.integers(-2, 300)
    entry = st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "BF16", "F8_E4M3", "U8", "F4", "x"]),
            "shape": st.lists(numbers, max_size=5),
            "data_offsets": st.lists(numbers, min_size=1, max_size=3),
        }
    )
    names = st.sampled_from(
        ["head.modulation", "blocks.0.ffn.0.weight", f"blocks.{10**20}.x", "blocks.99999999.x", "model.head.modulation",
         "decoder.up_blocks.0.resnets.77.norm1.gamma", "decoder.mid_block.resnets.0.norm1.gamma",
         "patch_embedding.weight", f"blocks.{'9' * 5000}.x", "cls_embedding", "scaled_fp8"]
    )  # fmt: skip
    header = json.dumps(data.draw(st.dictionaries(names, entry | st.none() | numbers, max_size=6))).encode()
    length = data.draw(st.just(len(header)) | st.integers(0, 2**64 - 1))
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + header + bytes(data.draw(st.integers(0, 64))))
    examine(path)


def entry(shape, begin=0, dtype="F32"):
    size = 4
    for length in shape:
        size *= length
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, begin + size]}


@pytest.mark.parametrize(
    "name", ["blocks.100000000.x", f"blocks.{'9' * 400}.x", "blocks.4294967296.self_attn.q.weight", "blocks.300000.x"]
)
def test_layers_that_the_file_is_too_small_for(tmp_path, name):
    """One tensor can claim any number of blocks; a network of that many must not even be outlined."""
    header = json.dumps({"head.modulation": entry((1, 2, 4)), name: entry((1,), 32)}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(36))
    with pytest.raises(DamagedFile, match="counts more than the file has tensors"):
        networks_in(read_weights(path))
    examine(path)
    assert examine_alone(path) == "DamagedFile"


def test_sizes_that_cost_the_file_nothing(tmp_path):
    header = json.dumps({"head.modulation": entry((1, 2, 0)), "blocks.0.ffn.0.weight": entry((2**62, 0))}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(DamagedFile, match="without numbers"):
        networks_in(read_weights(path))


def test_more_tensors_than_a_model_can_have(tmp_path):
    header = json.dumps({f"blocks.{index}.ffn.0.weight": entry((0,)) for index in range(66_000)}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(DamagedFile, match="more tensors than a model can have"):
        read_weights(path)
    assert examine_alone(path) == "DamagedFile"


# ---------------------------------------------------------------------------------------------------------------- GGUF


def gguf_text(text):
    return struct.pack("<Q", len(text)) + text


def gguf_head(tensors, values, body=b""):
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, values) + body


@pytest.mark.parametrize(
    "content",
    [
        gguf_head(2**63, 0),
        gguf_head(0, 2**64 - 1),
        gguf_head(0, 1, struct.pack("<Q", 2**63) + b"x"),
        gguf_head(0, 1, gguf_text(b"k") + struct.pack("<IIQ", 9, 8, 2**62)),
        gguf_head(0, 1, gguf_text(b"k") + struct.pack("<IIQ", 9, 4, 3_999_990)),
        gguf_head(0, 1, gguf_text(b"k") + struct.pack("<IIQ", 9, 9, 5)),
        gguf_head(0, 1, gguf_text(b"k") + struct.pack("<I", 77)),
        gguf_head(1, 0, gguf_text(b"w") + struct.pack("<I", 2**31)),
        gguf_head(1, 0, gguf_text(b"w") + struct.pack("<IQQIQ", 2, 2**62, 2**62, 0, 0)),
        gguf_head(1, 0, gguf_text(b"w") + struct.pack("<IQIQ", 1, 32, 0, 2**63)),
        gguf_head(1, 0, gguf_text(b"w") + struct.pack("<IQIQ", 1, 33, 8, 0)),
        gguf_head(1, 0, gguf_text(b"w") + struct.pack("<IQIQ", 1, 32, 999, 0)),
        gguf_head(1, 0, gguf_text(b"\xff\xfe") + struct.pack("<IQIQ", 1, 32, 0, 0)),
        gguf_head(1, 1, gguf_text(b"general.alignment") + struct.pack("<II", 4, 0) + gguf_text(b"w") + bytes(24)),
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
    ],
)
def test_gguf_headers_that_lie(tmp_path, content):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_gguf(path)
    examine(path)


@QUICK
@given(st.data())
def test_gguf_headers_of_random_numbers(tmp_path, data):
    numbers = st.sampled_from([0, 1, 2, 3, 8, 9, 32, 256, 2**31, 2**32, 2**63, 2**64 - 1])
    body = b"".join(
        data.draw(
            st.lists(
                numbers.map(lambda n: struct.pack("<Q", n)) | numbers.map(lambda n: struct.pack("<I", n % 2**32))
                | st.sampled_from([gguf_text(b"head.modulation"), gguf_text(b"general.alignment"), bytes(32)]),
                max_size=12,
            )
        )
    )  # fmt: skip
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_head(data.draw(numbers), data.draw(numbers), body))
    examine(path)


# ----------------------------------------------------------------------------------------------------------------- .pth


def save_pickle(path, program, *, compression=zipfile.ZIP_STORED, claimed=None):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/byteorder", "little")
    if claimed is not None:
        content = path.read_bytes()
        actual = struct.pack("<I", len(program))
        path.write_bytes(content.replace(actual, struct.pack("<I", claimed)))


@pytest.mark.parametrize("suffix", [".safetensors", ".gguf", ".pth"])
def test_what_is_no_file_is_not_waited_for(tmp_path, suffix):
    """Whoever opens a pipe that nobody writes to waits for ever."""
    os.mkfifo(tmp_path / f"pipe{suffix}")
    with pytest.raises(DamagedFile, match="not a file on disk; expected a file, found a pipe"):
        read_weights(tmp_path / f"pipe{suffix}")


@pytest.mark.parametrize("suffix", [".safetensors", ".gguf", ".pth"])
@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            MissingFile,
            "were not downloaded.*LFS",
        ),
        ("\n<!DOCTYPE html><title>401</title>", DamagedFile, "a web page.*downloaded again"),
        ("<html>404", DamagedFile, "a web page"),
    ],
)
def test_what_a_failed_download_leaves_is_called_so(tmp_path, suffix, content, error, words):
    path = tmp_path / f"model{suffix}"
    path.write_text(content)
    with pytest.raises(error, match=words):
        read_weights(path)


def test_a_zip_bomb_is_not_expanded(tmp_path):
    """data.pkl says that it has 1000 bytes and would expand to 200 million."""
    path = tmp_path / "x.pth"
    program = bytes(200_000_000)
    save_pickle(path, program, compression=zipfile.ZIP_DEFLATED, claimed=1000)
    assert path.stat().st_size < 300_000
    with pytest.raises(CheckpointError):
        read_weights(path)
    examine(path)
    assert examine_alone(path) == "DamagedFile"


def test_a_pickle_that_says_how_large_it_is_and_is_too_large(tmp_path):
    save_pickle(tmp_path / "x.pth", bytes(150_000_000), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(DamagedFile, match=r"data\.pkl is too large"):
        read_weights(tmp_path / "x.pth")
    examine(tmp_path / "x.pth")
    assert examine_alone(tmp_path / "x.pth") == "DamagedFile"


def test_lists_that_would_double_with_every_instruction_do_not(tmp_path):
    """A list appended to itself through the machine's memory, thirty times."""
    program = b"\x80\x02]q\x00" + b"(" + b"h\x00" * 2 + b"e" + (b"(h\x00h\x00e" * 30) + b"."
    save_pickle(tmp_path / "x.pth", program)
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "x.pth")
    examine(tmp_path / "x.pth")


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("bomb", ["os.system", "builtins.eval", "subprocess.Popen", "torch.load", "builtins.getattr"])
def test_nothing_is_imported_or_called(tmp_path, protocol, bomb):
    module, name = bomb.rsplit(".", 1)
    witness = tmp_path / "witness"

    class Bomb:
        def __reduce__(self):
            from importlib import import_module

            return getattr(import_module(module), name), (f"touch {witness}",)

    save_pickle(tmp_path / "x.pth", pickle.dumps({"w": Bomb()}, protocol))
    with pytest.raises(UnsafeCheckpoint):
        read_weights(tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(pickle.dumps({"w": Bomb()}, protocol))
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "y.pth")
    assert not witness.exists()


@QUICK
@given(program=st.lists(
    st.sampled_from([bytes([code]) for code in b"(}])Nqrhjcbsuaetp0.RQKMJX"] + [b"\x85", b"\x86", b"\x87", b"\x80\x02",
    b"\x94", b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"X\x01\x00\x00\x00w", b"K\x01",
    b"ccollections\nOrderedDict\n", b"\x8a\xff", b"\x8a\x08" + b"\x7f" * 8]), max_size=40,
).map(b"".join))  # fmt: skip
def test_pickle_programs_of_random_instructions(tmp_path, program):
    path = tmp_path / "x.pth"
    save_pickle(path, program + b".")
    examine(path)


# ----------------------------------------------------------------------------------------------------- tensors, details


def test_a_file_that_is_cut_while_it_is_open(samples, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(samples[".safetensors"])
    records = read_weights(path)
    path.write_bytes(samples[".safetensors"][:-5000])
    tensors = Tensors(records)
    last = max(records.tensors.items(), key=lambda item: item[1].begin)[0]
    with pytest.raises(DamagedFile, match="shorter"):
        tensors[last]


@QUICK
@given(st.binary(max_size=200))
def test_deflated_noise_in_an_archive(tmp_path, noise):
    path = tmp_path / "x.pth"
    save_pickle(path, zlib.compress(noise), compression=zipfile.ZIP_DEFLATED)
    examine(path)
