"""The nouns of a reckoning: what is wanted, ways to get it with everything they cost, and how money is valued.

Shares are of 1. Amounts are in the currency of :class:`Finance`. Volumes are *usable* videos, whatever was thrown away
on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from filmgate.economics.quantities import Quantity, checked, quantities, quantity, replaced, share, value_at
from filmgate.spec.errors import InvalidRequest, UnknownName

Kind = Literal["local", "cluster", "pod", "serverless", "hosted"]
"""A machine of one's own, a server of one's own, GPUs rented by the hour, by the busy second, and a priced endpoint."""
OWNED: tuple[Kind, ...] = ("local", "cluster")
Depreciation = Literal["straight_line", "capital_recovery"]


@dataclass(frozen=True)
class Workload:
    """What is wanted, the same of every option."""

    usable: float = quantity(150, "videos/month", "usable videos that are wanted in the first month", open_low=True)
    seconds: float = quantity(5, "s", "length of a video", open_low=True, high=600)
    growth: float = quantity(0, "share/month", "growth of the volume", low=-0.5, high=0.5)
    resolution: str = "720p"


@dataclass(frozen=True)
class Finance:
    """How money is valued, and how far ahead is looked."""

    horizon: float = quantity(24, "months", "over which net present value and return are reckoned", low=1, high=120,
                              whole=True)  # fmt: skip
    search: float = quantity(120, "months", "within which a break-even is looked for", low=1, high=1200, whole=True)
    discount: float = share(0.10, "rate per year at which later money is valued less")
    tax: float = share(0.0, "tax on purchases that is not given back")
    staff: bool = False
    currency: str = "USD"


@dataclass(frozen=True)
class Attempt:
    """What one attempt takes of the machine."""

    generate: float = quantity(None, "s", "from the prompt to the file, weights being loaded", low=0, high=1e6)
    load: float = quantity(0, "s", "reading the weights, shared by a batch")
    batch: float = quantity(1, "attempts", "that share one loading", low=1)
    transfer: float = quantity(0, "s", "of transfers while the GPU is paid for")
    tail: float = quantity(0, "s", "paid for idly after each attempt")
    cold: float = quantity(0, "s", "of a cold start (serverless)")
    cold_share: float = share(0, "of attempts that meet a cold start")


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How many attempts are usable."""

    technical: float = share(1, "of attempts that are technically sound", open_low=True)
    review: float = share(None, "of sound attempts that a reviewer takes", open_low=True)
    tries: float = quantity(8, "attempts", "after which a wish is given up", low=1, whole=True)

    @property
    def usable(self) -> float:
        """u, the share of attempts that are usable."""
        return self.technical * self.review


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Hardware of one's own, for each machine of ``gpus`` GPUs."""

    price: float = quantity(None, "USD", "of a machine, ready to run")
    gpus: float = quantity(1, "GPUs", "in a machine", low=1, whole=True)
    owned: float = quantity(0, "machines", "that are there already and paid for", whole=True)
    most: float = quantity(0, "machines", "that there can be at most; 0: as many as needed", whole=True)
    lifetime: float = quantity(24, "months", "over which it is written off", low=1)
    residual: float = share(0.35, "of the price that it is worth then")
    replace_every: float = quantity(0, "months", "after which it is bought anew; 0: never", whole=True)
    interest: float = share(0.10, "rate per year, where written off by capital recovery")
    upkeep: float = share(0.0, "of the price per year for repairs")
    gpu_watts: float = quantity(None, "W", "of each GPU while it works")
    host_watts: float = quantity(150, "W", "of the rest of the machine while it works")
    idle_watts: float = quantity(0, "W", "of the machine while it waits; 0: it is switched off")
    kwh: float = quantity(0.17, "USD/kWh", "price of electricity")
    pue: float = quantity(1, "ratio", "of the building's electricity to the machine's", low=1, high=5)
    site: float = quantity(0, "USD/month", "space, internet and insurance")
    availability: float = share(0.9, "of the month in which it can work", open_low=True)
    depreciation: Depreciation = "straight_line"


