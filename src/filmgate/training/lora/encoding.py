"""Clips and captions to what a transformer reads, once: the results are kept on disk, by what made them.

A name in the cache is a hash of the clip's bytes, of what is taken of it, and of the weights that encode it; the same
folder under another name, or with one clip more, encodes nothing twice. VAE and encoders are let go of before the
transformer is loaded.

Legend: C T H W latent, S rows of text, D their width, P rows of image features, t pixel frames of a latent frame.
"""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filmgate.engine.checkpoints.hashes import sha256_of
from filmgate.engine.checkpoints.parts import Parts
from filmgate.engine.checkpoints.records import WeightRecords
from filmgate.engine.checkpoints.tensor_file import read_tensors, write_tensors
from filmgate.engine.checkpoints.wan import load_image_encoder, load_text_encoder, load_tokenizer, load_vae
from filmgate.engine.models.clip import normalise
from filmgate.engine.models.vae import WanVae
from filmgate.spec.errors import DamagedFile, MissingFile
from filmgate.spec.model import ModelDescription, Precision
from filmgate.training.lora.clips import Cut, read_cut
from filmgate.training.lora.objective import Example
from filmgate.training.lora.recipe import Encoded

_VERSION = "1"
KEPT_BYTES = 2 << 30
"""Of encoded clips in memory; beyond that they are read from the disk again."""


@dataclass(frozen=True)
class Origins:
    """SHA-256 of what encodes, by part."""

    vae: str
    text_encoder: str
    image_encoder: str

    @classmethod
    def of(cls, parts: Parts, cache: Path) -> Origins:
        """Of the files of a model."""
        clip = parts.image_encoder
        return cls(
            digest_of(parts.vae, cache),
            digest_of(parts.text_encoder, cache),
            "" if clip is None else digest_of(clip, cache),
        )


