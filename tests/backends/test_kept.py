"""Networks that wait for the next plan: the same frames, nothing loaded again, and nothing of another kind used."""

import os

import pytest
from tests.backends.test_local import plan_for

from filmgate.app import Filmgate
from filmgate.backends import local
from filmgate.backends.kept import Kept
from filmgate.backends.local import LocalBackend
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.spec import Done, Failed, Progress, Request

STAYS = {"memory": "resident", "text_encoder": "device"}


class Thing:
    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_thing_goes_to_who_has_its_key_and_to_one_only() -> None:
    kept, thing, other = Kept(), Thing(), Thing()
    kept.give("a", thing)
    assert kept.take("a", Thing) is thing
    assert kept.take("a", lambda: other) is other
    assert not thing.closed


def test_what_is_for_others_is_closed_before_anything_is_made() -> None:
    kept, thing = Kept(), Thing()
    kept.give("a", thing)
    assert kept.take("b", lambda: thing.closed) is True
    kept.give("a", first := Thing())
    kept.give("a", Thing())
    assert first.closed
    kept.give("a", last := Thing())
    kept.close()
    kept.close()
    assert last.closed


@pytest.fixture
def opened(monkeypatch):
    """How often networks were opened."""
    count, whole = [], local.open_networks
    monkeypatch.setattr(local, "open_networks", lambda *args, **more: count.append(1) or whole(*args, **more))
    return count


def run(plan, folder, kept=None):
    folder.mkdir()
    return list(LocalBackend(folder, None, None, kept).render(plan))


def loads(events):
    return sum(isinstance(event, Progress) and event.stage == "load" for event in events)


def test_the_second_plan_loads_nothing_and_paints_the_same(wan_pair, tmp_path, opened) -> None:
    kept = Kept()
    run(plan_for(wan_pair, **STAYS, seed=1), tmp_path / "a", kept)
    wish = {**STAYS, "seed": 2, "prompt": "a blue cube"}
    warm = run(plan_for(wan_pair, **wish), tmp_path / "b", kept)
    assert len(opened) == 1
    assert loads(warm) == 0
    fresh = run(plan_for(wan_pair, **wish), tmp_path / "c")
    assert loads(fresh) == 4
    assert isinstance(warm[-1], Done)
    assert warm[-1].take.frames_sha256 == fresh[-1].take.frames_sha256


def test_what_a_plan_lets_go_of_is_loaded_again(wan_pair, tmp_path) -> None:
    kept = Kept()
    assert loads(run(plan_for(wan_pair), tmp_path / "a", kept)) == 4
    assert loads(run(plan_for(wan_pair), tmp_path / "b", kept)) == 4


@pytest.mark.parametrize("change", ["precision", "memory", "file"])
def test_another_plan_or_another_file_opens_networks_of_its_own(wan_pair, tmp_path, opened, change) -> None:
    kept = Kept()
    run(plan_for(wan_pair, **STAYS), tmp_path / "a", kept)
    wish = dict(STAYS)
    if change == "precision":
        wish["precision"] = "bf16"
    elif change == "memory":
        wish["memory"] = "one_expert"
    else:
        path = next((wan_pair / "low_noise_model").glob("*.safetensors"))
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    run(plan_for(wan_pair, **wish), tmp_path / "b", kept)
    assert len(opened) == 2


@pytest.mark.parametrize("end", ["closed", "failed"])
def test_what_was_broken_off_does_not_come_back(wan_pair, tmp_path, opened, monkeypatch, end) -> None:
    kept, planned = Kept(), plan_for(wan_pair, **STAYS)
    if end == "closed":
        (tmp_path / "a").mkdir()
        events = LocalBackend(tmp_path / "a", None, None, kept).render(planned)
        for event in events:
            if isinstance(event, Progress) and event.stage == "denoise":
                break
        events.close()
    else:
        with monkeypatch.context() as patch:
            patch.setattr(OnDemand, "vae", lambda _: (_ for _ in ()).throw(local.FilmgateError("no")))
            assert isinstance(run(planned, tmp_path / "a", kept)[-1], Failed)
    run(planned, tmp_path / "b", kept)
    assert len(opened) == 2


def test_a_worker_keeps_networks_until_it_is_closed(wan_pair, tmp_path, opened) -> None:
    worker = Filmgate([wan_pair], tmp_path / "cache", keep=True)
    found = []
    for number in range(2):
        planned = worker.plan(Request(prompt="a red ball", model=str(wan_pair), device="cpu", seed=number, **STAYS))
        found.append(list(worker.render(planned, tmp_path / f"{number}.mp4")))
    assert [loads(events) for events in found] == [4, 0]
    worker.close()
    list(worker.render(planned, tmp_path / "again.mp4", overwrite=True))
    assert len(opened) == 2
