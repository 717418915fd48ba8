"""What is remembered of files is forgotten when they change."""

import os
import time

import pytest
from tests.engine.checkpoints import published

from filmgate.engine.checkpoints import networks
from filmgate.engine.checkpoints.networks import read_network
from filmgate.engine.checkpoints.unchanged import SETTLED_NS, Unchanged
from filmgate.spec import CheckpointError, MissingFile


def settle(path, seconds=10):
    """Let a file have changed some time ago."""
    then = time.time_ns() - seconds * 1_000_000_000
    os.utime(path, ns=(then, then))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x"
    path.write_text("one")
    settle(path)
    return path


def asked(known, path, calls):
    return known.get("key", lambda: calls.append(1) or (path.read_text(), path))


def test_a_file_that_stays_is_read_once(file) -> None:
    known, calls = Unchanged(lambda found: [found[1]], most=2), []
    assert [asked(known, file, calls)[0] for _ in range(3)] == ["one"] * 3
    assert len(calls) == 1


@pytest.mark.parametrize("how", ["size", "time", "place"])
def test_a_file_that_changed_is_read_again(file, how) -> None:
    known, calls = Unchanged(lambda found: [found[1]], most=2), []
    asked(known, file, calls)
    before = file.stat()
    if how == "size":
        file.write_text("three")
        os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns))
    elif how == "time":
        file.write_text("two")
        settle(file, 5)
    else:
        (other := file.with_name("y")).write_text("two")
        os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
        other.replace(file)
    assert asked(known, file, calls)[0] == file.read_text() != "one"
    assert len(calls) == 2


def test_a_file_that_is_gone_is_an_error_as_at_first(file) -> None:
    known, calls = Unchanged(lambda found: [found[1]], most=2), []
    asked(known, file, calls)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        asked(known, file, calls)


def test_a_file_that_has_just_changed_is_not_remembered(file) -> None:
    known, calls = Unchanged(lambda found: [found[1]], most=2), []
    os.utime(file)
    asked(known, file, calls)
    asked(known, file, calls)
    assert len(calls) == 2
    settle(file, SETTLED_NS // 10**9 + 1)
    asked(known, file, calls)
    asked(known, file, calls)
    assert len(calls) == 3


def test_only_the_last_ones_are_kept(file) -> None:
    known, calls = Unchanged(lambda _: [file], most=2), []
    for key in (1, 2, 1, 3, 1, 2):
        known.get(key, lambda key=key: calls.append(key) or key)
    assert calls == [1, 2, 3, 2]


def test_headers_of_a_network_are_read_once_and_damage_is_seen_at_once(tmp_path, monkeypatch) -> None:
    path = published.save_single(tmp_path / "x.safetensors", published.transformer().state_dict())
    settle(path)
    reads, whole = [], networks.read_weights
    monkeypatch.setattr(networks, "read_weights", lambda path: reads.append(path) or whole(path))
    first = read_network(path, "transformer")
    assert read_network(path, "transformer") is first
    assert len(reads) == 1
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(CheckpointError, match="truncated"):
        read_network(path, "transformer")
    path.unlink()
    with pytest.raises(MissingFile):
        read_network(path, "transformer")
