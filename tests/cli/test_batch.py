"""Batches and unfinished runs, as they are typed; over the fake backend."""

import json
from pathlib import Path

import pytest
from tests.takes import make_plan

from filmgate.cli.batch import read_batch
from filmgate.media.manifest import read_take
from filmgate.media.run_folder import RunNote, claim, folder_of
from filmgate.spec import FilmgateError, InvalidRequest, Request

BASE = Request(prompt="", steps=6, seed=1)


@pytest.fixture
def prompts(studio):
    path = Path("prompts.txt")
    path.write_text("a red ball\n\n# not this one\n  a blue cube  \n", encoding="utf-8")
    return path


def videos(folder="."):
    return sorted(path.name for path in Path(folder).glob("*.mp4"))


def test_lines_are_prompts_and_options_count_for_all(prompts):
    assert read_batch(prompts, BASE) == [
        Request(prompt=prompt, steps=6, seed=1) for prompt in ("a red ball", "a blue cube")
    ]


def test_lines_of_a_jsonl_are_requests_and_each_bad_one_says_where_it_is(tmp_path):
    file = tmp_path / "b.jsonl"
    lines = ['{"prompt": "a", "seed": 9}', '{"prompt": "b"', "[]", '{"prompt": "c", "sead": 3}', '{"seed": 1}']
    file.write_text("\n".join(lines))
    good, *bad = read_batch(file, BASE)
    assert good == Request(prompt="a", seed=9, steps=6)
    assert all(isinstance(error, InvalidRequest) for error in bad)
    assert [f"b.jsonl, line {number}" in str(error) for number, error in enumerate(bad, 2)] == [True] * 4
    assert "sead" in str(bad[2])
    assert "prompt" in str(bad[3])


@pytest.mark.parametrize("content", [None, b"", b"\n# only this\n", b"\xff\xfe\x00"])
def test_a_file_without_requests_is_refused(tmp_path, content):
    file = tmp_path / "b.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(FilmgateError, match=r"b\.txt"):
        read_batch(file, BASE)


def test_every_line_becomes_a_video_called_after_its_number_and_prompt(filmgate, prompts):
    Path("out").mkdir()
    result = filmgate("generate", "--batch", prompts, "-o", "out", "--sheet", "--preview-every", 1)
    assert result.exit_code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        f"{name}.{suffix}" for name in ("001-a-red-ball", "002-a-blue-cube") for suffix in ("json", "mp4", "png")
    ]
    assert read_take(Path("out/002-a-blue-cube.mp4")).plan.prompt == "a blue cube"
    assert result.stdout.count("done") == 2
    assert "[2/2] Writing files" in result.stderr


def test_again_it_keeps_what_is_there_and_makes_what_is_missing(filmgate, prompts):
    filmgate("generate", "--batch", prompts)
    first = Path("001-a-red-ball.mp4")
    before = first.stat().st_mtime_ns
    Path("002-a-blue-cube.mp4").unlink()
    Path("002-a-blue-cube.json").unlink()
    result = filmgate("generate", "--batch", prompts)
    assert result.exit_code == 0
    assert "was done" in result.stdout
    assert first.stat().st_mtime_ns == before
    assert videos() == ["001-a-red-ball.mp4", "002-a-blue-cube.mp4"]


def test_a_video_of_another_plan_is_not_taken_for_the_wanted_one(filmgate, prompts):
    filmgate("generate", "--batch", prompts)
    result = filmgate("generate", "--batch", prompts, "--seed", 5)
    assert result.exit_code == 1
    assert result.stderr.count("exists already") == 2
    assert filmgate("generate", "--batch", prompts, "--seed", 5, "--overwrite").exit_code == 0
    assert read_take(Path("001-a-red-ball.mp4")).plan.seed == 5


def test_one_bad_request_loses_no_other_and_is_reported_in_the_end(filmgate, studio):
    Path("b.jsonl").write_text('{"prompt": "one"}\n{"prompt": ""}\nnot JSON\n{"prompt": "four"}\n')
    result = filmgate("generate", "--batch", "b.jsonl")
    assert result.exit_code == 1
    assert videos() == ["001-one.mp4", "004-four.mp4"]
    assert [line[:17] for line in result.stderr.splitlines()[-2:]] == ["Error: request 2:", "Error: request 3:"]
    assert result.stdout.count("FAILED") == 2


