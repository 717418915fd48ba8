"""Bytes of the whole Toybox family as it is shipped: weights of the true shapes, drawn at random, really packed.

    python bench/family_size.py

Drawn numbers pack as badly as trained ones: five bits of mantissa and a sign are noise in both, and exponents spread as
those of normal numbers on a scale of each tensor's own. Members that share weights keep only what they do not share.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from claims import Measured, report, write
from filmgate.engine.checkpoints.packed import pack_directory
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.training.distillation import Course
from filmgate.training.export import PAIR, FewStepFiles, write_directory
from filmgate.training.lora.export import write_lora
from filmgate.training.lora.targets import choose_layers
from filmgate.training.members import CAMERA, I2V, PLAIN, T2V, TI2V, Member
from filmgate.training.records import save_tensors
from filmgate.training.stages import STAGES
from filmgate.training.text_encoder import text_config
from filmgate.training.world.catalogue import RICH

BUDGET_MB = 58.0
Weights = dict[str, Tensor]


def spread(shapes: Weights, generator: torch.Generator) -> Weights:
    """Normal numbers, every tensor on a scale of its own."""
    scales = torch.empty(len(shapes)).uniform_(-7, -1, generator=generator).exp2()
    return {
        name: torch.randn(tensor.shape, generator=generator) * scale
        for (name, tensor), scale in zip(shapes.items(), scales, strict=True)
    }


def four_steps(shapes: Weights, path: Path, generator: torch.Generator) -> Path:
    """A LoRA of the rank that is trained."""
    course = Course()
    layers = choose_layers({name: tuple(tensor.shape) for name, tensor in shapes.items()}, course.targets)
    factors = {
        layer: tuple(torch.randn(size, generator=generator) * 0.02 for size in ((course.rank, c), (r, course.rank)))
        for layer, (r, c) in layers.items()
    }
    write_lora(path, factors, rank=course.rank, alpha=course.rank, dialect="comfyui", dtype=torch.bfloat16, metadata={})
    return path


def packed_family(folder: Path, layers: int | None = None) -> tuple[dict[str, int], int]:
    """Bytes of every member in ``folder``/ship, and how many numbers they have together.

    Args:
        layers: Blocks of the transformers; None: the members' own.
    """
    generator, ship, count = torch.Generator().manual_seed(0), folder / "ship", 0
    ship.mkdir()

    def shallow(member: Member) -> Member:
        return member if layers is None else replace(member, dit=replace(member.dit, num_layers=layers))

    def written(name: str, tensors: Weights) -> Path:
        nonlocal count
        count += sum(tensor.numel() for tensor in tensors.values())
        save_tensors(folder / f"{name}.safetensors", spread(tensors, generator))
        return folder / f"{name}.safetensors"

    def transformer(member: Member) -> Weights:
        return dict(WanDiT(shallow(member).dit).state_dict())

    own = tuple(name.removeprefix("dit.") for name in STAGES["camera_high"].only)
    rays = {name: tensor for name, tensor in transformer(CAMERA).items() if name.startswith(own)}
    text = written("text", dict(Umt5Encoder(text_config(RICH)).state_dict()))
    vae, small = (written(name, dict(WanVae(m.vae).state_dict())) for name, m in (("vae", I2V), ("small", TI2V)))
    pair = {name: [written(name, transformer(I2V))] for name in PAIR}
    guided = {name: [*pair[name], written(f"rays-{name}", rays)] for name in PAIR}
    few = {name: four_steps(transformer(T2V), folder / f"few-{name}.safetensors", generator) for name in PAIR}

    def publish(member: Member, vae: Path, experts: dict[str, list[Path]], few_step: FewStepFiles | None = None) -> int:
        member, statistics = shallow(member), folder / f"{member.name}.latents.safetensors"
        z = member.vae.z_dim
        save_tensors(statistics, {"latents_mean": torch.zeros(z), "latents_std": torch.ones(z)})
        write_directory(member, vae, text, experts, statistics, folder / member.name, few_step=few_step)
        lenders = [path for path in ship.iterdir() if path.name == T2V.name]
        pack_directory(folder / member.name, ship / member.name, lenders=lenders)
        return sum(path.stat().st_size for path in (ship / member.name).rglob("*") if path.is_file())

    sizes = {
        T2V.name: publish(T2V, vae, pair, FewStepFiles("lightning", few)),
        I2V.name: publish(I2V, vae, pair),
        CAMERA.name: publish(CAMERA, vae, guided),
        TI2V.name: publish(TI2V, small, {"dense": [written("ti2v", transformer(TI2V))]}),
        PLAIN.name: publish(PLAIN, vae, {"dense": [written("plain", transformer(PLAIN))]}),
    }
    return sizes, count


def main() -> None:
    """Count and write the claims."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes, count = packed_family(Path(folder))
    measured = [
        Measured(f"toybox.megabytes.{name}", round(size / 1e6, 2), "MB", None, False) for name, size in sizes.items()
    ]
    total = sum(sizes.values()) / 1e6
    measured.append(Measured("toybox.megabytes", round(total, 2), "MB", BUDGET_MB, False))
    measured.append(Measured("toybox.million_parameters", round(count / 1e6, 2), "M", None, False))
    report(write("family_size", measured))


if __name__ == "__main__":
    main()