@dataclass(frozen=True)
class Overhead:
    """What comes on top of computing."""

    share: float = quantity(0, "share", "of computing, for idle instances, storage, egress and tools", high=5)
    language_model: float = quantity(0, "USD/attempt", "for prompts written by a language model")
    tokens: float = quantity(0, "tokens/attempt", "that a language model reads and writes, where priced by the token")
    token_price: float = quantity(0, "USD/million", "of such tokens")
    egress_gb: float = quantity(0, "GB/attempt", "of traffic, where it is not in the share")
    egress_price: float = quantity(0, "USD/GB", "of traffic")
    stored_gb: float = quantity(0, "GB/attempt", "of stored files, where they are not in the share")
    retention: float = quantity(1, "months", "that they are kept")
    storage_price: float = quantity(0, "USD/GB/month", "of storage")
    services: float = quantity(0, "USD/month", "orchestration and monitoring, where they are not in the share")
    licence: float = quantity(0, "USD/month", "for software")


@dataclass(frozen=True)
class Staff:
    """People's time: shown by itself, and counted in cash flows only where the finance says so."""

    hourly: float = quantity(0, "USD/h", "for a person")
    review: float = quantity(0, "min/attempt", "to look at an attempt")
    edit: float = quantity(0, "min/video", "to finish a usable video")
    operations: float = quantity(0, "h/month", "to keep the machinery running")


@dataclass(frozen=True)
class Move:
    """What it takes to begin, and to stay up to date."""

    setup: float = quantity(0, "USD", "paid once at the start")
    labour: float = quantity(0, "USD", "people's time to migrate, paid once at the start")
    refresh: float = quantity(0, "USD", "each time that the model is changed for a newer one")
    refresh_every: float = quantity(0, "months", "between such changes; 0: never", whole=True)