def test_as_json(filmgate, studio):
    Path("b.jsonl").write_text('{"prompt": "one"}\n{"prompt": ""}\n')
    result = filmgate("generate", "--batch", "b.jsonl", "--json", "--quiet")
    one, two = json.loads(result.stdout)["requests"]
    assert (one["take"]["plan"]["prompt"], one["error"]) == ("one", None)
    assert two["error"]["code"] == "InvalidRequest"
    assert two["take"] is None


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(filmgate, prompts, here):
    before = here()
    result = filmgate("generate", "--batch", prompts, "--dry-run")
    assert result.exit_code == 0
    assert here() == before
    assert result.stdout.count("to do") == 2
    assert "about 25 s" in result.stdout


def test_quiet(filmgate, prompts):
    result = filmgate("generate", "--batch", prompts, "--quiet")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "", 0)


def test_ctrl_c_says_how_to_go_on(filmgate, prompts, monkeypatch):
    def interrupt(_lines, _number, _progress):
        for run in Path("kept runs").iterdir():
            (run / "walk.safetensors").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("filmgate.cli.batch_display._Lines.__call__", interrupt)
    result = filmgate("generate", "--batch", prompts, "--state", "kept runs")
    assert result.exit_code == 130
    assert "What was done is kept" in result.stderr
    assert "`filmgate resume --state 'kept runs'`" in result.stderr
    assert "001-a-red-ball.mp4" in filmgate("resume", "--list", "--state", "kept runs").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is none"),
        (["a ball", "--batch", "prompts.txt"], "together with a batch"),
        (["--batch", "missing.txt"], "missing.txt"),
        (["--batch", "prompts.txt", "-o", "clip.mp4"], "not a directory"),
    ],
)
def test_what_makes_no_sense_is_exit_code_2(filmgate, prompts, arguments, words):
    result = filmgate("generate", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert videos() == []


# -------------------------------------------------------------------------------------------------------------- resume


@pytest.fixture
def unfinished(studio):
    """Runs of three prompts, as killed processes leave them; the third one is still being carried out."""
    folders = {}
    for prompt in ("one", "two", "held"):
        plan = make_plan(prompt=prompt)
        folders[prompt] = claim(folder_of(Path("state").absolute(), plan))
        note = RunNote(
            plan=plan, output=str(Path(f"{prompt}.mp4").absolute()), sheet=None, overwrite=False,
            workspace=str(Path(f".{prompt}.part").absolute()),
        )  # fmt: skip
        folders[prompt].write_note(note)
        Path(f".{prompt}.part").mkdir()
        if prompt != "held":
            folders[prompt].release()
    yield folders
    folders["held"].release()


def test_unfinished_runs_are_listed(filmgate, unfinished):
    result = filmgate("resume", "--list", "--state", "state")
    assert result.exit_code == 0
    assert [line.split()[-1] for line in result.stdout.splitlines()[:2]] == ["one", "two"]
    assert "held" not in result.stdout
    assert videos() == []


def test_unfinished_runs_are_finished_and_leave_nothing(filmgate, unfinished):
    assert filmgate("resume", "--state", "state").exit_code == 0
    assert videos() == ["one.mp4", "two.mp4"]
    assert sorted(path.name for path in Path().glob(".*.part")) == [".held.part"]
    assert [path.name for path in Path("state").iterdir()] == [unfinished["held"].path.name]
    assert filmgate("resume", "--state", "state").stdout == "Nothing is unfinished.\n"


def test_the_same_command_goes_on_with_the_name_that_was_begun(filmgate, unfinished):
    assert filmgate("generate", "one", "--state", "state", "--seed", 7).exit_code == 0
    assert videos() == ["one.mp4"]
    assert not Path(".one.part").exists()


def test_beside_a_running_process_it_says_so(filmgate, unfinished):
    result = filmgate("generate", "held", "--state", "state", "--seed", 7)
    assert result.exit_code == 0
    assert "Note: another process carries out the same plan" in result.stderr


def test_without_resuming_what_is_unfinished_is_left_alone(filmgate, unfinished):
    result = filmgate("generate", "two", "--state", "state", "--no-resume", "--seed", 7)
    assert result.exit_code == 0
    assert "Note" not in result.stderr
    assert (unfinished["two"].path / "run.json").exists()
