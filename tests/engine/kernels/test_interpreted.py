"""Without a GPU the Triton kernels run in Triton's interpreter, which takes the same source."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_kernels_are_their_references():
    pytest.importorskip("triton", reason="is there for Linux on x86-64 only")
    run = subprocess.run(
        [sys.executable, "-m", "tests.engine.kernels.interpreted"],
        env={**os.environ, "TRITON_INTERPRET": "1"}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    errors = json.loads(run.stdout)
    assert set(errors) == {"residual_norms", "rounded", "heads", "channels", "skipped", "autoencoder"}
    assert all(error < 2e-5 for error in errors.values()), errors