@dataclass(frozen=True)
class Option:
    """One way to get the videos.

    Attributes:
        name: Short, without dots; paths to its numbers begin with it.
        kind: How computing is paid for.
        model: A published model, with ``+setup`` where it is not run as published.
        device: Profile of the device; empty for a hosted endpoint.
        basis: What the seconds of an attempt rest on.
        prices: Ids of the prices that went in.
        overflow: Name of the option that makes what the machines cannot; empty: none.
        unlike: How its videos differ from those of the workload; empty: they do not.
    """

    name: str
    kind: Kind
    model: str
    attempt: Attempt
    quality: Quality
    device: str = ""
    gpus: float = quantity(1, "GPUs", "that an attempt occupies", low=1, whole=True)
    price: float = quantity(0, "USD", "of a GPU-hour (pod, serverless) or of a clip (hosted)")
    price_fall: float = quantity(0, "share/year", "by which that price falls", low=-1, high=0.95)
    busy: float = share(1, "of rented hours in which work is done (pod)", open_low=True)
    machine: Machine | None = None
    overhead: Overhead = field(default_factory=Overhead)
    staff: Staff = field(default_factory=Staff)
    move: Move = field(default_factory=Move)
    overflow: str = ""
    basis: str = ""
    prices: tuple[str, ...] = ()
    unlike: str = ""

    @property
    def title(self) -> str:
        """What it is, in words: ``wan2.2-ti2v-5b on 1 rtx4090 (local)``."""
        where = f" on {self.gpus:g} {self.device}" if self.device else ""
        return f"{self.model}{where} ({self.kind})"

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InvalidRequest: names both sides of the contradiction.
        """
        if (self.kind in OWNED) != (self.machine is not None):
            raise InvalidRequest(
                f"{self.name}.machine", f"{self.kind} {'needs' if self.kind in OWNED else 'has no'} machine",
                allowed="a machine with local and cluster, none with pod, serverless and hosted",
            )  # fmt: skip
        if self.kind != "hosted" and not self.attempt.generate > 0:
            raise InvalidRequest(f"{self.name}.attempt.generate", "0 s is no attempt", allowed="above 0, in seconds")
        if self.kind not in OWNED and not self.price > 0:
            raise InvalidRequest(f"{self.name}.price", f"{self.kind} has no price", allowed="above 0")
        if self.machine is not None and self.machine.gpus < self.gpus:
            raise InvalidRequest(
                f"{self.name}.gpus", f"an attempt on {self.gpus:g} GPUs exceeds a machine of {self.machine.gpus:g}",
                allowed=f"1 to {self.machine.gpus:g}, or {self.name}.machine.gpus = {self.gpus:g}",
            )  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """All of it: what is wanted, how money is valued, the options, and which two are compared."""

    options: tuple[Option, ...]
    baseline: str
    candidate: str
    workload: Workload = field(default_factory=Workload)
    finance: Finance = field(default_factory=Finance)

    def option(self, name: str) -> Option:
        """An option by its name.

        Raises:
            UnknownName: there is none.
        """
        for option in self.options:
            if option.name == name:
                return option
        raise UnknownName("option", name, [option.name for option in self.options])

    def quantities(self) -> Iterator[tuple[str, Quantity, Any]]:
        """Path, kind and value of every number: ``workload.usable``, ``NAME.machine.price``, ..."""
        yield from quantities(self.workload, "workload.")
        yield from quantities(self.finance, "finance.")
        for option in self.options:
            yield from quantities(option, f"{option.name}.")

    def at(self, path: str) -> Any:
        """The number at a path.

        Raises:
            UnknownName: there is none.
        """
        where, rest = self._part(path)
        return value_at(self._holder(where), rest)

    def kind(self, path: str) -> Quantity:
        """The kind of the number at a path.

        Raises:
            UnknownName: there is none.
        """
        self._part(path)
        return next(kind for name, kind, _ in self.quantities() if name == path)

    def changed(self, path: str, value: object) -> Scenario:
        """The same with another number at a path.

        Raises:
            UnknownName: there is no such number.
            InvalidRequest: it is out of range.
        """
        where, rest = self._part(path)
        return self._with(where, checked(self._holder(where), rest, value, f"{where}."))

    def drawn(self, path: str, values: Any) -> Scenario:
        """The same with an array of draws at a path, [draws, 1], unchecked."""
        where, rest = self._part(path)
        return self._with(where, replaced(self._holder(where), rest, values))

    def _part(self, path: str) -> tuple[str, str]:
        """The record that a path begins in, and the rest of the path. Names of options may hold dots."""
        names = ["workload", "finance", *(option.name for option in self.options)]
        where = max((name for name in names if path.startswith(f"{name}.")), key=len, default=None)
        if where is None:
            raise UnknownName("path", path, [f"{name}.(...)" for name in names], noun="quantity")
        known = [name for name, _, _ in quantities(self._holder(where), f"{where}.")]
        if path not in known:
            near = [name for name in known if name.rpartition(".")[0] == path.rpartition(".")[0]]  # of the same record
            raise UnknownName("path", path, near or _shortened(known, where), noun="quantity")
        return where, path.removeprefix(f"{where}.")

    def _holder(self, where: str) -> Any:
        return getattr(self, where) if where in ("workload", "finance") else self.option(where)

    def _with(self, where: str, record: Any) -> Scenario:
        if where == "workload":
            return replace(self, workload=record)
        if where == "finance":
            return replace(self, finance=record)
        return replace(self, options=tuple(record if one.name == where else one for one in self.options))


def _shortened(paths: Iterable[str], where: str) -> list[str]:
    """Paths below ``where``, those within a record as one."""
    rests = (path.removeprefix(f"{where}.").partition(".") for path in paths)
    return list(dict.fromkeys(f"{where}.{name}{'.(...)' if inner else ''}" for name, _, inner in rests))
