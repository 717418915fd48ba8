"""From a request to its first denoising step in a process that has its networks: the part of bench/loading.py.

The clock starts before planning and stops where the first step begins: inputs are read, the plan is made, names are
claimed, files are compared with what was loaded, the text is encoded, noise is drawn. On a CPU the model is Toybox; on
a GPU an A14B of random weights in a directory as it is published, with as many layers as are asked for.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from claims import Measured
from filmgate import Filmgate
from filmgate.engine.checkpoints.tensors import build_empty
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.spec import Done, Event, Failed, Progress, Request
from loading_checkpoint import STORED, Stored, config_of, row_of, write_checkpoint, write_shard

GOAL = 1.0
SIZES: Mapping[str, dict[str, int]] = {
    "cpu": {"width": 160, "height": 96, "frames": 5, "steps": 2},
    "cuda": {"width": 832, "height": 480, "frames": 5, "steps": 2},
}
"""Small videos: what comes before the first step does not depend on what comes after it."""
PROMPTS = ("a red ball rolls to the right past a blue cube", "a green cone stands still", "two yellow cubes, sunset")
TOYBOX_IDS = 1 << 14
"""No fewer than its tokenizer has."""
STAYS: dict[str, Any] = {"memory": "resident", "text_encoder": "device"}


def model_directory(folder: Path, gib: float, stored: Stored, *, small: bool) -> Path:
    """A pair of A14B's transformers of at most ``gib`` each, the text encoder and the autoencoder, of random weights;
    the tokenizer is Toybox's."""
    root = folder / "wan2.2-t2v-a14b-random"
    toybox = Path(Filmgate(cache=folder / "toybox").model().path)
    sizes = row_of(small=small).sizes
    text = replace(sizes.text, vocab=max(sizes.text.vocab, TOYBOX_IDS))
    config = config_of(gib, stored, small=small)
    for seed, name in enumerate(("high_noise_model", "low_noise_model")):
        (root / name).mkdir(parents=True)
        write_checkpoint(config, stored, root / name, seed=seed)
        (root / name / "config.json").write_text(f'{{"num_heads": {config.num_heads}}}\n')
    parts: dict[str, Callable[[], nn.Module]] = {
        "models_t5_umt5-xxl-enc-bf16": lambda: Umt5Encoder(text),
        "Wan2.1_VAE": lambda: WanVae(sizes.vae),
    }
    for seed, (name, build) in enumerate(parts.items()):
        shapes = {key: tensor.shape for key, tensor in sorted(build_empty(build).state_dict().items())}
        write_shard(root / f"{name}.safetensors", shapes, STORED["bf16"], seed=seed)
    shutil.copytree(toybox / "google", root / "google")
    return root


def moments(worker: Filmgate, request: Request, output: Path) -> dict[str, float]:
    """Seconds from the request to the plan, to Started, to the end of encoding and to the first step, and of all."""
    begin = time.perf_counter()
    plan = worker.plan(request)
    found = {"plan": time.perf_counter() - begin}
    last: Event | None = None
    for last in worker.render(plan, output, overwrite=True):
        now = time.perf_counter() - begin
        found.setdefault("started", now)
        if isinstance(last, Progress) and last.stage == "encode":
            found["encoded"] = now
        if isinstance(last, Progress) and last.stage == "denoise":
            found.setdefault("first_step", now - last.seconds)
    if not isinstance(last, Done):
        raise AssertionError(last.message if isinstance(last, Failed) else "it did not end")
    return {**found, "done": time.perf_counter() - begin}


def warm_seconds(device: torch.device, repeats: int, gib: float, stored: Stored, *, small: bool) -> dict[str, Any]:
    """Requests to a worker that keeps its networks and, in turns, to one that does not: the first of each, and the
    median of the others."""
    with tempfile.TemporaryDirectory(prefix="filmgate-warm-") as name:
        folder = Path(name)
        random = device.type == "cuda" or small
        model = str(model_directory(folder, gib, stored, small=small)) if random else None
        sizes: dict[str, Any] = dict(SIZES[device.type])
        if small:
            sizes |= {"width": 64, "height": 32}
        workers = {kept: Filmgate(cache=folder / "cache", keep=kept) for kept in (True, False)}
        rows: dict[bool, list[dict[str, float]]] = {True: [], False: []}
        # On a GPU two workers have no room side by side: one after the other.
        for kept, worker in workers.items():
            for number in range(1 + repeats):
                request = Request(
                    prompt=PROMPTS[number % len(PROMPTS)], seed=number, model=model, device=str(device), **sizes,
                    **STAYS,
                )  # fmt: skip
                rows[kept].append(moments(worker, request, folder / "clip.mp4"))
            worker.close()
        return {
            "model": "a14b of random weights" if random else "toybox",
            "kept": summary(rows[True]), "loaded_again": summary(rows[False]),
        }  # fmt: skip


def summary(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """The first request, and the median of those after it, moment by moment."""
    first, *others = rows
    return {
        "first": {key: round(value, 4) for key, value in first.items()},
        "warm": {key: round(statistics.median(row[key] for row in others), 4) for key in first},
    }


def warm_claims(found: Mapping[str, Any], prefix: str) -> Iterator[Measured]:
    """What a run claims."""
    kept, again = found["kept"], found["loaded_again"]
    for name, value, goal in (
        ("request_seconds", kept["warm"]["first_step"], GOAL),
        ("plan_seconds", kept["warm"]["plan"], None),
        ("first_request_seconds", kept["first"]["first_step"], None),
        ("loaded_again_seconds", again["warm"]["first_step"], None),
    ):
        yield Measured(f"{prefix}warm.{name}", value, "s", goal, higher_is_better=False)
