"""What a machine has, as far as it says so. Values only; :mod:`~filmgate.economics.inspection` finds them."""

from __future__ import annotations

from pydantic import Field

from filmgate.spec.model import DeviceDescription
from filmgate.spec.shape import Frozen


class Gpu(Frozen):
    """One NVIDIA GPU. Memory in bytes, power in watts; None: the driver does not say (usual in containers, on WSL, with
    MIG and with virtual GPUs).

    ``capability`` is CUDA's, as (8, 9); ``pcie`` is generation and width of the link as it can be, ``pcie_now`` as it
    is; ``throttled`` names what holds the clocks back at the moment; ``energy_counter`` says whether the energy of a
    video can be measured.
    """

    index: int
    name: str
    uuid: str = ""
    memory_bytes: int
    free_bytes: int | None = None
    capability: tuple[int, int] | None = None
    power_limit: float | None = None
    pcie: tuple[int, int] | None = None
    pcie_now: tuple[int, int] | None = None
    mig: bool | None = None
    processes: int | None = None
    throttled: tuple[str, ...] = ()
    energy_counter: bool = False

    @property
    def description(self) -> DeviceDescription:
        """The device that a plan is made for: what other programs hold is not there for it."""
        usable = self.memory_bytes if self.free_bytes is None else self.free_bytes
        return DeviceDescription(kind="cuda", name=self.name, memory_bytes=usable, index=self.index)


class MachineFacts(Frozen):
    """One machine. Memory and disk in bytes, 0: unknown.

    ``available_bytes`` of memory are free now; ``disk`` is the directory that was asked about. ``versions`` are pairs
    of package and version, ``missing`` says what could not be found, and why.
    """

    system: str
    processor: str
    cores: int = Field(ge=1)
    memory_bytes: int = 0
    available_bytes: int = 0
    disk: str = ""
    disk_bytes: int = 0
    disk_free_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    ffmpeg: str | None = None
    versions: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
