"""How parts of bench/forward.py are measured: what is run, clocks, errors and peaks of memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch
from torch import Tensor

from filmgate.engine.checkpoints.wan import DTYPES, FP32_MODULES
from filmgate.spec import LatentShape
from true_size_models import Row, chosen, tiny
from true_size_weights import GIB

ROWS = {
    "a14b-720p": "wan2.2-t2v-a14b.1280x720x81", "a14b-480p": "wan2.2-t2v-a14b.832x480x81",
    "ti2v-5b": "wan2.2-ti2v-5b.1280x704x121",
}  # fmt: skip


def row_of(name: str, *, small: bool) -> Row:
    """The model and size of a part, or a model by its own name."""
    (row,) = (row for row in chosen([ROWS.get(name, name)], "important") if isinstance(row, Row))
    return tiny(row) if small else row


def latent_of(row: Row) -> LatentShape:
    """The shape of what the transformer works on."""
    return row.sizes.vae.compression.latent(row.video)


def seconds(work: Callable[[], object], device: torch.device, repeats: int, warm: int = 1) -> list[float]:
    """Times of ``repeats`` calls after ``warm`` that are not counted."""
    found = []
    for index in range(warm + repeats):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        if index >= warm:
            found.append(time.perf_counter() - start)
    return found


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def relative(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖ / ‖expected‖."""
    wide = expected.double()
    return float((found.double() - wide).norm() / wide.norm())


def peak(device: torch.device) -> float:
    """GiB that torch held at most since the last call."""
    if device.type != "cuda":
        return 0.0
    found = torch.cuda.max_memory_allocated(device) / GIB
    torch.cuda.reset_peak_memory_stats(device)
    return round(found, 3)


def let_go(device: torch.device) -> None:
    """Give memory back."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def dtype_of_parameter(name: str) -> torch.dtype:
    """As the loader has it in bf16."""
    return torch.float32 if FP32_MODULES.search(name) else DTYPES["bf16"]


def inputs(row: Row, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy latent, timestep, and a text of full length."""
    config, latent = row.sizes.dit, latent_of(row)
    draw = torch.Generator(device).manual_seed(1)
    x = torch.randn(1, config.in_dim, latent.frames, latent.height, latent.width, device=device, generator=draw)
    text = torch.randn(1, config.text_len, config.text_dim, device=device, generator=draw).bfloat16()
    timestep = torch.tensor([500.0], device=device)
    if config.per_token_timestep:
        timestep = timestep.expand(1, row.tokens).clone()
        timestep[:, : row.tokens // latent.frames] = 0
    return x, timestep, text
