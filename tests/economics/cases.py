"""Machines and needs that several tests of this room assess."""

from datetime import date

from filmgate.economics.assess import assess
from filmgate.economics.feasibility import places_of
from filmgate.economics.machine import Gpu, MachineFacts
from filmgate.economics.needs import needs_from

GIB = 2**30
TODAY = date(2026, 11, 30)


def needs(videos=150, **answers):
    return needs_from({"videos": videos, **answers})


def machine(name="NVIDIA GeForce RTX 4090", gib=23.5, *, count=1, free=None, host=64, disk=500, **gpu):
    """A machine with ``count`` cards of ``gib`` GiB, ``host`` GiB of memory and ``disk`` GB free."""
    memory = round(gib * GIB)
    cards = tuple(
        Gpu(index=i, name=name, memory_bytes=memory, free_bytes=memory if free is None else round(free * GIB), **gpu)
        for i in range(count)
    )
    return MachineFacts(
        system="Linux", processor="CPU", cores=8, memory_bytes=host * GIB, available_bytes=host * GIB, disk="/models",
        disk_bytes=10**12, disk_free_bytes=disk * 10**9, gpus=cards,
    )  # fmt: skip


def assessed(wanted, here=None, **options):
    return assess(wanted, places_of(here, wanted), TODAY, machine=here, **options)
