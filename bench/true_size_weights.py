"""Networks of true size for bench/true_size.py, made up on the device, and what counts their time and memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from filmgate.engine.checkpoints.wan import DTYPES, FP32_MODULES, IMAGE_DTYPES, TEXT_DTYPES
from filmgate.engine.models.clip import ClipEncoder
from filmgate.engine.models.config import ImageEncoderConfig, TextEncoderConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.speed import AUTOENCODER, TRANSFORMER, autoencoder_choices, transformer_choices
from filmgate.engine.pipeline.values import ColourMap, Tokenise
from filmgate.engine.runtime.attention_race import Races
from filmgate.engine.runtime.prepare import prepare
from filmgate.spec import ExpertName, Recipe, SpeedPlan
from true_size_models import Row

GIB = 2**30
Network = TypeVar("Network", bound=nn.Module)
Vae = TypeVar("Vae", bound=WanVae)
DtypeOf = Callable[[str], torch.dtype]


class Meter:
    """Seconds of forward passes, and peaks of memory by stage. A device that counts no memory has no peaks."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.passes: list[float] = []
        self.peaks: dict[str, tuple[float, float]] = {}
        self._start = 0.0
        self._reset()

    def now(self) -> float:
        """Seconds on a clock, once the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def watch(self, network: nn.Module) -> None:
        """Time every forward pass of a network; one with a batch counts once for each of its texts."""

        def begin(*_: object) -> None:
            self._start = self.now()

        def end(_network: nn.Module, _inputs: object, output: Tensor) -> None:
            seconds = self.now() - self._start
            self.passes.extend([seconds / len(output)] * len(output))

        network.register_forward_pre_hook(begin)
        network.register_forward_hook(end)

    def mark(self, stage: str) -> None:
        """All memory since the last mark was for ``stage``."""
        if self.device.type != "cuda":
            return
        found = (torch.cuda.max_memory_allocated(self.device), torch.cuda.max_memory_reserved(self.device))
        allocated, reserved = (value / GIB for value in found)
        before = self.peaks.get(stage, (0.0, 0.0))
        self.peaks[stage] = (max(before[0], allocated), max(before[1], reserved))
        self._reset()

    def _reset(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def record(self) -> dict[str, Any]:
        """Peaks in GiB, as a run's file holds them."""
        return {
            "peak_gib": {stage: round(peak[0], 3) for stage, peak in self.peaks.items()},
            "peak_reserved_gib": {stage: round(peak[1], 3) for stage, peak in self.peaks.items()},
        }


def empty(build: Callable[[], Network]) -> Network:
    """A network with shapes and without numbers."""
    with torch.device("meta"):
        return build()


def parameters_of(build: Callable[[], nn.Module]) -> int:
    """How many numbers a network has."""
    return sum(parameter.numel() for parameter in empty(build).parameters())


def materialised(build: Callable[[], Network], device: torch.device, dtype: DtypeOf) -> Network:
    """A network on a device in the loader's number formats, filled there with random numbers; empty on ``meta``."""
    network = empty(build)
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.detach(), requires_grad=False))
    for full, parameter in network.named_parameters():
        parameter.data = parameter.data.to(dtype(full))
    unfilled = [name for name, _ in network.named_buffers()]
    if unfilled:
        raise AssertionError(f"{unfilled}: only parameters are filled here")
    if device.type != "meta":
        network.to_empty(device=device)
        fill(network, device)
    return network.eval()


@torch.no_grad()
def fill(network: nn.Module, device: torch.device) -> None:
    """Normalisations are the identity, biases 0, and everything else has a variance of one over what it sums up, so
    that nothing grows from layer to layer."""
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in network.named_parameters():
        if name.endswith("gamma") or (parameter.ndim == 1 and name.endswith("weight")):
            parameter.fill_(1)
        elif parameter.ndim == 1:
            parameter.zero_()
        else:
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)


class RandomWeights:
    """A residency (see :mod:`filmgate.engine.pipeline.residency`) of networks that are made up when they are asked for.

    Args:
        row: Their architectures.
        device: Where they are.
        meter: Watches the transformers.
        speed: What makes them fast.
        keep_both: Leave an expert in memory when the other one is asked for.
        recipe: Accelerations of the experts.
    """

    def __init__(
        self, row: Row, device: torch.device, meter: Meter, speed: SpeedPlan, *, keep_both: bool = False,
        recipe: Recipe = (),
    ) -> None:  # fmt: skip
        self._recipe = recipe
        self.device = device
        self.colours: ColourMap | None = None
        self.races = Races()
        self.tokenise: Tokenise = self._longest_text
        self._row = row
        self._meter = meter
        self._speed = speed
        self._keep_both = keep_both
        self._held: dict[str, nn.Module] = {}

    def _longest_text(self, text: str, /) -> Sequence[int]:
        """As many tokens as the model reads, whatever the text."""
        config = self._row.sizes.text
        return [1 + (len(text) + index) % (config.vocab - 1) for index in range(self._row.sizes.dit.text_len)]

    def text_encoder(self) -> Umt5Encoder:
        """Of umT5's size."""
        return self._get("text_encoder", lambda: text_encoder(self._row.sizes.text, self.device))

    def image_encoder(self) -> ClipEncoder:
        """Of CLIP's size."""
        return self._get("image_encoder", lambda: image_encoder(self._row.sizes.clip, self.device))

    def transformer(self, name: ExpertName, *, adapted: bool = True) -> WanDiT:
        """An expert; it takes the place of the other one. There are no LoRAs, so that it is never ``adapted``."""
        del adapted
        for other in self._row.experts if not self._keep_both else ():
            if other != name:
                self.release(other)
        return self._get(name, lambda: self._transformer(name))

    def _transformer(self, name: ExpertName) -> WanDiT:
        dtype = DTYPES["bf16"]
        network = materialised(
            lambda: WanDiT(self._row.sizes.dit),
            self.device,
            lambda key: torch.float32 if FP32_MODULES.search(key) else dtype,
        )
        accelerations = [use.acceleration for use in self._recipe if use.expert == name]
        prepare(network, transformer_choices(network, self._speed, accelerations), TRANSFORMER)
        self._meter.watch(network)
        return network

    def vae(self) -> WanVae:
        """In the plan's precision."""
        return self._get("vae", lambda: self._vae(lambda: WanVae(self._row.sizes.vae)))

    def _vae(self, build: Callable[[], Vae]) -> Vae:
        network = materialised(build, self.device, lambda _: DTYPES[self._speed.vae_precision])
        prepare(network, autoencoder_choices(self.device), AUTOENCODER)
        return network

    def holds(self, name: str) -> bool:
        """Whether it is in memory."""
        return name in self._held

    def release(self, name: str) -> None:
        """Let go of it."""
        if self._held.pop(name, None) is not None:
            free(self.device)

    def _get(self, name: str, build: Callable[[], Network]) -> Network:
        if name not in self._held:
            self._held[name] = build()
        return cast(Network, self._held[name])


def text_encoder(config: TextEncoderConfig, device: torch.device) -> Umt5Encoder:
    """A text encoder of random weights."""
    return materialised(lambda: Umt5Encoder(config), device, lambda _: TEXT_DTYPES["bf16"])


def image_encoder(config: ImageEncoderConfig, device: torch.device) -> ClipEncoder:
    """An image encoder of random weights, in the loader's format for the device."""
    dtype = torch.float32 if device.type == "cpu" else IMAGE_DTYPES["bf16"]
    return materialised(lambda: ClipEncoder(config), device, lambda _: dtype)


def free(device: torch.device) -> None:
    """Give back what nobody holds."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
