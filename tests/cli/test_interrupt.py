"""Signals, sent to a real process in the middle of its work."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SLOW = """
import functools, signal, sys
# As from a terminal: what a shell starts in the background inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
import filmgate.app, filmgate.backends.fake as fake
from tests.takes import make_model, make_plan

class Studio(filmgate.app.Filmgate):
    def __init__(self):
        super().__init__(backend="fake")
    def plan(self, request):
        return make_plan()

filmgate.app.Filmgate = Studio
fake.FakeBackend = functools.partial(fake.FakeBackend, pause=0.5)
from filmgate.cli.main import main
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_work_and_leaves_nothing(tmp_path, number, code):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    work = subprocess.Popen(
        [sys.executable, "-c", SLOW, "generate", "a ball", "--sheet", "--preview-every", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in work.stderr:
            if line.startswith("Denoising: 1/"):
                break
        assert list(tmp_path.iterdir())
        work.send_signal(number)
        assert work.wait(timeout=20) == code
    finally:
        work.kill()
        work.stderr.close()
    assert list(tmp_path.iterdir()) == []
