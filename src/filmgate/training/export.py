"""Trained weights to a model directory in the original Wan layout, and the sidecar that says what its files do not."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from filmgate.engine.checkpoints.packed import pack_directory
from filmgate.engine.models.config import RAY_CHANNELS
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.vae import WanVae
from filmgate.spec.errors import MissingTensor
from filmgate.training.autoencoder import to_unit
from filmgate.training.members import BOUNDARY, DENSE, MEMBERS, SHIFT, T2V, Member, smoke_clip
from filmgate.training.records import load_tensors, save_tensors
from filmgate.training.trainee import ADAPTER, merged
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import Catalogue, add_world_option
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import sample_scenes
from filmgate.training.world.tokenizer import build_tokenizer, lexicon_words

PAIR = ("high_noise", "low_noise")
"""Names of the transformers of a directory with two experts."""
Colours = tuple[list[list[float]], list[float]]
"""The mean colour of a latent's pixels: a row for each channel, and a bias."""


@dataclass(frozen=True)
class FewStepFiles:
    """LoRAs that are shipped with a member: the preset that they were distilled for, and files by expert.

    ``default``: the member paints with them where nothing else is asked for.
    """

    preset: str
    files: Mapping[str, Path]
    default: bool = False


def transformer_config(member: Member) -> dict[str, Any]:
    """config.json as the original repositories have it."""
    c = member.dit
    facts = {
        "_class_name": "WanModel", "model_type": "i2v" if member.task == "camera" else member.task, "dim": c.dim,
        "eps": 1e-6, "ffn_dim": c.ffn_dim, "freq_dim": c.freq_dim, "in_dim": c.in_dim, "num_heads": c.num_heads,
        "num_layers": c.num_layers, "out_dim": c.out_dim, "text_len": c.text_len,
    }  # fmt: skip
    if c.camera_scale is not None:
        facts |= {
            "add_control_adapter": True, "in_dim_control_adapter": RAY_CHANNELS,
            "downscale_factor_control_adapter": c.camera_scale,
        }  # fmt: skip
    return facts


@torch.no_grad()
def colour_factors(
    vae: WanVae, mean: Tensor, std: Tensor, world: Catalogue, form: ClipFormat, clips: int = 24
) -> Colours:
    """Least-squares map from a normalised latent to the mean colour of its pixels, for previews: [z, 3] and [3]."""
    clip = Renderer(replace(form, frames=5))(sample_scenes(clips, torch.Generator().manual_seed(3), world=world))
    video = to_unit(clip.rgb)
    latent = (vae.encode_sequence(video)[0] - mean.view(1, -1, 1, 1, 1)) / std.view(1, -1, 1, 1, 1)
    first = torch.nn.functional.avg_pool2d(video[:, :, 0], vae.config.spatial_factor)
    rows = latent[:, :, 0].permute(0, 2, 3, 1).flatten(0, 2)
    design = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
    solution = torch.linalg.lstsq(design, first.permute(0, 2, 3, 1).flatten(0, 2)).solution
    return [[round(x, 5) for x in row] for row in solution[:-1].tolist()], [round(x, 5) for x in solution[-1].tolist()]


def sidecar(
    member: Member, mean: Tensor, std: Tensor, colours: Colours, preset: dict[str, Any],
    few_step: FewStepFiles | None = None,
) -> dict[str, Any]:  # fmt: skip
    """generation.json: identity, preset and the numbers that a Wan directory leaves to the code."""
    clip, vae = member.clip, asdict(member.vae)
    return {
        "id": member.name,
        "title": member.title,
        "variant": member.variant,
        "family": member.family,
        "task": member.task,
        "text_len": member.dit.text_len,
        "compression": {
            "temporal": member.vae.temporal_factor, "spatial": member.vae.spatial_factor,
            "channels": member.vae.z_dim, "patch": 2,
        },
        "preset": {
            "sizes": [[clip.width, clip.height]], "frames": clip.frames, "fps": clip.fps, "steps": member.steps,
            "shift": SHIFT,
            "guidance_high": member.guidance, "guidance_low": member.guidance,
            "boundary": BOUNDARY if member.pair else None,
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
        "latent_rgb_factors": colours[0],
        "latent_rgb_bias": colours[1],
        **({} if few_step is None else {"few_step": {
            "preset": few_step.preset, "default": few_step.default,
            "loras": [(name, _place(few_step, name)) for name in sorted(few_step.files)],
        }}),
    }  # fmt: skip


def _place(few_step: FewStepFiles, expert: str) -> str:
    return f"{few_step.preset}/{expert}.safetensors"


def _half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}


