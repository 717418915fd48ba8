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

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        tensors = [torch.ones(2**19) for _ in range(8)]  # 2 MiB each
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
usual = faults()
keep_freed_memory()
faults()
print(usual, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the rule is glibc's")
def test_pages_are_asked_for_once():
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    run = subprocess.run([sys.executable, "-c", CODE], env=own, capture_output=True, text=True, check=True)
    usual, kept = map(int, run.stdout.split())
    assert kept < 20 * 8 * 20  # of 512 pages a tensor
    if usual < 20 * 8 * 400:
        pytest.skip("nothing is given back in this process anyway: something lies above what was freed")
    assert kept < usual / 20
