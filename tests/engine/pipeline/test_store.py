"""A state on disk: when it is written, when it is used, and what is said where it is not."""

import dataclasses

import pytest
import torch

from filmgate.engine.pipeline.store import CONDITIONING, WALK, DiskStore
from filmgate.engine.pipeline.values import Conditioning, RunState, Walk
from filmgate.engine.sampling.solvers import State
from filmgate.spec import Progress

ORIGIN = {"plan": "a" * 64, "torch": "2.13.0", "high_noise/w.safetensors": "b" * 64}
PAST = (
    Progress(stage="encode", done=1, total=1, seconds=0.5),
    Progress(stage="denoise", done=1, total=4, seconds=0.25, expert="high_noise"),
)


class Clock:
    """Time that passes only when it is told to, and by ``cost`` when it is looked at."""

    now = 0.0
    cost = 0.0

    def __call__(self):
        self.now += self.cost
        return self.now


def latent():
    return torch.randn(16, 2, 4, 6)


def state(done=1):
    conditioning = Conditioning(
        text=torch.randn(3, 8).bfloat16(), negative=torch.randn(2, 8), held=latent(), control_scale=0.5, references=2
    )
    return RunState(1, conditioning, Walk(State(done, latent(), (latent(), latent()), latent()), latent()), PAST)


def assert_same(found, expected):
    for one, other in ((found.conditioning, expected.conditioning), (found.walk, expected.walk)):
        for field in dataclasses.fields(one):
            a, b = getattr(one, field.name), getattr(other, field.name)
            if isinstance(b, State):
                assert a.done == b.done
                assert all(map(torch.equal, (a.x, *a.guesses, a.origin), (b.x, *b.guesses, b.origin)))
            elif isinstance(b, torch.Tensor):
                assert a.dtype == b.dtype
                assert torch.equal(a, b)
            else:
                assert a == b
    assert (found.encoded, found.past, found.done) == (expected.encoded, expected.past, expected.done)


def assert_new(found):
    assert (found.encoded, found.conditioning, found.walk, found.past) == (0, None, None, ())


def store(folder, origin=ORIGIN, **options):
    return DiskStore(folder, origin, 4, **options)


def test_a_new_run_has_no_state_and_nothing_to_say(tmp_path):
    one = store(tmp_path)
    assert_new(one.state())
    assert one.notes() == ()


def test_all_of_a_state_comes_back_and_it_is_said(tmp_path):
    kept = state()
    assert store(tmp_path).keep(kept, due=True)
    other = store(tmp_path)
    assert_same(other.state(), kept)
    assert other.notes() == ("an unfinished run goes on with step 2 of 4",)
    assert other.notes() == (), "once"
    other.state()
    assert other.notes() == ()


def test_a_state_without_solver_history_or_average_comes_back(tmp_path):
    kept = dataclasses.replace(state(4), walk=Walk(State(4, latent())))
    store(tmp_path).keep(kept, due=True)
    other = store(tmp_path)
    walk = other.state().walk
    assert (walk.state.guesses, walk.state.origin, walk.average) == ((), None, None)
    assert other.notes() == ("an unfinished run goes on with decoding: all steps are done",)


def test_it_writes_when_that_is_due_or_was_long_ago(tmp_path):
    clock = Clock()
    one, later = store(tmp_path, interval=2.0, clock=clock), state(2)
    one.keep(state(1), due=True)
    clock.now = 1.5
    one.keep(later, due=False)
    assert store(tmp_path).state().done == 1
    clock.now = 2.1
    one.keep(later, due=False)
    assert store(tmp_path).state().done == 2


def test_a_slow_disk_is_written_to_less_often(tmp_path):
    clock = Clock()
    one = store(tmp_path, interval=2.0, clock=clock)
    clock.cost = 1.0
    one.keep(state(1), due=True)
    clock.cost = 0.0
    clock.now += 15
    one.keep(state(2), due=False)
    assert store(tmp_path).state().done == 1, "writing took a second and may take one in twenty"
    clock.now += 6
    one.keep(state(3), due=False)
    assert store(tmp_path).state().done == 3


def test_conditioning_is_written_once(tmp_path):
    one, kept = store(tmp_path), state(1)
    one.keep(kept, due=True)
    before = (tmp_path / CONDITIONING).stat().st_mtime_ns
    one.keep(dataclasses.replace(kept, walk=state(2).walk), due=True)
    assert (tmp_path / CONDITIONING).stat().st_mtime_ns == before
    assert store(tmp_path).state().done == 2


@pytest.mark.parametrize("name", ORIGIN)
def test_another_plan_weight_or_version_does_not_go_on_and_it_is_said(tmp_path, name):
    store(tmp_path).keep(state(), due=True)
    other = store(tmp_path, {**ORIGIN, name: "another"})
    assert_new(other.state())
    [note] = other.notes()
    assert "not continued" in note
    assert name in note
    assert "another now" in note


@pytest.mark.parametrize(("name", "left"), [(CONDITIONING, 0), (WALK, 1)])
def test_a_damaged_file_is_said_and_not_fatal(tmp_path, name, left):
    store(tmp_path).keep(state(), due=True)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    other = store(tmp_path)
    found = other.state()
    assert (found.encoded, found.done) == (left, 0)
    assert any("not used" in note and name in note for note in other.notes())


def test_a_new_conditioning_never_stands_beside_an_old_walk(tmp_path):
    store(tmp_path).keep(state(3), due=True)
    store(tmp_path, {**ORIGIN, "torch": "2.14.0"}).keep(RunState(1, state().conditioning, None, ()), due=True)
    assert not (tmp_path / WALK).exists()


def test_a_disk_that_cannot_be_written_ends_the_keeping_and_not_the_work(tmp_path):
    one, kept = store(tmp_path / "gone"), state(1)
    assert one.keep(kept, due=True) is False
    assert one.state() is kept, "memory has it"
    [note] = one.notes()
    assert "no longer kept" in note
    assert one.keep(state(2), due=True) is False
    assert one.notes() == ()


def test_what_is_on_disk_needs_no_memory(tmp_path):
    import gc
    import weakref

    one, kept = store(tmp_path), state(1)
    one.keep(kept, due=True)
    latents, texts = weakref.ref(kept.walk.state.x), weakref.ref(kept.conditioning.text)
    del kept
    gc.collect()
    assert (latents(), texts()) == (None, None)
