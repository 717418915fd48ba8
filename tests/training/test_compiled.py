"""What one process compiled, another one takes over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from filmgate.training import compiled

PROGRAM = """
import sys, torch
from pathlib import Path
from torch._dynamo.utils import counters
from filmgate.training.compiled import carry, fetch
path = Path(sys.argv[1])
fetch(path)
torch.compile(lambda x: (x.sin() * 2 + 1).cos(), dynamic=False)(torch.ones(7))
carry(path)
print(counters["inductor"]["fxgraph_cache_hit"], counters["inductor"]["fxgraph_cache_miss"])
"""


def test_compiled_kernels_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    for number in range(2):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / f"machine-{number}"))
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "kept" / "kernels.bin")]
        counted.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:])
    assert counted == [["0", "1"], ["1", "0"]]
    assert (tmp_path / "kept" / "kernels.bin").stat().st_size > 100


def test_too_many_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "save_cache_artifacts", lambda: (os.urandom(200), None))
    monkeypatch.setattr(compiled, "LARGEST", 199)
    compiled.carry(tmp_path / "kernels.bin")
    assert not list(tmp_path.iterdir())
    compiled.fetch(tmp_path / "absent.bin")


def test_a_file_that_holds_none_is_of_no_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kernels.bin").write_bytes(b"as an earlier version kept them")
    compiled.fetch(tmp_path / "kernels.bin")
    assert "compiled anew" in capsys.readouterr().out
