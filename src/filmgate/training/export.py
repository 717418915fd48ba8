"""Trained weights to a model directory in the original Wan layout, and the sidecar that says what its files do not."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from filmgate.engine.checkpoints.packed import pack_directory
from filmgate.engine.models.vae import WanVae
from filmgate.training.autoencoder import TOYBOX_VAE, to_unit
from filmgate.training.diffusion import BOUNDARY, SHIFT, TOYBOX_DIT
from filmgate.training.records import load_tensors, save_tensors
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import Catalogue, add_world_option
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import sample_scenes
from filmgate.training.world.tokenizer import build_tokenizer, lexicon_words

PAIR = ("high_noise", "low_noise")
DENSE = ("dense",)
"""Names of the transformers of a directory: two experts, or one in the layout of Wan 2.1."""


def transformer_config() -> dict[str, Any]:
    """config.json as the original repositories have it."""
    c = TOYBOX_DIT
    return {
        "_class_name": "WanModel", "model_type": "t2v", "dim": c.dim, "eps": 1e-6, "ffn_dim": c.ffn_dim,
        "freq_dim": c.freq_dim, "in_dim": c.in_dim, "num_heads": c.num_heads, "num_layers": c.num_layers,
        "out_dim": c.out_dim, "text_len": c.text_len,
    }  # fmt: skip


@torch.no_grad()
def colour_factors(
    vae: WanVae, mean: Tensor, std: Tensor, world: Catalogue, clips: int = 24
) -> tuple[list[list[float]], list[float]]:
    """Least-squares map from a normalised latent to the mean colour of its pixels, for previews: [z, 3] and [3]."""
    clip = Renderer(ClipFormat(frames=5))(sample_scenes(clips, torch.Generator().manual_seed(3), world=world))
    video = to_unit(clip.rgb)
    latent = (vae.encode_sequence(video)[0] - mean.view(1, -1, 1, 1, 1)) / std.view(1, -1, 1, 1, 1)
    first = torch.nn.functional.avg_pool2d(video[:, :, 0], 8)
    rows = latent[:, :, 0].permute(0, 2, 3, 1).flatten(0, 2)
    design = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
    solution = torch.linalg.lstsq(design, first.permute(0, 2, 3, 1).flatten(0, 2)).solution
    return [[round(x, 5) for x in row] for row in solution[:-1].tolist()], [round(x, 5) for x in solution[-1].tolist()]


def sidecar(
    mean: Tensor, std: Tensor, factors: list[list[float]], bias: list[float], preset: dict[str, Any], *, pair: bool
) -> dict[str, Any]:
    """generation.json: identity, preset and the numbers that a Wan directory leaves to the code."""
    names = {
        True: ("toybox-t2v", "Toybox text-to-video: two experts trained on a rendered toy world", "wan2.2-t2v-a14b"),
        False: ("toybox-dense", "Toybox text-to-video: the dense partner of the two experts", "wan2.1-t2v-1.3b"),
    }
    identity, title, variant = names[pair]
    clip = ClipFormat()
    vae = asdict(TOYBOX_VAE)
    return {
        "id": identity,
        "title": title,
        "variant": variant,
        "family": variant.partition("-")[0],
        "task": "t2v",
        "text_len": TOYBOX_DIT.text_len,
        "compression": {"temporal": 4, "spatial": 8, "channels": TOYBOX_VAE.z_dim, "patch": 2},
        "preset": {
            "sizes": [[clip.width, clip.height]], "frames": clip.frames, "fps": clip.fps, "steps": 20, "shift": SHIFT,
            "guidance_high": 4.0, "guidance_low": 4.0, "boundary": BOUNDARY if pair else None,
            "solver": "unipc", "negative": "",
            **preset,
        },
        "vae": {
            **{name: vae[name] for name in ("dim", "dim_mult", "num_res_blocks", "z_dim", "temporal_downsample")},
            "latents_mean": [round(x, 6) for x in mean.tolist()],
            "latents_std": [round(x, 6) for x in std.tolist()],
        },
        "default_precision": "fp32",
        "vocabulary_file": "vocabulary.txt",
        "latent_rgb_factors": factors,
        "latent_rgb_bias": bias,
    }  # fmt: skip


def _half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}


def write_directory(
    vae_file: Path, text_file: Path, experts: dict[str, Path], statistics: Path, preset: dict[str, Any], output: Path,
    world: Catalogue,
) -> None:  # fmt: skip
    """Write the complete directory at ``output``, replacing what is there. ``experts`` are those of :data:`PAIR`, or
    :data:`DENSE` alone."""
    if output.exists():
        shutil.rmtree(output)
    numbers = load_tensors(statistics)
    mean, std = numbers["latents_mean"], numbers["latents_std"]
    weights = load_tensors(vae_file)
    vae = WanVae(TOYBOX_VAE)
    vae.load_state_dict(weights)
    factors, bias = colour_factors(vae, mean, std, world)
    pair = tuple(experts) == PAIR
    for name, weights_file in experts.items():
        folder = output / f"{name}_model" if pair else output
        tensors = {k.removeprefix("dit."): v for k, v in load_tensors(weights_file).items() if k.startswith("dit.")}
        save_tensors(folder / "diffusion_pytorch_model.safetensors", _half(tensors), {"format": "pt"})
        (folder / "config.json").write_text(json.dumps(transformer_config(), indent=2) + "\n")
    save_tensors(output / "Wan2.1_VAE.safetensors", _half(weights), {"format": "pt"})
    save_tensors(
        output / "models_t5_umt5-toybox-enc-bf16.safetensors", _half(load_tensors(text_file)), {"format": "pt"}
    )
    tokenizer = output / "google" / "umt5-xxl"
    tokenizer.mkdir(parents=True)
    build_tokenizer(world).save(str(tokenizer / "tokenizer.json"))
    (output / "vocabulary.txt").write_text("\n".join(lexicon_words(world)) + "\n")
    generation = sidecar(mean, std, factors, bias, preset, pair=pair)
    (output / "generation.json").write_text(json.dumps(generation, indent=2) + "\n")


def main() -> None:
    """Command line: ``python -m filmgate.training.export --vae FILE --text FILE --high FILE --low FILE ...``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--high", type=Path)
    parser.add_argument("--low", type=Path)
    parser.add_argument("--dense", type=Path, help="instead of --high and --low")
    parser.add_argument("--statistics", type=Path, required=True)
    parser.add_argument("--preset", type=json.loads, default={}, help="JSON with preset fields to override")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ship", type=Path, help="also pack it, into this directory that must not exist yet")
    add_world_option(parser)
    parser.add_argument("--mantissa-bits", type=int, default=5, help="of the packed weights")
    args = parser.parse_args()
    if args.dense is None and (args.high is None or args.low is None):
        parser.error("give --high and --low, or --dense")
    experts = {"dense": args.dense} if args.dense else dict(zip(PAIR, [args.high, args.low], strict=True))
    write_directory(args.vae, args.text, experts, args.statistics, args.preset, args.output, args.world)
    if args.ship:
        pack_directory(args.output, args.ship, args.mantissa_bits)
        print(f"{sum(file.stat().st_size for file in args.ship.rglob('*') if file.is_file()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
