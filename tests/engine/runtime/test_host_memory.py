"""Memory that was freed is used again, seen by the page faults of a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import torch
from filmgate.engine.runtime.host_memory import keep_freed_memory

def faults(first):
    # From 2 MiB on, each round a little larger than any piece freed before: pieces of their own, which go back at once.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in range(first, first + 20):
        tensors = [torch.ones(2**19 + size * 2**12) for _ in range(8)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults(0)
keep_freed_memory()
faults(40)
print(usual, faults(20))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the rule is glibc's")
def test_pages_are_asked_for_once():
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    run = subprocess.run([sys.executable, "-c", CODE], env=own, capture_output=True, text=True, check=True)
    usual, kept = map(int, run.stdout.split())
    assert usual > 20 * 8 * 400, "nothing was given back: this test shows nothing"
    assert kept < usual / 20
