"""``filmgate fetch`` against a hub on this machine, in a process of its own, because the hub's address is read once."""

import json
import os
import subprocess
import sys

import pytest
from tests.hub import REPOSITORY, Hub, serving

from filmgate.cli.fetch import describe_arrived, place_of
from filmgate.engine.checkpoints.fetch import Arrived
from filmgate.spec import UnknownName

CODE = "from filmgate.cli.main import main; main()"


@pytest.fixture
def filmgate(tmp_path):
    def run(*arguments, endpoint):
        environment = os.environ | {"HF_ENDPOINT": endpoint, "FILMGATE_MODELS": str(tmp_path / "models")}
        return subprocess.run(
            [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False, env=environment
        )

    return run


def test_a_fetched_model_is_listed(filmgate, wan_pair, tmp_path):
    with serving(Hub(wan_pair)) as hub:
        dry = filmgate("fetch", "wan2.2-ti2v-5b", "--dry-run", endpoint=hub.address)
        assert (dry.returncode, hub.requests) == (0, [])
        assert f"{REPOSITORY} at 1234567890" in dry.stdout
        assert "Free on the disk" in dry.stdout
        assert list(tmp_path.iterdir()) == []
        made = filmgate("fetch", "wan2.2-ti2v-5b", "--json", endpoint=hub.address)
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout)["complete"]
        assert "100 %" in made.stderr
        again = filmgate("fetch", "wan2.2-ti2v-5b", endpoint=hub.address)
        assert "complete already" in again.stdout
    listed = filmgate("models", endpoint="http://127.0.0.1:9").stdout
    assert "tiny " in listed
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["Wan2.2-TI2V-5B"]


def test_without_a_hub_there_is_one_clear_line_and_no_file(filmgate, tmp_path):
    failed = filmgate("fetch", REPOSITORY, endpoint="http://127.0.0.1:9")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: the connection to http://127.0.0.1:9 failed")
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_a_published_model_or_a_repository():
    assert place_of("wan2.2-ti2v-5b")[0] == REPOSITORY
    assert place_of("someone/Wan2.2-Mine")[1].name == "Wan2.2-Mine"
    with pytest.raises(UnknownName, match=r"wan2\.2-ti2v-5b"):
        place_of("wan2.2-ti2v-5")


def test_progress_says_how_long_the_rest_takes():
    assert describe_arrived(Arrived("a", 512, 2048, 1.0, 3.0)) == "25 %  512 B of 2.0 KiB  a  3.0 s left"
