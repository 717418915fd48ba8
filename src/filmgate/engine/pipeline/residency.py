"""Which networks of a model are in memory.

A network is loaded when it is first asked for and stays until it is released. No two stages work at the same time, so
that the largest network, not their sum, decides how much memory a video takes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from filmgate.engine.checkpoints.lora_tensors import deltas_for
from filmgate.engine.checkpoints.sidecar import read_sidecar
from filmgate.engine.checkpoints.wan import load_dit, load_image_encoder, load_text_encoder, load_tokenizer, load_vae
from filmgate.engine.models.clip import ClipEncoder
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.values import ColourMap, Tokenise
from filmgate.engine.runtime.lora import apply_lora
from filmgate.spec import ExpertName, LoraUse, ModelDescription, Precision

Network = TypeVar("Network", bound=torch.nn.Module)


class Residency(Protocol):
    """A model that is open: its networks by name, and the small things that are always there."""

    device: torch.device
    tokenise: Tokenise
    colours: ColourMap | None
    """For previews; None: the VAE decodes them."""

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


class OneAtATime:
    """Loads from disk on use. An expert that is asked for replaces the other one.

    Args:
        model: What to load.
        device: Where to.
        precision: Of the transformers and the text encoder; the VAE runs in fp32, as the originals do.
        loras: Merged into the transformers that they are for.

    Raises:
        CheckpointError: the tokenizer or generation.json is missing or damaged.
    """

    def __init__(
        self, model: ModelDescription, device: torch.device, precision: Precision, loras: Sequence[LoraUse] = ()
    ) -> None:
        self.device = device
        self.tokenise: Tokenise = load_tokenizer(model)
        self.colours = colour_map(model)
        self._model = model
        self._precision = precision
        self._loras = tuple(loras)
        self._held: dict[str, torch.nn.Module] = {}
        self._adapted: set[str] = set()

    def text_encoder(self) -> Umt5Encoder:
        """See :class:`Residency`."""
        return self._get(
            "text_encoder", lambda: load_text_encoder(self._model, device=self.device, precision=self._precision)
        )

    def image_encoder(self) -> ClipEncoder:
        """See :class:`Residency`."""
        return self._get(
            "image_encoder", lambda: load_image_encoder(self._model, device=self.device, precision=self._precision)
        )

    def transformer(self, name: ExpertName, *, adapted: bool = True) -> WanDiT:
        """See :class:`Residency`."""
        for expert in self._model.experts:
            # Originals of merged weights would need as much memory as these; they are on disk.
            if expert.name != name or (name in self._adapted and not adapted):
                self.release(expert.name)
        network = self._get(name, lambda: load_dit(self._model, name, device=self.device, precision=self._precision))
        if adapted and name not in self._adapted:
            apply_lora(network, deltas_for(network, [use for use in self._loras if use.expert == name]), keep=False)
            self._adapted.add(name)
        return network

    def vae(self) -> WanVae:
        """See :class:`Residency`."""
        return self._get("vae", lambda: load_vae(self._model, device=self.device, precision="fp32"))

    def holds(self, name: str) -> bool:
        """See :class:`Residency`."""
        return name in self._held

    def release(self, name: str) -> None:
        """See :class:`Residency`."""
        self._adapted.discard(name)
        if self._held.pop(name, None) is not None:
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _get(self, name: str, load: Callable[[], Network]) -> Network:
        if name not in self._held:
            self._held[name] = load()
        network: Network = self._held[name]  # type: ignore[assignment]
        return network


def colour_map(model: ModelDescription) -> ColourMap | None:
    """What generation.json says of the colours of a model's latents.

    Raises:
        CheckpointError: the file is damaged.
    """
    sidecar = read_sidecar(Path(model.path))
    if sidecar.latent_rgb_factors is None:
        return None
    return ColourMap(sidecar.latent_rgb_factors, sidecar.latent_rgb_bias)