def write_directory(
    member: Member, vae_file: Path, text_file: Path, experts: Mapping[str, Sequence[Path]], statistics: Path,
    output: Path, *,
    preset: dict[str, Any] | None = None, world: Catalogue | None = None, few_step: FewStepFiles | None = None,
    colours: Colours | None = None,
) -> None:  # fmt: skip
    """Write the complete directory at ``output``, replacing what is there.

    Args:
        experts: Files of weights by name: those of :data:`PAIR`, or one of any name for a member with one transformer.
            Tensors of later files take the place of earlier ones'; a member that is told less than its weights can read
            gets the channels that it reads.
        preset: Fields to override.
        world: What it was trained on, if not the member's own.
        few_step: LoRAs to ship with it.
        colours: What :func:`colour_factors` says of the VAE, if that is known already.

    Raises:
        CheckpointError: weights are missing or of another architecture.
    """
    world = world or member.world
    if output.exists():
        shutil.rmtree(output)
    numbers = load_tensors(statistics)
    mean, std = numbers["latents_mean"], numbers["latents_std"]
    weights = load_tensors(vae_file)
    if colours is None:
        vae = WanVae(member.vae)
        vae.load_state_dict(weights)
        colours = colour_factors(vae, mean, std, world, member.clip)
    for name, files in experts.items():
        folder = output / f"{name}_model" if member.pair else output
        tensors = transformer(member, files)
        save_tensors(folder / "diffusion_pytorch_model.safetensors", _half(tensors), {"format": "pt"})
        (folder / "config.json").write_text(json.dumps(transformer_config(member), indent=2) + "\n")
    save_tensors(output / f"{member.vae_name}.safetensors", _half(weights), {"format": "pt"})
    save_tensors(
        output / "models_t5_umt5-toybox-enc-bf16.safetensors", _half(load_tensors(text_file)), {"format": "pt"}
    )
    tokenizer = output / "google" / "umt5-xxl"
    tokenizer.mkdir(parents=True)
    build_tokenizer(world).save(str(tokenizer / "tokenizer.json"))
    (output / "vocabulary.txt").write_text("\n".join(lexicon_words(world)) + "\n")
    if few_step is not None:
        (output / few_step.preset).mkdir()
        for expert, file in few_step.files.items():
            shutil.copyfile(file, output / _place(few_step, expert))
    generation = sidecar(member, mean, std, colours, preset or {}, few_step)
    (output / "generation.json").write_text(json.dumps(generation, indent=2) + "\n")


def transformer(member: Member, files: Sequence[Path]) -> dict[str, Tensor]:
    """The transformer's tensors of runs, or of published files, under their original names.

    Raises:
        MissingTensor, UnexpectedTensor, WrongShape: they are not this member's.
    """
    own = WanDiT(member.dit).state_dict()
    # An adapter may be absent from a parent, but not from what is published.
    adapter = [name for name in own if ADAPTER.endswith(name.partition(".")[0] + ".")]
    found = {name.removeprefix("dit.") for file in files for name in load_tensors(file)} if adapter else set()
    if missing := [name for name in adapter if name not in found]:
        raise MissingTensor(files[-1], f"no weights of {member.name}", key=missing[0])
    return merged(files, own)


def main() -> None:
    """Command line: ``python -m filmgate.training.export --vae FILE --text FILE --high FILE --low FILE ...``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--member", choices=sorted(MEMBERS), help="default: by the number of transformers")
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--high", type=Path, nargs="+", help="weights; later files change earlier ones")
    parser.add_argument("--low", type=Path, nargs="+")
    parser.add_argument("--dense", type=Path, nargs="+", help="instead of --high and --low")
    parser.add_argument("--statistics", type=Path, required=True)
    parser.add_argument(
        "--few-step", type=Path, nargs=2, metavar=("HIGH", "LOW"), help="LoRAs to ship with it, for --few-step-preset"
    )
    parser.add_argument("--few-step-preset", default="lightning")
    parser.add_argument("--few-step-default", action="store_true", help="paint with them where nothing else is said")
    parser.add_argument("--preset", type=json.loads, default={}, help="JSON with preset fields to override")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ship", type=Path, help="also pack it, into this directory that must not exist yet")
    parser.add_argument(
        "--lender", type=Path, action="append", default=[],
        help="packed directory beside --ship: what it has too is named there, not kept twice",
    )  # fmt: skip
    parser.add_argument("--smoke", action="store_true", help="of the tiny clips that trainings have with it")
    add_world_option(parser)
    parser.add_argument("--mantissa-bits", type=int, default=5, help="of the packed weights")
    args = parser.parse_args()
    if args.dense is None and (args.high is None or args.low is None):
        parser.error("give --high and --low, or --dense")
    experts = {"dense": args.dense} if args.dense else dict(zip(PAIR, [args.high, args.low], strict=True))
    member = MEMBERS[args.member] if args.member else DENSE if args.dense else T2V
    if member.pair != (args.dense is None):
        parser.error(f"{member.name} needs {'--high and --low' if member.pair else '--dense'}")
    few_step = None
    if args.few_step:
        files = dict(zip(PAIR, args.few_step, strict=True))
        few_step = FewStepFiles(args.few_step_preset, files, default=args.few_step_default)
    if args.smoke:
        member = replace(member, clip=smoke_clip(member))
    write_directory(
        member, args.vae, args.text, experts, args.statistics, args.output, preset=args.preset, world=args.world,
        few_step=few_step,
    )  # fmt: skip
    if args.ship:
        pack_directory(args.output, args.ship, args.mantissa_bits, lenders=args.lender)
        print(f"{sum(file.stat().st_size for file in args.ship.rglob('*') if file.is_file()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
