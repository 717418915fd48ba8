"""Every command and option, frozen: growing or changing the surface must show in a diff of this file."""

import pytest
from typer.main import get_command

from filmgate.cli.main import program

REQUEST = {
    "prompt", "--request -r", "--model -m", "--image -i", "--last-image", "--video", "--strength", "--mask", "--keep",
    "--reference", "--control-scale", "--camera", "--size -s", "--width", "--height", "--frames -f", "--fps",
    "--steps", "--shift", "--guidance -g", "--guidance-high", "--guidance-low", "--boundary", "--guidance-method",
    "--guidance-interval", "--distilled", "--lora", "--lora-high", "--lora-low", "--solver", "--seed", "--negative -n",
    "--precision", "--device", "--memory", "--weights", "--text-encoder", "--vae-tile", "--profile", "--attention",
    "--vae-precision", "--gpus",
}  # fmt: skip

SETTING = {
    "--size -s", "--frames -f", "--steps", "--shift", "--guidance -g", "--guidance-high", "--guidance-low",
    "--boundary", "--guidance-interval", "--solver", "--distilled", "--precision", "--device",
}  # fmt: skip

RECKONING = {
    "--usable", "--seconds", "--resolution", "--option", "--scenario", "--from", "--set", "--prices", "--price",
    "--exchange", "--date", "--html", "--pictures", "--json",
}  # fmt: skip

SURFACE = {
    "": {"--version"},
    "generate": {
        *REQUEST, "--output -o", "--batch", "--sheet", "--preview-every", "--overwrite", "--state", "--resume",
        "--dry-run", "--json", "--quiet -q",
    },
    "resume": {"--list", "--state", "--json", "--quiet -q"},
    "plan": {*REQUEST, "--device-profile", "--host-memory", "--measure", "--json"},
    "models": {"--json"},
    "fetch": {"model", "--revision", "--dry-run", "--json", "--quiet -q"},
    "inspect": {"path", "--json"},
    "doctor": {"--json"},
    "rerun": {"file", "--output -o", "--model -m", "--overwrite", "--json", "--quiet -q"},
    "import": {"source", "--from", "--json"},
    "export": {"request", "--to", "--variant", "--json"},
    "cost": {*RECKONING, "--list-prices"},
    "roi": {
        *RECKONING, "--baseline", "--candidate", "--claimed-months", "--staff", "--draws", "--seed", "--sobol",
        "--drivers",
    },
    "roi audit": {
        "claims", "--months", "--volume", "--cost", "--before", "--after", "--prices", "--price", "--date", "--html",
        "--json",
    },
    "schema": {"noun"},
    "calibrate": {"model", *SETTING, "--prompts", "--json", "--quiet -q"},
    "gate": {"model", *SETTING, "--profile", "--prompts", "--readers", "--clips", "--dry-run", "--json", "--quiet -q"},
    "lora": set(),
    "lora inspect": {"path", "--model -m", "--json"},
    "assess": {
        "file", "--videos", "--kind", "--resolution", "--seconds", "--quality", "--motion", "--usable-rate",
        "--few-steps", "--deadline", "--privacy", "--region", "--budget", "--growth", "--peak", "--hours", "--desktop",
        "--card", "--now-model", "--now-card", "--ask", "--no-machine", "--disk", "--prices", "--price", "--date",
        "--save", "--markdown", "--html", "--json",
    },
    "roadmap": {
        "--assessment", "--prompts", "--config", "--costs", "--hourly", "--start", "--date", "--output -o", "--earlier",
        "--gantt", "--ical", "--csv", "--html", "--json",
    },
    "migrate": set(),
    "migrate config": {"source", "--from", "--variant", "--to", "--output -o", "--markdown", "--html", "--json"},
    "migrate prompt": {
        "text", "--file -f", "--batch", "--column", "--output -o", "--html", "--model -m", "--image-to-video",
        "--conflicts", "--from", "--language", "--subject", "--scene", "--action", "--tokenizer", "--assist",
        "--endpoint", "--language-model", "--json", "--quiet -q",
    },
    "train": set(),
    "train lora": {
        "clips", "--model -m", "--output -o", "--name", "--config -c", "--rank", "--alpha", "--target", "--expert",
        "--steps", "--batch", "--rate", "--seed", "--dialect", "--set", "--device", "--cache", "--resume", "--dry-run",
        "--json", "--quiet -q",
    },
    "train toybox": {"stage"},
    "world": set(),
    "world render": {"--seed", "--count", "--world", "--look", "--output -o", "--json"},
}  # fmt: skip


def walk(command, name=""):
    yield name, command
    for child, entry in getattr(command, "commands", {}).items():
        yield from walk(entry, f"{name} {child}".strip())


COMMANDS = dict(walk(get_command(program)))


def test_the_commands_are_these():
    assert set(COMMANDS) == set(SURFACE)


@pytest.mark.parametrize("name", SURFACE)
def test_the_options_of_a_command_are_these(name):
    found = {
        " ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name
        for parameter in COMMANDS[name].params
    }
    assert found == SURFACE[name]


@pytest.mark.parametrize("name", SURFACE)
def test_every_option_says_what_it_is(name):
    assert COMMANDS[name].help
    assert [p.name for p in COMMANDS[name].params if not p.help] == []


@pytest.mark.parametrize("name", [name for name in SURFACE if name not in ("", "world", "lora", "migrate", "train")])
def test_every_help_has_an_example_of_its_command(name):
    assert f"filmgate {name}" in COMMANDS[name].epilog
