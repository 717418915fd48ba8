"""Processes that ``torchrun`` started: the first is the program that its user sees, the others help it.

    torchrun --nproc-per-node 4 --no-python filmgate generate "..." --model wan2.2-t2v-a14b

The first plans, writes and tells, as if it were alone; the others wait for its plan and do their part of it. They are
``torchrun``'s to watch: when one dies or breaks, it ends all. What else may happen to one, they notice themselves
(:mod:`~filmgate.backends.launch_watch`).

Where the processes are is what ``torchrun`` says in their environment (PyTorch, "torchrun (Elastic Launch)"). Does not
need torch.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import NamedTuple, Protocol

from filmgate.spec.errors import BackendError, InvalidRequest
from filmgate.spec.plan import Plan
from filmgate.spec.request import Request

MARK = "TORCHELASTIC_RUN_ID"
"""What ``torchrun`` calls a launch by, in the environment of its processes."""
_NOTHING = "nothing"
_PATIENCE = timedelta(days=1)
"""How long the others wait for a plan; when the first process ends without one, they are told."""


class Board(Protocol):
    """What all processes can write to and read; torch's ``Store``."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def check(self, keys: list[str], /) -> bool: ...
    def wait(self, keys: list[str], timeout: timedelta, /) -> None: ...


class Launch(NamedTuple):
    """Place of this process among those of a launch.

    Attributes:
        rank: Its number in the whole.
        ranks: How many there are.
        local_rank: Its number on its machine: which GPU it has.
        attempt: How often ``torchrun`` started all of them anew.
    """

    rank: int
    ranks: int
    local_rank: int
    attempt: int = 0

    @classmethod
    def here(cls) -> Launch | None:
        """What ``torchrun`` says of this process; None: it did not start it."""
        if MARK not in os.environ:
            return None
        known = (os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT"))
        return cls(*map(int, known))

    def asked(self, request: Request) -> Request:
        """A request for as many devices as there are processes.

        Raises:
            InvalidRequest: it asks for another number.
        """
        if request.gpus not in (None, self.ranks):
            raise InvalidRequest(
                "gpus", f"{request.gpus} do not go with the {self.ranks} processes that torchrun started",
                allowed=str(self.ranks), nearest=str(self.ranks),
            )  # fmt: skip
        return request.model_copy(update={"gpus": self.ranks})

    def announce(self, plan: Plan, board: Board) -> None:
        """Tell the others the plan.

        Raises:
            BackendError: it is not one for as many processes, or not the first one of this launch.
        """
        if plan.layout.ranks != self.ranks:
            raise BackendError(f"torchrun started {self.ranks} processes, and the plan is for {plan.layout.ranks}")
        if board.check([self._key]):
            raise BackendError("processes of torchrun make one video; for several use --gpus instead")
        board.set(self._key, plan.model_dump_json())

    def dismiss(self, board: Board) -> None:
        """Tell the others that there is nothing to do, unless they were told a plan."""
        if not board.check([self._key]):
            board.set(self._key, _NOTHING)

    def announced(self, board: Board) -> Plan | None:
        """The plan of the first process, when there is one; None: there is nothing to do."""
        board.wait([self._key], _PATIENCE)
        found = board.get(self._key).decode()
        return None if found == _NOTHING else Plan.model_validate_json(found)

    @property
    def _key(self) -> str:
        return f"filmgate/plan/{self.attempt}"
