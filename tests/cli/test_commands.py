"""Whole commands, over the fake backend."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from filmgate.app.places import default_cache
from filmgate.backends import fake
from filmgate.backends.fake import stripes
from filmgate.cli.models import is_take
from filmgate.media.manifest import read_take
from filmgate.spec import OutputError, Plan, Take


def test_generate_needs_nothing_but_a_prompt(filmgate, here):
    result = filmgate("generate", "A red ball")
    assert result.exit_code == 0
    assert here() == {"a-red-ball.mp4", "a-red-ball.json"}
    assert "a-red-ball.mp4" in result.stdout
    assert "a-red-ball.json" in result.stdout
    assert "Denoising: 4/4" in result.stderr


def test_the_same_command_again_keeps_the_first_video(filmgate, here):
    filmgate("generate", "a ball")
    filmgate("generate", "a ball")
    assert here() == {"a-ball.mp4", "a-ball.json", "a-ball-2.mp4", "a-ball-2.json"}


def test_generate_writes_a_sheet_on_request_and_says_where(filmgate, here):
    result = filmgate("generate", "a ball", "--output", "clip.mp4", "--sheet")
    assert here() == {"clip.mp4", "clip.json", "clip.png"}
    assert "clip.png" in result.stdout


def test_a_given_name_must_be_free_or_come_with_overwrite(filmgate):
    assert filmgate("generate", "a ball", "-o", "clip.mp4").exit_code == 0
    again = filmgate("generate", "a ball", "-o", "clip.mp4", "--seed", 9)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert filmgate("generate", "a ball", "-o", "clip.mp4", "--seed", 9, "--overwrite").exit_code == 0
    assert read_take(Path("clip.mp4")).plan.seed == 9


def test_every_option_reaches_the_request(filmgate, studio):
    options = (
        "--model tiny --size 64x32 --frames 9 --fps 24 --steps 6 --shift 3.5 --guidance-high 4 --guidance-low 3 "
        "--boundary 0.9 --solver euler --seed 5 --negative blur --precision bf16 --device cpu --preview-every 2 "
        "--image a.png --last-image b.png --video c.mp4 --strength 0.5 --mask m.png --keep start --reference r.png "
        "--reference s.png --control-scale 0.5 --camera path.txt --lora a.pt --lora b.pt:0.5 --lora-high h.pt "
        "--lora-low l.pt:2 --distilled lightning --guidance-method apg --guidance-interval 0.2 0.9 --memory streamed "
        "--weights fp8 --text-encoder cpu --vae-tile 256 --profile plain --attention torch "
        "--vae-precision bf16 --gpus 2"
    )
    assert filmgate("generate", "a ball", *options.split()).exit_code == 0
    [request] = studio.requests
    assert request.model_dump() == {
        "prompt": "a ball", "negative": "blur", "model": "tiny", "width": 64, "height": 32, "area": None, "frames": 9,
        "fps": 24, "image": "a.png", "last_image": "b.png", "video": "c.mp4", "strength": 0.5, "mask": "m.png",
        "keep": "start", "references": ("r.png", "s.png"), "control_scale": 0.5, "camera": "path.txt",
        "lora": ({"path": "a.pt", "strength": 1.0}, {"path": "b.pt", "strength": 0.5}),
        "lora_high": ({"path": "h.pt", "strength": 1.0},), "lora_low": ({"path": "l.pt", "strength": 2.0},),
        "distilled": "lightning", "guidance_method": "apg", "guidance_interval": (0.2, 0.9),
        "steps": 6, "shift": 3.5, "solver": "euler", "guidance_high": 4.0, "guidance_low": 3.0, "boundary": 0.9,
        "seed": 5, "precision": "bf16", "device": "cpu", "preview_every": 2, "memory": "streamed", "weights": "fp8",
        "text_encoder": "cpu", "vae_tile": 256, "profile": "plain", "attention": "torch", "vae_precision": "bf16",
        "gpus": 2,
    }  # fmt: skip


def test_json_alone_is_on_standard_output(filmgate):
    result = filmgate("generate", "a zeppelin", "--json", "--sheet")
    document = json.loads(result.stdout)
    take = Take.model_validate(document["take"])
    files = [Path(document["directory"]) / file.path for file in take.files]
    assert all(file.is_file() for file in files)
    assert len(files) == 2
    assert "zeppelin" in result.stderr


def test_quiet_prints_nothing(filmgate):
    result = filmgate("generate", "a zeppelin", "--quiet")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "", 0)


def test_a_dry_run_prints_the_plan_and_writes_nothing(filmgate, here):
    result = filmgate("generate", "a ball", "--dry-run")
    assert here() == set()
    assert "high-noise" in result.stdout


def test_a_dry_run_finds_an_output_that_would_fail(filmgate):
    assert filmgate("generate", "a ball", "--dry-run", "-o", "nowhere/clip.mp4").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [""],
        ["a ball", "--size", "big"],
        ["a ball", "--solver", "magic"],
        ["a ball", "--keep", "middle"],
        ["a ball", "--steps", "many"],
        ["a ball", "--no-such-option"],
        ["a ball", "-o", "clip.avi"],
        ["a ball", "-o", "nowhere/clip.mp4"],
    ],
)
def test_bad_input_is_exit_code_2_with_words_and_no_files(filmgate, here, arguments):
    result = filmgate("generate", *arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert here() == set()


def test_ctrl_c_is_130_and_leaves_nothing(filmgate, studio, here):
    def interrupt(event):
        if event.kind == "progress" and event.stage == "decode":
            raise KeyboardInterrupt

    studio.interfere = staticmethod(interrupt)
    result = filmgate("generate", "a ball", "--sheet")
    assert result.exit_code == 130
    assert here() == set()


def keeping(studio, failure):
    """A backend's state appears with the first step, and then it ends in ``failure``."""

    def interfere(event):
        if event.kind == "progress" and event.stage == "denoise":
            (runs,) = (default_cache() / "runs").iterdir()
            (runs / "walk.safetensors").touch()
            raise failure

    studio.interfere = staticmethod(interfere)


