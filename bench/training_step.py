"""Where a training step of the toy transformer goes: encoder, forward, backward, optimiser, average, on random latents.

    python bench/training_step.py [--batch 256 512] [--trace]

Each part is timed with the device idle before and after it, so that the parts add up to more than the whole step; the
whole is timed over 20 steps. ``--trace`` prints the profiler's table of the costliest kernels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from claims import Measured, report, write
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.training import diffusion as flow
from filmgate.training.averaging import Average
from filmgate.training.latents import Batch
from filmgate.training.ranks import Ranks
from filmgate.training.text_encoder import initialise, text_config
from filmgate.training.world.scenes import sample_scenes

LATENT = (16, 9, 12, 20)
REPEATS = 20


def random_batch(size: int, device: torch.device) -> Batch:
    """Latents, tokens, coverage and labels of no clip in particular."""
    generator = torch.Generator(device).manual_seed(0)
    tokens = LATENT[1] * LATENT[2] // 2 * LATENT[3] // 2
    return Batch(
        torch.randn(size, *LATENT, device=device, generator=generator),
        torch.randint(3, 500, (size, 64), device=device, generator=generator),
        torch.rand(size, tokens, 3, device=device, generator=generator),
        sample_scenes(size, generator).labels,
    )


def milliseconds(work: Callable[[], object], device: torch.device, repeats: int = REPEATS) -> float:
    """Mean time of ``work``, after two calls that do not count."""
    for _ in range(2):
        work()
    wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    wait(device)
    return (time.perf_counter() - start) / repeats * 1000


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def device_name(device: torch.device) -> str | None:
    """The GPU's name; None on a processor, whose name claims find themselves."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def measure(size: int, device: torch.device, *, compiled: bool, trace: bool) -> list[Measured]:
    """Times of one batch size."""
    recipe = flow.Recipe(batch=size)
    model = flow.new_trainee(recipe, [], device, compiled=compiled)
    encoder = Umt5Encoder(text_config()).to(device).eval().requires_grad_(False)
    initialise(encoder)
    batch, generator = random_batch(size, device), torch.Generator(device).manual_seed(1)
    working, average = flow.optimisers(model, recipe), Average(model)

    def gradients() -> None:
        flow.backward(model, encoder, batch, recipe, 0.5, generator)

    def whole() -> None:
        gradients()
        flow.apply(working, model)
        average.update(model)

    def optimise() -> None:
        for parameter in model.parameters():
            parameter.grad = parameter.data * 0.01 if parameter.grad is None else parameter.grad
        flow.apply(working, model)

    whole()
    times = {
        "whole": milliseconds(whole, device),
        "gradients": milliseconds(gradients, device),
        "encoder": milliseconds(lambda: flow.embed(encoder, batch.ids), device),
        "optimiser": milliseconds(optimise, device),
        "average": milliseconds(lambda: average.update(model), device),
    }
    if trace:
        activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if device.type == "cuda" else [ProfilerActivity.CPU]
        with profile(activities=activities) as profiler:
            for _ in range(3):
                whole()
            wait(device)
        key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        print(profiler.key_averages().table(sort_by=key, row_limit=28, max_name_column_width=60))
    print(size, {name: round(value, 1) for name, value in times.items()}, flush=True)
    rate = Measured(f"training.clips_per_second.{size}", round(size / times["whole"] * 1000, 1), "/s")
    return [rate, *(Measured(f"training.{n}_ms.{size}", round(v, 2), "ms", None, False) for n, v in times.items())]


def main() -> None:
    """Measure and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    device = Ranks.join().device()
    measured: list[Measured] = []
    for size in options.batch:
        measured += measure(size, device, compiled=not options.eager, trace=options.trace)
    report(write("training_step", measured, hardware=device_name(device)))


if __name__ == "__main__":
    main()