def digest_of(records: WeightRecords, cache: Path) -> str:
    """SHA-256 of all files of a network, in their order."""
    digests = [sha256_of(file, cache) for file in records.files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


class Shelf:
    """Encoded clips and captions of one model, on disk.

    Args:
        folder: Where they are kept.
        model: What encodes them.
        origins: Of its files.
        device: Where it encodes.
        precision: Of the text encoder.
        pictured: The model reads the first frame in channels beside the noise.
        cache: Where hashes of files are remembered.
    """

    def __init__(
        self, folder: Path, model: ModelDescription, origins: Origins, device: torch.device, precision: Precision,
        *, pictured: bool, cache: Path,
    ) -> None:  # fmt: skip
        self._folder, self._model, self._origins = folder, model, origins
        self._device, self._precision, self._pictured, self._cache = device, precision, pictured, cache
        self._sees = model.dit.image_dim is not None
        self._held: dict[str, dict[str, Tensor]] = {}
        self._bytes = 0

    def example(self, cut: Cut, caption: str) -> Example:
        """A clip with one of its captions, on the CPU."""
        found = self._read(self.clip_key(cut))
        return Example(found["latents"], self.text(caption), found.get("beside"), found.get("image"))

    def text(self, caption: str) -> Tensor:
        """Features of a text [S, D]."""
        return self._read(self.text_key(caption))["text"]

    def clip_key(self, cut: Cut) -> str:
        """Name of a clip in the cache."""
        video = cut.video
        facts = {
            "clip": sha256_of(cut.clip.path, self._cache), "start": cut.start, "fps": cut.fps,
            "video": [video.frames, video.height, video.width], "vae": self._origins.vae,
            "image_encoder": self._origins.image_encoder, "pictured": self._pictured,
        }  # fmt: skip
        return "clip-" + _hashed(facts)

    def text_key(self, caption: str) -> str:
        """Name of a text in the cache."""
        facts = {"text": caption, "encoder": self._origins.text_encoder, "precision": self._precision}
        return "text-" + _hashed(facts)

    def encode(self, cuts: Sequence[Cut], texts: Sequence[str]) -> Iterator[Encoded]:
        """Encode what is not there yet, texts first. Yields after each.

        Raises:
            InvalidRequest, DamagedFile: a clip cannot be read.
            CheckpointError: a file of the model is missing or damaged.
            OutputError: the cache cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        texts = list(dict.fromkeys(texts))
        missing = [text for text in texts if not self._has(self.text_key(text))]
        unseen = [cut for cut in cuts if not self._has(self.clip_key(cut))]
        total, done, began = len(texts) + len(cuts), len(texts) - len(missing), time.monotonic()
        for _ in self._texts(missing):
            done += 1
            yield Encoded(done, total, time.monotonic() - began)
        done += len(cuts) - len(unseen)
        for _ in self._clips(unseen):
            done += 1
            yield Encoded(done, total, time.monotonic() - began)
        if not missing and not unseen:
            yield Encoded(total, total, 0.0)

    def _texts(self, texts: Sequence[str]) -> Iterator[None]:
        if not texts:
            return
        tokenise = load_tokenizer(self._model)
        encoder = load_text_encoder(self._model, device=self._device, precision=self._precision)
        for text in texts:
            ids = torch.tensor([tokenise(text)], device=self._device)
            with torch.no_grad():
                features = encoder(ids, torch.ones_like(ids, dtype=torch.bool))[0]
            self._write(self.text_key(text), {"text": features})
            yield
        del encoder
        free(self._device)

    def _clips(self, cuts: Sequence[Cut]) -> Iterator[None]:
        if not cuts:
            return
        vae = load_vae(self._model, device=self._device)
        clip = load_image_encoder(self._model, device=self._device, precision=self._precision) if self._sees else None
        for cut in cuts:
            frames = to_unit(read_cut(cut))
            tensors = {"latents": vae.encode(frames[None])[0]}
            if self._pictured:
                tensors["beside"] = picture_beside(frames, vae)
            if clip is not None:
                with torch.no_grad():
                    seen = normalise(frames[:, 0].to(self._device), clip.config.pixels)
                    tensors["image"] = clip(seen)[0].float()
            self._write(self.clip_key(cut), tensors)
            yield
        del vae, clip
        free(self._device)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _has(self, key: str) -> bool:
        """Whether it is there and sound; what is damaged is made anew."""
        try:
            self._read(key)
        except (MissingFile, DamagedFile):
            return False
        return True

    def _read(self, key: str) -> dict[str, Tensor]:
        if key in self._held:
            return self._held[key]
        tensors, _ = read_tensors(self._path(key))
        size = sum(tensor.nbytes for tensor in tensors.values())
        if self._bytes + size <= KEPT_BYTES:
            self._held[key] = tensors
            self._bytes += size
        return tensors

    def _write(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        write_tensors(self._path(key), tensors, {"format": _VERSION})


def picture_beside(frames: Tensor, vae: WanVae) -> Tensor:
    """What image to video reads beside the noise [t + C, T, H, W]: which pixel frames are known, which is the first,
    and the latent of a clip of it with grey behind. ``frames`` [3, F, h, w] in -1 ... 1."""
    grey = torch.zeros_like(frames)
    grey[:, 0] = frames[:, 0]
    latent = vae.encode(grey[None])[0]
    mask = latent.new_zeros(vae.config.compression.temporal, *latent.shape[1:])
    mask[:, 0] = 1
    return torch.cat([mask, latent])


def to_unit(frames: NDArray[np.uint8]) -> Tensor:
    """RGB codes [F, h, w, 3] to fp32 [3, F, h, w] in -1 ... 1."""
    return torch.from_numpy(np.array(frames)).permute(3, 0, 1, 2).float().div(127.5).sub(1)


def free(device: torch.device) -> None:
    """Give memory back that nobody holds."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _hashed(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps({"version": _VERSION, **facts}, sort_keys=True).encode()).hexdigest()[:40]