@pytest.mark.parametrize(("options", "command"), [([], "`filmgate resume`"), (["--no-resume"], None)])
def test_ctrl_c_says_how_to_go_on_where_something_is_kept(filmgate, studio, monkeypatch, tmp_path, options, command):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if options:
        studio.interfere = staticmethod(interrupted)
    else:
        keeping(studio, KeyboardInterrupt())
    result = filmgate("generate", "a ball", *options)
    assert result.exit_code == 130
    assert "Cancelled" in result.stderr
    assert (command or "Cancelled") in result.stderr
    assert ("kept" in result.stderr) == (command is not None)
    studio.interfere = None
    listed = filmgate("resume", "--list").stdout
    assert ("a-ball.mp4" in listed) == (command is not None)


def interrupted(event):
    if event.kind == "progress":
        raise KeyboardInterrupt


def test_an_output_that_nobody_can_write_leaves_no_unfinished_run(filmgate, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("filmgate.media.deliver._probe", refusing)
    result = filmgate("generate", "a ball", "-o", "clip.mp4")
    assert result.exit_code == 2
    assert "clip.mp4 cannot be written" in result.stderr
    assert filmgate("resume", "--list").stdout == "Nothing is unfinished.\n"
    assert not (tmp_path / "cache").exists()


def refusing(path):
    raise OutputError(f"{path} cannot be written: Operation not permitted")


def test_previews_are_kept_up_to_date_and_taken_away(filmgate, studio, here):
    seen = []
    steps = lambda event: event.kind == "progress" and event.stage == "denoise"  # noqa: E731
    studio.interfere = staticmethod(lambda event: steps(event) and seen.append("a-ball.preview.png" in here()))
    filmgate("generate", "a ball", "--preview-every", 2)
    assert seen == [False, False, True, True]
    assert here() == {"a-ball.mp4", "a-ball.json"}


def test_plan_says_what_would_be_done(filmgate, here):
    result = filmgate("plan", "a zeppelin")
    assert result.exit_code == 0
    for fact in (
        "tiny",
        "48x32, 5 frames at 12 fps",
        "2 high-noise, guidance 3.5",
        "2 low-noise, guidance 3",
        "5.0 MiB",
    ):
        assert fact in result.stdout
    assert "12 s" in result.stdout
    assert "'zeppelin'" in result.stdout
    assert here() == set()


def test_a_plan_as_json_is_a_plan(filmgate):
    assert Plan.model_validate_json(filmgate("plan", "a ball", "--json").stdout).prompt == "a ball"


def test_models_are_listed(filmgate):
    first, rest = filmgate("models").stdout.split("\n\n", 1)
    assert first == "tiny  wan2.2-t2v-a14b  t2v  2 experts  80 B  A tiny model"
    assert rest.startswith("Published models that are not here")
    assert json.loads(filmgate("models", "--json").stdout)[0]["id"] == "tiny"


def test_inspect_tells_how_a_video_was_made(filmgate):
    filmgate("generate", "a ball", "-o", "clip.mp4", "--seed", 5)
    for name in ("clip.mp4", "clip.json"):
        result = filmgate("inspect", name)
        assert result.exit_code == 0
        assert "a ball" in result.stdout
        assert read_take(Path(name)).frames_sha256 in result.stdout
        assert json.loads(filmgate("inspect", name, "--json").stdout)["plan"]["seed"] == 5


def test_inspect_tells_what_a_weight_file_holds(filmgate):
    save_file({"some.weight": np.zeros((2, 3), np.float32)}, "some.safetensors")
    result = filmgate("inspect", "some.safetensors")
    assert result.exit_code == 0
    assert "some.safetensors" in result.stdout
    [network] = json.loads(filmgate("inspect", "some.safetensors", "--json").stdout)["networks"]
    assert network["parameters"] == 6


def test_inspect_of_an_index_is_about_its_checkpoint():
    assert not is_take(Path("diffusion_pytorch_model.safetensors.index.json"))


def test_inspect_of_a_damaged_file_is_exit_code_2(filmgate):
    Path("some.safetensors").write_bytes(b"not a checkpoint")
    result = filmgate("inspect", "some.safetensors")
    assert result.exit_code == 2
    assert "some.safetensors" in result.stderr


def test_inspect_of_nothing_is_exit_code_2(filmgate):
    for name in ("nothing.mp4", "nothing.safetensors", "nothing"):
        assert filmgate("inspect", name).exit_code == 2


def test_rerun_of_the_same_is_exact_and_leaves_nothing(filmgate, here):
    filmgate("generate", "a ball", "-o", "clip.mp4")
    before = here()
    result = filmgate("rerun", "clip.mp4")
    assert result.exit_code == 0
    assert result.stdout.startswith("Exact")
    assert here() == before


def test_rerun_keeps_the_repetition_on_request(filmgate, here):
    filmgate("generate", "a ball", "-o", "clip.mp4")
    assert filmgate("rerun", "clip.mp4", "--output", "again.mp4").exit_code == 0
    assert {"again.mp4", "again.json"} <= here()


def test_rerun_never_replaces_its_original(filmgate):
    filmgate("generate", "a ball", "-o", "clip.mp4")
    assert filmgate("rerun", "clip.mp4", "--output", "clip.mp4").exit_code == 2


def test_rerun_of_other_frames_is_exit_code_1(filmgate, monkeypatch):
    filmgate("generate", "a ball", "-o", "clip.mp4")
    monkeypatch.setattr(fake, "stripes", lambda plan, start, stop: 255 - stripes(plan, start, stop))
    result = filmgate("rerun", "clip.mp4", "--json")
    assert result.exit_code == 1
    verdict = json.loads(result.stdout)
    assert verdict["exact"] is False
    assert verdict["expected"] != verdict["found"]


def test_rerun_works_from_the_manifest_alone(filmgate):
    filmgate("generate", "a ball", "-o", "clip.mp4")
    Path("clip.mp4").unlink()
    assert filmgate("rerun", "clip.json").exit_code == 0


def test_the_version_is_the_packages(filmgate):
    from filmgate import __version__

    assert filmgate("--version").stdout == f"filmgate {__version__}\n"
