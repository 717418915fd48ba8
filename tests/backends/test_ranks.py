"""Whatever happens to a worker, the run ends with a clear error and nothing is left running."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from filmgate.backends import ranks
from filmgate.backends.ranks import RankFailed, on_ranks
from filmgate.engine.runtime.parallel import Team
from filmgate.spec import BackendError, DeviceError, Layout

LIMIT = 30.0
"""Seconds within which a run must end, once a worker is dead or hangs."""


def sums(act, patience, rank, meeting):
    """Every rank adds the numbers of all, again and again; one of them acts up in the third round."""
    torch.set_num_threads(1)
    team = Team.join(Layout(sequence=2), 2, meeting, rank, device=torch.device("cpu"), patience=patience)
    for turn in range(5):
        if turn == 2 and rank == 1:
            act()
        total = torch.tensor([rank + 1])
        dist.all_reduce(total, group=team.everyone.handle)
        yield (turn, total.item(), os.getpid())
    team.leave()


def far_apart(act, patient, rank, meeting):
    """One rank does something alone, and the other waits for it as long as it takes."""
    torch.set_num_threads(1)
    team = Team.join(Layout(sequence=2), 2, meeting, rank, device=torch.device("cpu"), patience=5.0)
    if rank == 1:
        act()
    if patient:
        team.meet()
    yield team.shared(rank)
    team.leave()


def toil():
    until = time.monotonic() + 9
    while time.monotonic() < until:
        sum(range(1000))


def tells_of_workers(_rank, _meeting):
    yield os.getpid()
    time.sleep(300)


def nothing():
    pass


def sleep():
    time.sleep(300)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def freeze():
    os.kill(os.getpid(), signal.SIGSTOP)


def stumble():
    raise ValueError("a defect")


def refuse():
    raise DeviceError("out of memory")


def alive(pids):
    def runs(pid):
        try:
            os.kill(pid, 0)
            status = Path(f"/proc/{pid}/stat")
            return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
        except (ProcessLookupError, FileNotFoundError):
            return False

    return [pid for pid in pids if runs(pid)]


def test_work_that_ends_well():
    told = list(on_ranks(partial(sums, nothing, 10.0), 2))
    assert [(turn, total) for turn, total, _ in told] == [(turn, 3) for turn in range(5)]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (sleep, "rank 1 did not answer the others"),
        (die, "rank 1 was ended by SIGKILL"),
        (freeze, "rank 1 "),
        (stumble, "rank 1 broke: ValueError: a defect"),
    ],
)
def test_a_rank_that_fails(act, what):
    workers, begun = set(), time.monotonic()
    with pytest.raises(BackendError, match=what) as caught:  # noqa: PT012 - when it began must be known
        for turn, _, pid in on_ranks(partial(sums, act, 5.0), 2, silence=12.0):
            begun = time.monotonic() if turn == 1 else begun
            workers |= {pid, *(child.pid for child in multiprocessing.active_children())}
    assert time.monotonic() - begun < LIMIT
    assert "none is left running" in str(caught.value)
    assert len(workers) == 2
    assert not alive(workers)


def starts_late(act, rank, meeting):
    """Ranks begin at different times; the last one never does."""
    if rank == 2:
        act()
    time.sleep(5.0 * rank)
    team = Team.join(Layout(sequence=3), 3, meeting, rank, device=torch.device("cpu"), patience=6.0)
    yield team.rank


def test_a_rank_that_never_starts_is_the_one_that_is_named(monkeypatch):
    """The second begins to wait so much later than the first that it does not complain with it."""
    monkeypatch.setattr(ranks, "FROZEN", 2.5)
    with pytest.raises(BackendError, match=r"^rank 2 did not answer the others; rank \d says: ") as caught:
        list(on_ranks(partial(starts_late, freeze), 3))
    assert "the run of 3 ranks was ended, none is left running" in str(caught.value)
    assert caught.value.exit_code == 1
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="threads have no clocks of their own")
@pytest.mark.parametrize("patient", [True, False])
def test_a_rank_that_hangs_where_the_others_would_wait_long(patient):
    begun = time.monotonic()
    with pytest.raises(BackendError, match=r"rank 1 has done nothing for \d+ s: it hangs"):
        list(on_ranks(partial(far_apart, sleep, patient), 2, silence=6.0))
    assert time.monotonic() - begun < LIMIT
    assert not multiprocessing.active_children()


def test_a_rank_that_toils_while_the_others_wait_is_left_alone():
    assert list(on_ranks(partial(far_apart, toil, True), 2, silence=6.0)) == [0]


def test_an_error_of_our_own_keeps_its_name():
    with pytest.raises(RankFailed, match="out of memory") as caught:
        list(on_ranks(partial(sums, refuse, 5.0), 2))
    assert caught.value.code == "DeviceError"
    assert not multiprocessing.active_children()


def test_whoever_stops_listening_ends_the_work():
    with closing(on_ranks(partial(sums, nothing, 10.0), 2)) as told:
        next(told)
        workers = [child.pid for child in multiprocessing.active_children()]
    assert len(workers) == 2
    assert not alive(workers)


WATCHED = """
import multiprocessing
from tests.backends.test_ranks import tells_of_workers
from filmgate.backends.ranks import on_ranks

if __name__ == "__main__":
    for _ in on_ranks(tells_of_workers, 2):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_whoever_watches_is_killed_and_nobody_is_left(tmp_path):
    script = tmp_path / "watched.py"
    script.write_text(WATCHED)
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as watcher:
        workers = [int(pid) for pid in watcher.stdout.readline().split()]
        watcher.kill()
    assert len(workers) == 2
    until = time.monotonic() + LIMIT
    while (left := alive(workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left
