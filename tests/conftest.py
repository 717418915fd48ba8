"""What every test shares: one thread per worker, no deadlines, and no GPU tests without a GPU."""

import os
from pathlib import Path

if "PYTHONPATH" in os.environ:
    # Programs that tests start run in directories of their own.
    paths = os.environ["PYTHONPATH"].split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths)
if "PYTEST_XDIST_WORKER" in os.environ:
    # Read when torch is first imported. Workers that each use every core slow one another down.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# A property is right or wrong, however busy the machine is; what is to be fast is measured in bench/.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items):
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Shipped models are unpacked here, not in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.delenv("FILMGATE_MODELS", raising=False)
        yield


@pytest.fixture(scope="session")
def wan_pair(tmp_path_factory):
    """A complete pair of experts with generation.json, on disk in the original layout; not to be changed."""
    from tests.engine.wan_directory import SIDECAR, tiny_wan_directory

    return tiny_wan_directory(tmp_path_factory.mktemp("models") / "tiny", sidecar=SIDECAR)


@pytest.fixture
def make_wan(tmp_path):
    """Writes a model directory that a test may change: see ``tests.engine.wan_directory``."""
    from tests.engine.wan_directory import tiny_wan_directory

    return lambda name="model", **options: tiny_wan_directory(tmp_path / name, **options)
