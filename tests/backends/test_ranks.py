"""Whatever happens to a worker, the run ends with a clear error and nothing is left running."""

import multiprocessing
import os
import signal
import time
from contextlib import closing
from functools import partial

import pytest
import torch
import torch.distributed as dist

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
        except ProcessLookupError:
            return False
        return True

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
    workers, begun = set(), None
    with pytest.raises(BackendError, match=what) as caught:  # noqa: PT012 - when it began must be known
        for turn, _, pid in on_ranks(partial(sums, act, 5.0), 2, silence=8.0):
            begun = time.monotonic() if turn == 1 else begun
            workers |= {pid, *(child.pid for child in multiprocessing.active_children())}
    assert begun is not None
    assert time.monotonic() - begun < LIMIT
    assert "none is left running" in str(caught.value)
    assert len(workers) == 2
    assert not alive(workers)


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
