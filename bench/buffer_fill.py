"""How fast a training buffer fills, and where its time goes: scenes, picture, latents, coverage and captions.

    python bench/buffer_fill.py --vae FILE [--chunk 256] [--trace]

Each part is timed with the device idle before and after it; the whole is timed over several chunks as the trainer calls
it, with captions written in the background.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from claims import Measured, report, write
from filmgate.training.latents import LatentBuffer, token_cover
from filmgate.training.ranks import Ranks
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.captions import facts
from filmgate.training.world.catalogue import FIRST, add_world_option
from filmgate.training.world.scenes import sample_scenes
from training_step import device_name, milliseconds, wait

CHUNKS = 6


def main() -> None:
    """Measure and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--trace", action="store_true")
    add_world_option(parser, FIRST)
    options = parser.parse_args()
    device, size = Ranks.join().device(), options.chunk
    began = time.perf_counter()
    buffer = LatentBuffer(
        options.vae, device, size * CHUNKS, clip=ClipFormat(), seed=1, chunk=size, compiled=not options.eager,
        world=options.world,
    )  # fmt: skip
    with torch.no_grad():
        buffer.add_chunk()
        buffer.settle()
        print(f"ready after {time.perf_counter() - began:.0f} s", flush=True)
        scenes = sample_scenes(size, buffer.generator, world=options.world)
        clip = buffer.renderer(scenes)
        labels = scenes.labels.to("cpu")
        times = {
            "scenes": milliseconds(lambda: sample_scenes(size, buffer.generator, world=options.world), device, 3),
            "picture": milliseconds(lambda: buffer.renderer(scenes), device, 3),
            "latents": milliseconds(lambda: buffer._encoded(clip.rgb), device, 3),
            "coverage": milliseconds(lambda: token_cover(clip.number), device, 3),
            "captions": milliseconds(lambda: buffer._caption(labels, torch.arange(size)), device, 1),
            "facts": milliseconds(lambda: facts(labels, options.world), device, 1),
        }
        start = time.perf_counter()
        for _ in range(CHUNKS):
            buffer.add_chunk()
        wait(device)
        rate = CHUNKS * size / (time.perf_counter() - start)
        buffer.settle()
        settled = CHUNKS * size / (time.perf_counter() - start)
        if options.trace:
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
            with profile(activities=activities) as profiler:
                buffer.add_chunk()
                wait(device)
            key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
            print(profiler.key_averages().table(sort_by=key, row_limit=20, max_name_column_width=60))
    print(size, {name: round(value, 1) for name, value in times.items()}, flush=True)
    of = f"{size}" if options.world is FIRST else f"{size}.{options.world.name}"
    measured = [
        Measured(f"training.fill_clips_per_second.{of}", round(rate, 1), "/s"),
        Measured(f"training.fill_with_captions_per_second.{of}", round(settled, 1), "/s"),
        *(
            Measured(f"training.fill_{name}_ms.{of}", round(value, 1), "ms", None, False)
            for name, value in times.items()
        ),
    ]
    report(write("buffer_fill", measured, hardware=device_name(device)))


if __name__ == "__main__":
    main()
