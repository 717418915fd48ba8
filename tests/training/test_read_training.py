"""Training of the readers: what they are shown, and when it ends."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from filmgate.engine.models.vae import WanVae
from filmgate.training.members import TOYBOX_VAE
from filmgate.training.read_training import Recipe, Store, train
from filmgate.training.readers import STRIDE, ReaderConfig, WorldReader, heads_of, load_reader
from filmgate.training.records import save_tensors
from filmgate.training.schedule import Session
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import RICH
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import sample_scenes

CLIP = ClipFormat(9, 32, 48)
RECIPE = Recipe(clips=8, chunk=4, batch=4, judged=1, coded=0.5)


def new_store(monkeypatch: pytest.MonkeyPatch, shown: list[Tensor]) -> Store:
    """A store whose VAE returns what it is given, and writes it down."""
    store = Store(RECIPE, CLIP, WanVae(TOYBOX_VAE), torch.device("cpu"), seed=3, compiled=False)

    def code(video: Tensor) -> Tensor:
        shown.append(video)
        return video

    monkeypatch.setattr(store, "_code", code)
    return store


def test_every_fourth_frame_is_rendered_and_the_vae_sees_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Tensor] = []
    store = new_store(monkeypatch, shown)
    scenes = sample_scenes(4, torch.Generator().manual_seed(3), world=RICH)
    whole = Renderer(CLIP)(scenes).rgb
    rendered, _ = store.chunk(coded=False)
    assert torch.equal(rendered, whole[:, :, ::STRIDE])
    store = new_store(monkeypatch, shown)
    coded, _ = store.chunk(coded=True)
    assert torch.equal(coded, rendered)
    assert torch.equal(torch.cat(shown), whole.float() / 127.5 - 1)


def test_the_stated_share_of_a_ring_is_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = new_store(monkeypatch, []), []
    answers = store.chunk(coded=False)

    def chunk(*, coded: bool) -> tuple[Tensor, dict[str, Tensor]]:
        asked.append(coded)
        return answers

    monkeypatch.setattr(store, "chunk", chunk)
    for _ in range(100):
        store.add()
    assert abs(sum(asked) - 100 * RECIPE.coded) <= 1
    assert torch.equal(store.videos, torch.cat([answers[0]] * 2))
    assert set(store.targets) >= {"shape", "camera", "hat"}


def test_a_schedule_that_would_be_cut_off_is_shortened(tmp_path: Path) -> None:
    save_tensors(tmp_path / "vae.safetensors", dict(WanVae(TOYBOX_VAE).state_dict()))
    began = time.monotonic()
    train(
        Session(3600), replace(RECIPE, coded=0.0), CLIP, tmp_path / "vae.safetensors", tmp_path, seed=1,
        compiled=False, end=began + 4,
    )  # fmt: skip
    assert time.monotonic() - began < 120
    rows = [json.loads(line) for line in (tmp_path / "reader.jsonl").read_text().splitlines()]
    assert {row["coded"] for row in rows} == {0, 1}
    loaded = load_reader(tmp_path / "reader.safetensors", CLIP)
    assert loaded.config == ReaderConfig(frames=3, height=32, width=48)


def test_a_reader_tells_its_size_by_its_weights(tmp_path: Path) -> None:
    for refinements in (0, 1, 3):
        config = ReaderConfig(48, 2, 6, refinements, 3, 32, 48)
        reader = WorldReader(config, heads_of(RICH))
        save_tensors(tmp_path / "reader.safetensors", dict(reader.state_dict()))
        assert load_reader(tmp_path / "reader.safetensors", CLIP).config == config


def test_looking_at_all_tokens_is_looking_at_everything() -> None:
    reader = WorldReader(ReaderConfig(48, 2, 6, 1, 3, 32, 48), heads_of(RICH)).eval()
    video = torch.rand(2, 3, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    every = torch.randperm(reader.position.shape[1], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, shuffled, part = reader(video), reader(video, every), reader(video, every[:9])
    for name, logits in whole.items():
        torch.testing.assert_close(logits, shuffled[name], atol=2e-5, rtol=1e-4)
        assert not torch.allclose(logits, part[name], atol=1e-4)
