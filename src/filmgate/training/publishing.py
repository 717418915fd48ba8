"""From what sittings have brought home to the directories that are shipped: every member whose parts are finished.

    python -m filmgate.training.publishing RUNS

RUNS/ship has the packed members side by side: what ``toybox-t2v`` has is not kept twice, so they must stay together.
RUNS/fewstep has the LoRAs for four steps, RUNS/directories everything unpacked.
``--preset`` changes the defaults of a member, as measuring found them. No GPU is needed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filmgate.engine.checkpoints.packed import pack_directory
from filmgate.engine.models.vae import WanVae
from filmgate.training.distillation import FILE
from filmgate.training.export import Colours, FewStepFiles, colour_factors, write_directory
from filmgate.training.family import Sitting
from filmgate.training.members import CAMERA, DEEP, DENSE, I2V, PLAIN, T2V, TI2V, Member, smoke_clip
from filmgate.training.named import finished_files
from filmgate.training.records import load_tensors
from filmgate.training.stages import STAGES, finished


@dataclass(frozen=True)
class Sources:
    """Stages that a member is made of: its VAE, and the files of every transformer, later ones over earlier ones. A VAE
    whose decoder was trained further takes the place of the one that it began from: latents are the same."""

    member: Member
    experts: Mapping[str, tuple[str, ...]]
    vae: str = "vae"
    shipped: bool = True

    @property
    def stages(self) -> tuple[str, ...]:
        """All of them."""
        return (self.vae, "text", *(stage for stages in self.experts.values() for stage in stages))


DECODER = STAGES["decoder"]
_PAIR = {"high_noise": ("high_noise",), "low_noise": ("low_noise",)}
SOURCES = (
    Sources(T2V, _PAIR),
    Sources(I2V, _PAIR),
    Sources(CAMERA, {"high_noise": ("high_noise", "camera_high"), "low_noise": ("low_noise", "camera_low")}),
    Sources(TI2V, {"dense": ("ti2v",)}, "small_vae"),
    Sources(PLAIN, {"dense": ("plain",)}),
    Sources(DENSE, {"dense": ("dense",)}, shipped=False),
    Sources(DEEP, {"dense": ("deep",)}, shipped=False),
)
"""In their order: the first one is what the others borrow from. The last two are only measured against."""


def publish(
    runs: Path, presets: Mapping[str, Any], *, few_default: bool, have: Mapping[str, Path] | None = None,
    smoke: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Write and pack all members that can be; returns the bytes of those in RUNS/ship, by name.

    Args:
        presets: Fields to override, by member.
        have: Weights that are finished and lie elsewhere, by stage.
        few_default: Paint in four steps where nothing else is asked for.
    """
    home, ship = Sitting(runs, 0.0, {}, have or {}), runs / "ship"
    shutil.rmtree(ship, ignore_errors=True)
    ship.mkdir(parents=True)
    sizes: dict[str, int] = {}
    colours: dict[str, Colours] = {}
    for sources in SOURCES:
        member = replace(sources.member, clip=smoke_clip(sources.member)) if smoke else sources.member
        if not all(finished(STAGES[stage], home.progress(stage)) for stage in sources.stages):
            continue
        found = {stage: path for stage in sources.stages if (path := home.weights(stage)) is not None}
        if sources.vae == DECODER.needs[0][0] and finished(DECODER, home.progress(DECODER.name)):
            found[sources.vae] = home.weights(DECODER.name) or found[sources.vae]
        loras = {name: home.kept / FILE.format(name) for name in _PAIR}
        few = all(finished(STAGES[stage], home.progress(stage)) for stage in ("few_high", "few_low")) and member.pair
        output = runs / "directories" / member.name
        if sources.vae not in colours:
            colours[sources.vae] = _colours(
                member, found[sources.vae], home.kept / f"latents-{sources.vae}.safetensors"
            )
        write_directory(
            member, found[sources.vae], found["text"],
            {expert: [found[stage] for stage in stages] for expert, stages in sources.experts.items()},
            home.kept / f"latents-{sources.vae}.safetensors", output, preset=presets.get(member.name),
            few_step=FewStepFiles("lightning", loras, few_default) if few and sources.member in (T2V, I2V) else None,
            colours=colours[sources.vae],
        )  # fmt: skip
        if sources.shipped:
            lenders = [ship / T2V.name] if (ship / T2V.name).is_dir() else []
            pack_directory(output, ship / member.name, lenders=lenders)
            files = [path for path in (ship / member.name).rglob("*") if path.is_file()]
            sizes[member.name] = sum(path.stat().st_size for path in files)
    loose = runs / "fewstep"  # as measuring looks for them
    for lora in home.kept.glob(FILE.format("*")):
        loose.mkdir(exist_ok=True)
        shutil.copyfile(lora, loose / lora.name)
    return sizes


def _colours(member: Member, weights: Path, statistics: Path) -> Colours:
    vae, numbers = WanVae(member.vae), load_tensors(statistics)
    vae.load_state_dict(load_tensors(weights))
    return colour_factors(vae, numbers["latents_mean"], numbers["latents_std"], member.world, member.clip)


def main() -> None:
    """Command line: ``python -m filmgate.training.publishing RUNS``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--preset", type=json.loads, default={}, help='JSON, as {"toybox-t2v": {"guidance_high": 6}}')
    parser.add_argument("--few-step-default", action="store_true", help="paint in four steps unless told otherwise")
    parser.add_argument("--have", nargs="+", default=[], metavar="STAGE=FILE", help="finished weights from elsewhere")
    parser.add_argument("--smoke", action="store_true", help="of the tiny clips that trainings have with it")
    args = parser.parse_args()
    have = finished_files(args.have, "have")
    sizes = publish(args.runs, args.preset, few_default=args.few_step_default, have=have, smoke=args.smoke)
    for name, size in sizes.items():
        print(f"{name:<16} {size / 1e6:6.2f} MB")
    print(f"{'together':<16} {sum(sizes.values()) / 1e6:6.2f} MB")


if __name__ == "__main__":
    main()
