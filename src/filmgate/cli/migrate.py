"""``filmgate migrate``: the way from Wan 2.1 to Wan 2.2."""

from __future__ import annotations

import typer

from filmgate.cli.failure import reported
from filmgate.cli.migrate_config import config
from filmgate.cli.migrate_prompt import prompt

migrate = typer.Typer(
    name="migrate", no_args_is_help=True, rich_markup_mode=None, help="Take a team's work from Wan 2.1 to Wan 2.2."
)
migrate.command(
    epilog="\b\nExamples:\n"
    "  filmgate migrate prompt 'camera_movement: dolly_forward, speed: 2.5, lighting: key_light_45deg'\n"
    "  filmgate migrate prompt --file prompt.json --json\n"
    "  filmgate migrate prompt --batch prompts.csv --output migrated.csv --html migrated.html"
)(reported(prompt))
migrate.command(
    epilog="\b\nExamples:\n  filmgate migrate config workflow.json -o request.json\n"
    "  filmgate migrate config -- python generate.py --task t2v-14B --size '832*480' --prompt 'a ball'"
)(reported(config))
