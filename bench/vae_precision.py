"""What an autoencoder loses in half precision: clips of the toy world, decoded in fp32 and in bf16 by shipped weights.

    python bench/vae_precision.py [--clips 8] [--device cuda]

Claims, means over clips: ``vae.bf16_psnr``, frames decoded in bf16 against the same decoded in fp32, as 8-bit codes;
``vae.bf16_psnr_loss``, by how much the fidelity to the rendered clip falls, in dB; ``vae.bf16_largest``, the largest
difference of a code anywhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from claims import Measured, processor, report, write
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.wan import load_vae
from filmgate.engine.runtime.place import repeatable
from filmgate.training.fidelity import fidelity
from filmgate.training.painting import codes
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import sample_scenes
from toybox_bench import HERE, shipped


@torch.no_grad()
def decoded(model: Path, latents: list[Tensor], device: torch.device, precision: str) -> list[Tensor]:
    """Clips as a viewer gets them, uint8 [1, 3, F, H, W]."""
    vae = load_vae(describe(model), device=device, precision=precision)  # type: ignore[arg-type]
    with repeatable(torch.get_num_threads()):
        return [codes(vae.decode(latent)).cpu() for latent in latents]


def main() -> None:
    """Measure and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device, model = torch.device(options.device), shipped(HERE.parent / ".cache")
    scenes = sample_scenes(options.clips, torch.Generator().manual_seed(5))
    renderer, coder = Renderer(ClipFormat()), load_vae(describe(model), device=device)
    rendered, covered, latents = [], [], []
    for index in range(options.clips):
        clip = renderer(scenes.select(torch.tensor([index])))
        rendered.append(clip.rgb)
        covered.append(clip.number > 0)
        latents.append(coder.encode(clip.rgb.to(device).float() / 127.5 - 1))
    wide, narrow = (decoded(model, latents, device, precision) for precision in ("fp32", "bf16"))

    def mean(before: list[Tensor], after: list[Tensor]) -> float:
        parts = [fidelity(*three).clips for three in zip(before, after, covered, strict=True)]
        return float(sum(part.mean() for part in parts) / len(parts))

    largest = max(int((a.int() - b.int()).abs().max()) for a, b in zip(wide, narrow, strict=True))
    measured = [
        Measured("vae.bf16_psnr", round(mean(wide, narrow), 2), "dB"),
        Measured("vae.bf16_psnr_loss", round(mean(rendered, wide) - mean(rendered, narrow), 3), "dB", None, False),
        Measured("vae.bf16_largest", largest, "codes of 255", None, False),
    ]
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    report(write("vae_precision", measured, hardware=hardware))


if __name__ == "__main__":
    main()
