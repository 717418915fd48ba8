"""Which networks of a model are in memory, and where.

A network is loaded when it is first asked for and stays until it is released; where the plan says so, it stays longer.
No two stages work at the same time, so that, unless all shall stay, the largest network and not their sum decides how
much memory a video takes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from filmgate.engine.checkpoints.filling import Filling
from filmgate.engine.checkpoints.lora_tensors import deltas_for
from filmgate.engine.checkpoints.sidecar import read_sidecar
from filmgate.engine.checkpoints.wan import (
    Place,
    load_dit,
    load_image_encoder,
    load_text_encoder,
    load_tokenizer,
    load_vae,
)
from filmgate.engine.models.clip import ClipEncoder
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.speed import (
    AUTOENCODER,
    TRANSFORMER,
    autoencoder_choices,
    eight_bit_rule,
    transformer_choices,
)
from filmgate.engine.pipeline.values import ColourMap, Tokenise
from filmgate.engine.runtime.attention_race import Races
from filmgate.engine.runtime.host_memory import HostRoom, keep_freed_memory
from filmgate.engine.runtime.lora import apply_lora
from filmgate.engine.runtime.parallel import ONE, Team
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.engine.runtime.residency import Holding, holdings
from filmgate.engine.runtime.stream import BlockStream, stream_blocks, streamed_prefixes
from filmgate.spec import (
    Acceleration,
    EightBit,
    ExpertName,
    HostPlace,
    InvalidRequest,
    LoraUse,
    ModelDescription,
    Precision,
    Recipe,
    ResidencyPlan,
    SpeedPlan,
)

Network = TypeVar("Network", bound=torch.nn.Module)
BY_TURNS = ResidencyPlan()
"""One network at a time."""
AS_WRITTEN = SpeedPlan()
"""Nothing is made fast."""


class Residency(Protocol):
    """A model that is open: its networks by name, and the small things that are always there."""

    device: torch.device
    tokenise: Tokenise
    colours: ColourMap | None
    """For previews; None: the VAE decodes them."""
    races: Races
    """Which attention was found fastest."""

    def text_encoder(self) -> Umt5Encoder:
        """The text encoder."""

    def image_encoder(self) -> ClipEncoder:
        """The encoder of pictures, for models with an image branch."""

    def transformer(self, name: ExpertName, *, adapted: bool = True) -> WanDiT:
        """An expert, with its LoRAs or without."""

    def vae(self) -> WanVae:
        """The video autoencoder."""

    def holds(self, name: str) -> bool:
        """Whether ``text_encoder``, ``image_encoder``, ``vae`` or an expert is in memory."""

    def release(self, name: str) -> None:
        """Let go of a network, if it is held."""


class OnDemand:
    """Loads from disk on use. An expert that is asked for replaces the other one, unless all networks shall stay.

    Args:
        model: What to load.
        device: Where to.
        precision: Of the transformers and the text encoder; the VAE has its own, in ``speed``.
        loras: For the transformers: merged into weights of the format of the arithmetic, beside those in fewer bits.
        residency: What stays, what is streamed, and in which format weights are kept.
        speed: What makes the networks fast.
        team: This process among those that share the work.
        recipe: Accelerations of the experts.
        races: What is known of the fastest attention, and where more goes.

    Raises:
        InvalidRequest: products in eight bits are wanted of weights that are streamed or sharded.
        CheckpointError: the tokenizer or generation.json is missing or damaged.
    """

    def __init__(
        self,
        model: ModelDescription,
        device: torch.device,
        precision: Precision,
        loras: Sequence[LoraUse] = (),
        residency: ResidencyPlan = BY_TURNS,
        speed: SpeedPlan = AS_WRITTEN,
        team: Team = ONE,
        recipe: Recipe = (),
        races: Races | None = None,
    ) -> None:
        if residency.moves_blocks and any(_narrows(use.acceleration) for use in recipe):
            raise InvalidRequest(
                "memory", "products in eight bits of weights that are streamed or sharded are not implemented",
                allowed="resident, one-expert, or no products in eight bits", nearest="one-expert",
            )  # fmt: skip
        self.team = team
        self.races = Races() if races is None else races
        self._recipe = recipe
        self._narrowed: set[str] = set()
        self.device = device
        if device.type == "cpu":
            keep_freed_memory()
        self.tokenise: Tokenise = load_tokenizer(model)
        self.colours = colour_map(model)
        self._model = model
        self._precision = precision
        self._loras = tuple(loras)
        self._held: dict[str, torch.nn.Module] = {}
        self._adapted: set[str] = set()
        self._residency = residency
        self._speed = speed
        self._streams: dict[str, BlockStream] = {}
        self._room = HostRoom()
        self._tile = residency.vae_tile

    def text_encoder(self) -> Umt5Encoder:
        """See :class:`Residency`."""
        return self._get("text_encoder", self._load_text_encoder)

    def image_encoder(self) -> ClipEncoder:
        """See :class:`Residency`."""
        return self._get(
            "image_encoder", lambda: load_image_encoder(self._model, device=self.device, precision=self._precision)
        )

    def transformer(self, name: ExpertName, *, adapted: bool = True) -> WanDiT:
        """See :class:`Residency`."""
        for expert in self._model.experts:
            # Originals of merged weights would need as much memory as these; they are on disk.
            if self._differs(name, adapted=adapted) if expert.name == name else not self._stays(expert.name):
                self._drop(expert.name)
        network = self._get(name, lambda: self._load_transformer(name))
        if adapted and name not in self._adapted:
            changes = deltas_for(network, [use for use in self._loras if use.expert == name])
            apply_lora(network, changes, keep=False, stream=self._streams.get(name))
            self._adapted.add(name)
        if name not in self._narrowed:
            last = Choices(eight_bit=eight_bit_rule(network.config, self._accelerations(name)))
            prepare(network, last, TRANSFORMER)
            self._narrowed.add(name)
        return network

    def vae(self) -> WanVae:
        """See :class:`Residency`."""
        return self.vae_in_tiles(self._residency.vae_tile)

    def vae_in_tiles(self, tile: int | None) -> WanVae:
        """The autoencoder in tiles of that many pixels, or, if None, of whole frames; loaded anew if it was another."""
        if tile != self._tile:
            self._drop("vae")
            self._tile = tile
        return self._get("vae", lambda: self._load_vae(tile))

    def holds(self, name: str) -> bool:
        """See :class:`Residency`."""
        return name in self._held

    def release(self, name: str) -> None:
        """See :class:`Residency`. What stays, stays."""
        if not self._stays(name):
            self._drop(name)

    def close(self) -> None:
        """Let go of every network, of those that stay too."""
        for name in list(self._held):
            self._drop(name)

    def holdings(self) -> tuple[Holding, ...]:
        """What is in memory at this moment, by network and place."""
        return tuple(
            item
            for name, network in self._held.items()
            for item in holdings(name, network, self._streams.get(name))
        )  # fmt: skip

    def _stays(self, name: str) -> bool:
        if name == "text_encoder":
            return self._residency.text_encoder == "device"
        return self._residency.mode == "resident"

    def _differs(self, name: ExpertName, *, adapted: bool) -> bool:
        """Whether an expert that is held cannot become what is asked for: LoRAs are merged, or were to be before its
        weights were rounded."""
        changed = any(use.expert == name for use in self._loras)
        late = name in self._narrowed and any(_narrows(use) for use in self._accelerations(name))
        return not adapted if name in self._adapted else adapted and changed and late

    def _accelerations(self, name: ExpertName) -> list[Acceleration]:
        return [use.acceleration for use in self._recipe if use.expert == name]

    def _drop(self, name: str) -> None:
        self._adapted.discard(name)
        self._narrowed.discard(name)
        stream = self._streams.pop(name, None)
        if stream is not None:
            stream.close()
        if self._held.pop(name, None) is not None:
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _load_transformer(self, name: ExpertName) -> WanDiT:
        residency = self._residency
        network = load_dit(
            self._model, name, device=self.device, precision=self._precision, weights=residency.weights,
            place=self._placing(name, residency.host, residency.kept_blocks),
        )  # fmt: skip
        choices = transformer_choices(network, self._speed, self._accelerations(name), self.races, self.team)
        prepare(network, replace(choices, eight_bit=None), TRANSFORMER)  # which comes once LoRAs are merged
        return network

    def _load_vae(self, tile: int | None) -> WanVae:
        network = load_vae(self._model, device=self.device, precision=self._speed.vae_precision, tile=tile)
        prepare(network, autoencoder_choices(self.device, self.team), AUTOENCODER)
        return network

    def _load_text_encoder(self) -> Umt5Encoder:
        on_cpu = self._residency.text_encoder == "cpu"
        encoder = load_text_encoder(
            self._model, device=torch.device("cpu") if on_cpu else self.device, precision=self._precision,
            weights=self._residency.weights,
            # It works once: to read all of it to the host first would be in vain.
            place=Filling.fill if on_cpu else self._placing("text_encoder", "mapped", 0),
        )  # fmt: skip
        if on_cpu:
            encoder.register_forward_hook(lambda _module, _inputs, features: features.to(self.device))
        return encoder

    def _placing(self, name: str, host: HostPlace, kept: int) -> Place:
        """How a network with blocks is put in its place."""
        # Only one rank has a text encoder.
        if not self._residency.moves_blocks or (self._residency.mode == "sharded" and name == "text_encoder"):
            return Filling.fill
        group = self.team.everyone if self._residency.mode == "sharded" else None

        def place(filling: Filling) -> None:
            filling.fill(streamed_prefixes(filling.module, kept))
            stream = stream_blocks(
                filling.module, filling, self.device, host=host, kept=kept, room=self._room, group=group
            )  # fmt: skip
            if stream is not None:
                self._streams[name] = stream

        return place

    def _get(self, name: str, load: Callable[[], Network]) -> Network:
        if name not in self._held:
            self._held[name] = load()
        network: Network = self._held[name]  # type: ignore[assignment]
        return network


def _narrows(acceleration: Acceleration) -> bool:
    return isinstance(acceleration, EightBit) and acceleration.linear


class Shared:
    """The networks of :class:`OnDemand` for one of several plans that share them, with tiles of its own.

    Args:
        networks: What is shared.
        tile: Side of the autoencoder's tiles in pixels; None: whole frames.
    """

    def __init__(self, networks: OnDemand, tile: int | None) -> None:
        self.device = networks.device
        self.tokenise = networks.tokenise
        self.colours = networks.colours
        self.races = networks.races
        self.text_encoder = networks.text_encoder
        self.image_encoder = networks.image_encoder
        self.transformer = networks.transformer
        self.holds = networks.holds
        self.release = networks.release
        self._networks = networks
        self._tile = tile

    def vae(self) -> WanVae:
        """See :class:`Residency`."""
        return self._networks.vae_in_tiles(self._tile)


def colour_map(model: ModelDescription) -> ColourMap | None:
    """What generation.json says of the colours of a model's latents.

    Raises:
        CheckpointError: the file is damaged.
    """
    sidecar = read_sidecar(Path(model.path))
    if sidecar.latent_rgb_factors is None:
        return None
    return ColourMap(sidecar.latent_rgb_factors, sidecar.latent_rgb_bias)
