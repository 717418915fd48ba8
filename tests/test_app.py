"""The wiring: models, plans, files. Over a tiny model of random weights that lies on disk, or is packed as shipped."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.engine.wan_directory import SIDECAR, tiny_wan_directory

from filmgate import app
from filmgate.app import BACKENDS, Filmgate, Order, models, resolve
from filmgate.app.places import default_cache, shipped_directories
from filmgate.app.wishes import token_counter
from filmgate.backends import hardware
from filmgate.backends.fake import FakeBackend
from filmgate.camera.poses import CameraPath, format_poses
from filmgate.engine.checkpoints.packed import pack_directory
from filmgate.media.manifest import read_take
from filmgate.spec import (
    CheckpointError,
    DamagedFile,
    DeviceDescription,
    Done,
    Failed,
    InvalidRequest,
    OutputError,
    Progress,
    Request,
    UnknownName,
)

WISH = Request(prompt="a red ball", seed=3)


@pytest.fixture(scope="session")
def packed(wan_pair, tmp_path_factory):
    """What the package would ship: the tiny pair, packed."""
    target = tmp_path_factory.mktemp("shipped") / "tiny"
    pack_directory(wan_pair, target)
    return target


@pytest.fixture
def shipped(packed, monkeypatch):
    monkeypatch.setattr(models, "shipped_directories", lambda: (packed,))
    return packed


@pytest.fixture
def nothing_shipped(monkeypatch):
    monkeypatch.setattr(models, "shipped_directories", tuple)


@pytest.fixture
def filmgate(wan_pair, nothing_shipped, tmp_path):
    """The tiny pair alone, painted by the fake backend."""
    return Filmgate([wan_pair], cache=tmp_path / "cache", backend="fake")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("named", ["by path", "among model_paths", "in a directory of models"])
def test_a_packed_directory_is_a_model_like_any_other(packed, nothing_shipped, tmp_path, named):
    paths = {"by path": [], "among model_paths": [packed], "in a directory of models": [packed.parent]}[named]
    filmgate = Filmgate(paths, cache=tmp_path / "cache")
    model = filmgate.model(str(packed) if named == "by path" else "tiny")
    assert model.id == "tiny"
    assert Path(model.path).parent == tmp_path / "cache"
    assert list(Path(model.path).rglob("*.planes")) == []


# ------------------------------------------------------------------------------------------------------------ backends


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_is_one(name, tmp_path):
    backend = resolve(name)(tmp_path, tmp_path / "cache")
    assert backend.capabilities().backend == name
    assert callable(backend.render)


def test_a_backend_that_does_not_exist():
    for make in (resolve, lambda name: Filmgate(backend=name)):
        with pytest.raises(UnknownName, match=r"'locl'.*fake, local.*Nearest valid: local"):
            make("locl")


# -------------------------------------------------------------------------------------------------------------- models


def test_own_models_come_before_shipped_ones_and_each_id_once(shipped, tmp_path):
    own = tmp_path / "own"
    for name, identity in (("b", "second"), ("a", "tiny")):
        tiny_wan_directory(own / name, sidecar={**SIDECAR, "id": identity})
    (own / "notes").mkdir()
    found = Filmgate([own], cache=tmp_path / "cache").models()
    assert [model.id for model in found] == ["tiny", "second"]
    assert found[0].path == str(own / "a"), "the caller's own hides the shipped one"


def test_a_path_without_models_is_refused(tmp_path, nothing_shipped):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InvalidRequest, match=f"no model in {path}"):
            Filmgate([path]).models()


def test_a_damaged_model_is_named(make_wan, nothing_shipped):
    root = make_wan()
    (root / "Wan2.1_VAE.safetensors").write_bytes(b"nothing")
    with pytest.raises(DamagedFile, match="VAE"):
        Filmgate([root]).models()


def test_the_shipped_model_is_unpacked_once_and_is_the_default(shipped, tmp_path):
    cache = tmp_path / "cache"
    filmgate = Filmgate(cache=cache)
    model = filmgate.model()
    assert model.id == "tiny"
    assert Path(model.path).parent == cache
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    assert filmgate.models() == (model,)
    assert filmgate.plan(WISH).model == model
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_a_wish_that_names_no_model_gets_a_shipped_one_that_can_do_it(tmp_path):
    """And only that one is unpacked: the others are not waited for."""
    cache, first, path = tmp_path / "cache", tmp_path / "first.png", tmp_path / "path.txt"
    Image.new("RGB", (160, 96), "grey").save(first)
    path.write_text(format_poses(CameraPath(np.full((33, 4), 0.5), np.tile(np.eye(3, 4), (33, 1, 1)))))
    planned = {name: Filmgate(cache=cache / name).plan(Request(prompt="a red ball", device="cpu", **wish))
               for name, wish in {"words": {}, "picture": {"image": str(first)},
                                  "two": {"image": str(first), "last_image": str(first)},
                                  "path": {"camera": str(path)}}.items()}  # fmt: skip
    assert {name: plan.model.id for name, plan in planned.items()} == {
        "words": "toybox-t2v", "picture": "toybox-i2v", "two": "toybox-i2v", "path": "toybox-camera"
    }  # fmt: skip
    assert [path.name.rpartition("-")[0] for path in (cache / "picture").glob("toybox-*")] == ["toybox-i2v"]
    assert Filmgate(cache=cache / "words").model().id == "toybox-t2v"


def test_who_names_a_model_that_cannot_is_told_of_one_that_is_here(tmp_path):
    first = tmp_path / "first.png"
    Image.new("RGB", (160, 96), "grey").save(first)
    with pytest.raises(InvalidRequest, match=r"toybox-t2v cannot start from a picture.*Nearest valid: toybox-i2v"):
        Filmgate(cache=tmp_path / "cache").plan(
            Request(prompt="a ball", model="toybox-t2v", image=str(first), device="cpu")
        )


def test_an_own_model_is_not_the_default_where_one_is_shipped(shipped, make_wan, tmp_path):
    own = make_wan(sidecar={**SIDECAR, "id": "mine"})
    filmgate = Filmgate([own], cache=tmp_path / "cache")
    assert filmgate.model().id == "tiny"
    assert filmgate.model("mine").path == str(own)


def test_a_cache_that_cannot_be_written(shipped, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match="cache"):
        Filmgate(cache=tmp_path / "cache").model()


def test_without_a_model_the_way_out_is_said(nothing_shipped):
    with pytest.raises(InvalidRequest, match="path of a model directory"):
        Filmgate().plan(WISH)


def test_models_by_id_and_by_path(filmgate, wan_pair, monkeypatch):
    assert filmgate.model("tiny").path == str(wan_pair)
    monkeypatch.chdir(wan_pair.parent)
    assert filmgate.model(f"./{wan_pair.name}").path == str(wan_pair), "a receipt must not depend on where one stands"
    with pytest.raises(UnknownName, match=r"'tinny'.*Nearest valid: tiny"):
        filmgate.model("tinny")
    with pytest.raises(UnknownName):
        filmgate.model("")
    with pytest.raises(InvalidRequest, match=r"/no/such/model is not a directory"):
        filmgate.model("/no/such/model")
    with pytest.raises(CheckpointError, match="transformer"):
        filmgate.model(str(wan_pair / "google"))


def test_a_model_by_the_repository_that_it_was_fetched_from(filmgate, make_wan, tmp_path, monkeypatch):
    root = make_wan()
    monkeypatch.setenv("FILMGATE_MODELS", str(root.parent))
    assert filmgate.model(f"Wan-AI/{root.name}").path == str(root)
    for name in ("Wan-AI/missing", f"/{root.name}", f"a/b/{root.name}"):
        with pytest.raises(InvalidRequest, match="repository"):
            filmgate.model(name)


def test_a_fetched_model_that_is_damaged_is_in_no_other_models_way(filmgate, make_wan, tmp_path, monkeypatch):
    damaged = make_wan("Wan2.1-T2V-14B")
    (damaged / "Wan2.1_VAE.safetensors").write_bytes(b"short")
    monkeypatch.setenv("FILMGATE_MODELS", str(damaged.parent))
    with pytest.raises(CheckpointError):
        filmgate.models()
    found = []
    assert {model.id for model in filmgate.models(found)} >= {"tiny"}
    assert [type(error).__name__ for error in found] == ["DamagedFile"]
    assert filmgate.model("tiny").id == "tiny"
    assert filmgate.plan(Request(prompt="a ball", model="wan2.1-t2v-1.3b")).model.id == "wan2.1-t2v-1.3b"
    with pytest.raises(InvalidRequest, match="not here"):
        filmgate.model("wan2.1-t2v-1.3b")
    for ask in (filmgate.model, lambda name: filmgate.plan(Request(prompt="a ball", model=name))):
        for name in ("wan2.1-t2v-14b", "of-which-nobody-knows-the-id"):
            with pytest.raises(CheckpointError, match=r"Wan2\.1-T2V-14B"):
                ask(name)


def test_what_is_shipped_is_packed_directories():
    for folder in shipped_directories():
        assert (folder / "generation.json").is_file()
        assert list(folder.rglob("*.safetensors")) == []


# --------------------------------------------------------------------------------------------------------------- cache


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "~/.cache/filmgate"),
        ("linux", {"XDG_CACHE_HOME": "/fast"}, "/fast/filmgate"),
        ("linux", {"XDG_CACHE_HOME": ""}, "~/.cache/filmgate"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "~/.cache/filmgate"),
        ("darwin", {}, "~/Library/Caches/filmgate"),
        ("darwin", {"XDG_CACHE_HOME": "/fast"}, "/fast/filmgate"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/filmgate/Cache"),
        ("win32", {}, "~/AppData/Local/filmgate/Cache"),
    ],
)
def test_the_cache_lies_where_the_platform_wants_it(monkeypatch, platform, variables, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert default_cache() == Path(expected).expanduser()


# --------------------------------------------------------------------------------------------------------------- plans


def test_tokens_are_counted_as_the_model_counts(filmgate):
    count = token_counter(filmgate.model())
    assert count("a red ball") == 4
    assert count("zebra") > 2
    with pytest.raises(InvalidRequest, match=r"tiny reads 12; this would be cut: .*and on"):
        filmgate.plan(Request(prompt="a red ball rolls past a blue cube on grass at sunset and then on and on"))


def test_a_published_model_is_planned_before_it_is_here(filmgate, place):
    wish = Request(prompt="a red ball", model="wan2.2-t2v-a14b", precision="bf16")
    planned = filmgate.plan(wish, device_profile="rtx4090")
    assert (planned.model.here, planned.residency.mode) == (False, "streamed")
    assert planned.warnings[0].startswith("wan2.2-t2v-a14b is not here: filmgate fetch wan2.2-t2v-a14b (127 GB)")
    # Two experts of 14.3 thousand million weights in fp32, as they are published.
    assert sum(expert.bytes for expert in planned.model.experts) == pytest.approx(114.3e9, rel=0.01)
    for forbidden in (
        lambda: filmgate.model("wan2.2-t2v-a14b"),
        lambda: filmgate.render(planned, place / "clip.mp4"),
        lambda: filmgate.measure(planned),
        lambda: filmgate.plan(wish.model_copy(update={"lora": ("style.safetensors",)}), device_profile="h200"),
    ):
        with pytest.raises(InvalidRequest, match=r"not here\. Allowed: filmgate fetch wan2\.2-t2v-a14b \(127 GB\)"):
            forbidden()
    ((_, _started), (_, failed)) = filmgate.render_batch([Order(planned, place / "clip.mp4")])
    assert isinstance(failed, Failed)
    assert "filmgate fetch wan2.2-t2v-a14b" in failed.message
    assert names(place) == []


def test_a_device_that_shares_the_hosts_memory_has_what_the_host_has(filmgate):
    wish = Request(prompt="a red ball", model="wan2.1-t2v-1.3b")
    for profile in ("m4-max", "cpu"):
        assert filmgate.plan(wish, device_profile=profile, host_memory=32 << 30).device.memory_bytes == 32 << 30
    with pytest.raises(InvalidRequest, match=r"Apple M4 Max GPU has 1\.0 GiB"):
        filmgate.plan(wish, device_profile="m4-max", host_memory=1 << 30)
    assert filmgate.plan(wish, device_profile="h200", host_memory=32 << 30).device.memory_bytes > 32 << 30


def test_a_published_model_that_is_here_is_planned_by_its_files(nothing_shipped, tmp_path, monkeypatch):
    tiny_wan_directory(tmp_path / "models" / "anything", sidecar={**SIDECAR, "id": "wan2.2-t2v-a14b"})
    monkeypatch.setenv("FILMGATE_MODELS", str(tmp_path / "models"))
    planned = Filmgate(cache=tmp_path / "cache").plan(Request(prompt="a red ball", model="wan2.2-t2v-a14b"))
    assert planned.model.path == str(tmp_path / "models" / "anything")


def test_planning_loads_no_torch(wan_pair, tmp_path):
    code = (
        "import sys; from filmgate import Filmgate, Request;"
        f"Filmgate([{str(wan_pair)!r}], cache={str(tmp_path)!r}).plan(Request(prompt='a ball', model='tiny'));"
        "print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


# -------------------------------------------------------------------------------------------------------------- render


def test_files_appear_together_when_the_work_is_done(filmgate, place):
    events = filmgate.render(filmgate.plan(WISH), place / "clip.mp4", sheet=place / "clip.png")
    for event in events:
        shown = [name for name in names(place) if not name.startswith(".")]
        assert shown == (["clip.json", "clip.mp4", "clip.png"] if isinstance(event, Done) else [])
    assert names(place) == ["clip.json", "clip.mp4", "clip.png"]
    assert event.take == read_take(place / "clip.json")


@pytest.mark.parametrize("after", [1, 3, 6, 9])
def test_closing_leaves_nothing(filmgate, place, after):
    events = filmgate.render(filmgate.plan(WISH), place / "clip.mp4")
    for _ in range(after):
        next(events)
    assert names(place) != []
    events.close()
    assert names(place) == []


def test_a_failure_leaves_nothing(filmgate, place, monkeypatch):
    monkeypatch.setattr(app, "resolve", lambda _: functools.partial(FakeBackend, fail_after=1))
    assert isinstance(list(filmgate.render(filmgate.plan(WISH), place / "clip.mp4"))[-1], Failed)
    assert names(place) == []


def test_what_cannot_be_written_is_refused_before_the_work(filmgate, place):
    plan = filmgate.plan(WISH)
    (place / "clip.json").write_text("somebody else's")
    with pytest.raises(OutputError, match=r"clip\.json exists already.*clip-2\.mp4"):
        filmgate.render(plan, place / "clip.mp4")
    with pytest.raises(InvalidRequest, match=r"Nearest valid: .*clip\.mp4"):
        filmgate.render(plan, place / "clip.mov")
    with pytest.raises(OutputError, match="not a directory"):
        filmgate.render(plan, place / "nowhere" / "clip.mp4")
    filmgate.render(plan, place / "clip.mp4", overwrite=True).close()
    assert names(place) == ["clip.json"]


def test_a_name_that_is_taken_meanwhile_is_not_replaced(filmgate, place):
    for event in filmgate.render(filmgate.plan(WISH), place / "clip.mp4"):
        if isinstance(event, Progress) and event.stage == "decode":
            (place / "clip.mp4").write_text("somebody else's")
    assert (place / "clip.mp4").read_text() == "somebody else's"
    assert [file.path for file in event.take.files] == ["clip-2.mp4"]
    assert read_take(place / "clip-2.mp4").plan.seed == 3


def test_a_video_from_a_packed_model_and_its_judgement(shipped, place, tmp_path):
    filmgate = Filmgate(cache=tmp_path / "cache")
    plan = filmgate.plan(WISH)
    takes = [list(filmgate.render(plan, place / f"{name}.mp4"))[-1].take for name in ("a", "b")]
    assert takes[0].frames_sha256 == takes[1].frames_sha256
    assert json.loads((place / "a.json").read_text())["frames_sha256"] == takes[0].frames_sha256
    report = filmgate.judge(place / "a.mp4", place / "a.mp4")
    values = {measurement.name: measurement.value for measurement in report.measurements}
    assert (values["width"], values["height"], values["frames"], values["psnr"]) == (32, 32, 5, 100)


def test_gpus_are_counted_where_the_device_is_one_that_is_here(wan_pair, monkeypatch):
    card = DeviceDescription(kind="cuda", name="NVIDIA H200", memory_bytes=140 << 30)
    monkeypatch.setattr(hardware, "_torch_has_cuda", lambda: True)
    monkeypatch.setattr(hardware, "_gpus", lambda: [card, card.model_copy(update={"index": 1})])
    filmgate, wish = Filmgate([wan_pair]), WISH.model_copy(update={"model": str(wan_pair), "gpus": 4})
    with pytest.raises(InvalidRequest, match="there are no 4 GPUs here, but 2"):
        filmgate.plan(wish)
    assert filmgate.plan(wish, device_profile="h200").layout.ranks == 4
    assert filmgate.plan(wish.model_copy(update={"gpus": 2})).layout.ranks == 2
