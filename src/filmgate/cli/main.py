"""The program ``filmgate``. Only typer is imported here: the help must appear at once."""

from __future__ import annotations

from typing import Annotated

import typer

from filmgate.cli.assess import assess
from filmgate.cli.batch import resume
from filmgate.cli.cost import cost
from filmgate.cli.doctor import doctor
from filmgate.cli.failure import reported
from filmgate.cli.fetch import fetch
from filmgate.cli.gate import calibrate, gate
from filmgate.cli.generate import generate
from filmgate.cli.interchange import export, import_
from filmgate.cli.lora import lora
from filmgate.cli.migrate import migrate
from filmgate.cli.models import inspect, models
from filmgate.cli.plan import plan
from filmgate.cli.rerun import rerun
from filmgate.cli.roadmap import roadmap
from filmgate.cli.roi import roi
from filmgate.cli.schema import schema
from filmgate.cli.train import train
from filmgate.cli.world import world

# Plain help and plain tracebacks: typer's coloured ones cost another 0.1 s at every start.
program = typer.Typer(
    name="filmgate",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: filmgate generate 'a red ball rolls to the right past a blue cube, sunset'",
)


def _examples(*commands: str) -> str:
    # \b keeps the lines apart when the help is wrapped
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


program.command(
    epilog=_examples(
        "filmgate generate 'a red ball rolls to the right past a blue cube, sunset'",
        "filmgate generate 'two green cones, night' --seed 7 --sheet -o cones.mp4",
        "filmgate generate 'a yellow cube, the camera orbits left' --steps 30 --json",
        "filmgate generate --request wish.json --seed 7",
        "filmgate generate --batch prompts.txt -o videos",
    )
)(reported(generate))
program.command(
    epilog=_examples(
        "filmgate plan 'a red ball rolls to the right'",
        "filmgate plan 'a red ball rolls to the right' --frames 17 --steps 10 --json",
        "filmgate plan 'a cat' --model ~/Wan2.2-T2V-A14B --device-profile rtx4090 --host-memory 64",
    )
)(reported(plan))
program.command(epilog=_examples("filmgate resume --list", "filmgate resume"))(reported(resume))
program.command(epilog=_examples("filmgate models", "filmgate models --json"))(reported(models))
program.command(epilog=_examples("filmgate fetch wan2.2-ti2v-5b --dry-run", "filmgate fetch Wan-AI/Wan2.1-T2V-1.3B"))(
    reported(fetch)
)
program.command(epilog=_examples("filmgate inspect clip.mp4", "filmgate inspect ~/Wan2.2-T2V-A14B"))(reported(inspect))
program.command(epilog=_examples("filmgate doctor"))(reported(doctor))
program.command(epilog=_examples("filmgate rerun clip.mp4", "filmgate rerun clip.mp4 --output again.mp4"))(
    reported(rerun)
)
program.command(
    name="import",
    epilog=_examples(
        "filmgate import workflow.json",
        "filmgate import -- python generate.py --task t2v-A14B --size '1280*720' --prompt 'a ball'",
    ),
)(reported(import_))
program.command(
    epilog=_examples("filmgate export request.json --to comfyui", "filmgate export request.json --to official")
)(reported(export))
program.command(
    epilog=_examples(
        "filmgate assess",
        "filmgate assess --videos 150 --quality commercial --card rtx4090 --card h100",
        "filmgate assess needs.toml --json",
    )
)(reported(assess))
program.command(
    epilog=_examples(
        "filmgate cost",
        "filmgate cost --usable 400 --set local-5b.machine.price=3200 --price runpod.pod.h100=2.40",
        "filmgate cost --option hosted:wan2.2-i2v-a14b/fal --option local:wan2.2-ti2v-5b@rtx4090 --html cost.html",
        "filmgate cost --from takes",
    )
)(reported(cost))
program.command(
    epilog=_examples(
        "filmgate roadmap --start 2026-12-01 -o roadmap.md",
        "filmgate roadmap --assessment assessment.json --prompts prompts.json -o roadmap.md --ical roadmap.ics",
    )
)(reported(roadmap))
program.command(epilog=_examples("filmgate calibrate", "filmgate calibrate ~/Wan2.2-T2V-A14B --size 480p"))(
    reported(calibrate)
)
program.command(
    epilog=_examples("filmgate gate --profile fast", "filmgate gate ~/Wan2.2-T2V-A14B --size 480p --profile balanced")
)(reported(gate))
program.command(epilog=_examples("filmgate schema", "filmgate schema request"))(reported(schema))
program.add_typer(roi)
program.add_typer(lora)
program.add_typer(migrate)
program.add_typer(train)
program.add_typer(world)


def _print_version(wanted: bool) -> None:
    if wanted:
        from filmgate import __version__

        print(f"filmgate {__version__}")
        raise typer.Exit


@program.callback()
def _filmgate(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turn a wish into a finished video with the open Wan 2.1 and Wan 2.2 models."""


def main() -> None:
    """Entry point of the console script."""
    program()
