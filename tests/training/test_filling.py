"""A kept buffer grows by clips that it has not, and hands out only those whose captions are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from filmgate.engine.models.vae import WanVae
from filmgate.training.filling import filled_buffer
from filmgate.training.members import TOYBOX_VAE
from filmgate.training.ranks import Ranks
from filmgate.training.records import save_tensors
from filmgate.training.trainee import Recipe
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import UNADORNED
from filmgate.training.world.tokenizer import build_tokenizer

FORM = ClipFormat(5, 32, 48)


@pytest.fixture
def vae(tmp_path: Path) -> Path:
    """An untrained VAE."""
    torch.manual_seed(0)
    save_tensors(tmp_path / "vae.safetensors", WanVae(TOYBOX_VAE).state_dict())
    return tmp_path / "vae.safetensors"


def of_film(ids: torch.Tensor) -> bool:
    """Whether captions [N, C, L] speak Wan 2.2's terms of film."""
    texts = build_tokenizer(UNADORNED).decode_batch(ids.flatten(0, 1).tolist())
    return any(word in text for text in texts for word in ("lighting", "tones", "lens", "composition", "-level"))


def test_a_kept_buffer_grows_by_other_clips(vae: Path, tmp_path: Path) -> None:
    store, recipe = tmp_path / "rich.safetensors", replace(Recipe(), buffer=1)
    first = filled_buffer(vae, store, recipe, FORM, 0, Ranks(), compiled=False)
    n = first.chunk
    larger = filled_buffer(vae, store, replace(recipe, buffer=2 * n), FORM, 0, Ranks(), compiled=False)
    assert (first.filled, larger.filled, larger.capacity) == (n, n, 2 * n)
    assert torch.equal(larger.latents[:n], first.latents)
    larger.add_chunk()
    assert (larger.filled, larger.ready) == (2 * n, n)
    assert not torch.equal(larger.latents[n:], first.latents)
    larger.latents[n:] = torch.nan
    draw = torch.Generator().manual_seed(0)
    assert not larger.batch(400, draw).latents.isnan().any()
    larger.settle()
    assert larger.batch(400, draw).latents.isnan().any()
    assert not torch.equal(larger.ids[n:], first.ids)
    plainer = filled_buffer(vae, store, replace(recipe, world=UNADORNED), FORM, 0, Ranks(), compiled=False)
    assert torch.equal(plainer.latents[:n], first.latents)
    assert of_film(first.ids[:n])
    assert not of_film(plainer.ids[:n])
    larger.latents[:] = 0
    larger.add_chunk()
    assert larger.renewed == slice(0, n)
    larger.latents[:n] = torch.nan
    assert not larger.batch(400, draw).latents.isnan().any()


def test_whoever_trains_alone_takes_what_several_rendered(vae: Path, tmp_path: Path) -> None:
    store, recipe = tmp_path / "rich.safetensors", replace(Recipe(), buffer=1)
    both = [filled_buffer(vae, store, recipe, FORM, 0, Ranks(rank, 2), compiled=False) for rank in range(2)]
    n = both[0].chunk
    assert not torch.equal(both[0].latents, both[1].latents)
    for rank, own in enumerate(both):
        again = filled_buffer(vae, store, recipe, FORM, 0, Ranks(rank, 2), compiled=False)
        assert torch.equal(again.latents, own.latents)
    alone = filled_buffer(vae, store, recipe, FORM, 0, Ranks(), compiled=False)
    assert alone.filled == alone.ready == 2 * n
    assert torch.equal(alone.latents, torch.cat([own.latents for own in both]))
    assert torch.equal(alone.ids, torch.cat([own.ids for own in both]))
    assert torch.equal(alone.mean, both[0].mean)
    colours = torch.cat([own._all_labels().colour for own in both])
    assert torch.equal(alone.labels_on_device.colour, colours)
