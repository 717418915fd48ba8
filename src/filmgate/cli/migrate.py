"""``filmgate migrate``: from Wan 2.1 to Wan 2.2, command by command."""

from __future__ import annotations

import typer

from filmgate.cli.failure import reported
from filmgate.cli.migrate_config import config

migrate = typer.Typer(
    name="migrate",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Bring prompts and settings of Wan 2.1 to Wan 2.2.",
)

migrate.command(
    epilog="\b\nExamples:\n  filmgate migrate config workflow.json -o request.json\n"
    "  filmgate migrate config -- python generate.py --task t2v-14B --size '832*480' --prompt 'a ball'"
)(reported(config))
