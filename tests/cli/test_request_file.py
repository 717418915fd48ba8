"""``--request FILE`` of ``generate`` and ``plan``: what ``import`` prints can be run."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from filmgate.cli.batch import read_batch
from filmgate.cli.interchange import request_of
from filmgate.cli.main import program
from filmgate.cli.options import merge
from filmgate.spec import FilmgateError, InvalidRequest, LoraChoice, Request

OFFICIAL = ("generate.py", "--task", "t2v-A14B", "--prompt", "a red ball", "--base_seed", "7")


@pytest.fixture
def wish(studio):
    path = Path("wish.json")
    path.write_text(json.dumps({"prompt": "a ball", "seed": 7, "steps": 12, "negative": "bad", "preview_every": 2}))
    return path


def test_what_import_prints_is_planned_and_made_once_the_model_is_here(filmgate, studio):
    for name, more in (("plain.json", []), ("report.json", ["--json"])):
        Path(name).write_text(filmgate("import", *more, "--", *OFFICIAL).stdout)
        assert filmgate("plan", "--request", name).exit_code == 0
        asked = studio.requests[-1]
        assert (asked.prompt, asked.seed, asked.shift, asked.model) == ("a red ball", 7, 12.0, "wan2.2-t2v-a14b")
    refused = filmgate("generate", "-r", "plain.json")
    assert refused.exit_code == 2
    assert "filmgate fetch wan2.2-t2v-a14b" in refused.stderr, "it is planned from its description, and made when here"


def test_it_may_come_through_a_pipe(studio):
    result = CliRunner().invoke(program, ["plan", "--request", "-"], input='{"prompt": "a ball", "seed": 3}')
    assert (result.exit_code, studio.requests[-1].seed) == (0, 3)


def test_flags_beside_it_count_first_and_are_said(filmgate, wish, studio):
    result = filmgate("generate", "a cube", "--request", wish, "--seed", 9, "--steps", 12, "--shift", 3)
    assert result.exit_code == 0
    asked = studio.requests[-1]
    assert (asked.prompt, asked.seed, asked.steps, asked.shift) == ("a cube", 9, 12, 3.0)
    assert (asked.negative, asked.preview_every) == ("bad", 2)
    notes = [line for line in result.stderr.splitlines() if " in place of " in line]
    assert notes == ["Note: prompt: a cube in place of a ball", "Note: seed: 9 in place of 7"]


def test_nothing_can_be_asked_for(filmgate, wish, studio):
    result = filmgate("plan", "--request", wish, "--negative", "")
    assert (studio.requests[-1].negative, "negative: nothing in place of bad" in result.stderr) == ("", True)
    filmgate("generate", "--request", wish, "--preview-every", 0)
    assert studio.requests[-1].preview_every == 0


@pytest.mark.parametrize(("base", "flags", "size"), [
    ({"area": 9}, {"width": 4, "height": 2}, (4, 2, None)), ({"width": 4, "height": 2}, {"area": 9}, (None, None, 9)),
    ({"width": 4, "height": 2}, {"width": 6}, (6, 2, None)),
])  # fmt: skip
def test_a_size_replaces_one_in_the_other_form(base, flags, size):
    said = []
    found = merge(Request(prompt="a", **base), Request(prompt="", **flags), said=said.append)
    assert (found.width, found.height, found.area) == size
    assert said


def test_what_is_not_given_stays_and_memory_can_be_cleared():
    base = Request(prompt="a", memory="streamed", lora=(LoraChoice(path="a"),), references=("x",), seed=0)
    assert merge(base, Request(prompt=""), said=pytest.fail) == base
    said = []
    assert merge(base, Request(prompt=""), {"memory": None}, said=said.append).memory is None
    assert said == ["memory: nothing in place of streamed"]


@pytest.mark.parametrize("content", ["{", "[]", '{"promt": 1}', '{"prompt": "a", "steps": "x"}', None])
def test_a_file_that_is_no_request_is_exit_code_2(filmgate, studio, content, here):
    if content is not None:
        Path("wish.json").write_text(content)
    before = here()
    result = filmgate("generate", "--request", "wish.json")
    assert (result.exit_code, result.stdout, here()) == (2, "", before)
    assert result.stderr.startswith("Error: ")


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_without_any_prompt_all_ways_are_named(filmgate, studio, command):
    result = filmgate(command)
    assert result.exit_code == 2
    assert "--request FILE" in result.stderr


def test_a_request_is_the_base_of_a_batch(filmgate, wish, studio):
    Path("b.txt").write_text("one\ntwo\n")
    assert filmgate("generate", "--request", wish, "--batch", "b.txt").exit_code == 0
    assert [(asked.prompt, asked.steps) for asked in studio.requests] == [("one", 12), ("two", 12)]


def test_a_batch_may_be_a_list_in_json(tmp_path):
    file = tmp_path / "b.json"
    file.write_text('[{"prompt": "a", "seed": 3}, {"prompt": 4}, "b"]')
    good, *bad = read_batch(file, Request(prompt="", steps=6))
    assert good == Request(prompt="a", seed=3, steps=6)
    assert [f"b.json, entry {number}" in str(error) for number, error in enumerate(bad, 2)] == [True, True]


@pytest.mark.parametrize(("content", "words"), [
    ('{"prompt": "a"}', "--request FILE"), ("[]", "no requests"), ("a ball", "not JSON"), ("4", "no requests"),
])  # fmt: skip
def test_a_json_that_is_no_list_is_refused(tmp_path, content, words):
    file = tmp_path / "b.json"
    file.write_text(content)
    with pytest.raises(InvalidRequest, match=words):
        read_batch(file, Request(prompt=""))
    assert issubclass(InvalidRequest, FilmgateError)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": "a", "stepz": 3}, r"request: there is no field of a request named 'stepz'.*Nearest valid: steps"),
        ({"1": {"class_type": "KSampler"}}, "request: there is no field of a request named '1'"),
        ({"prompt": "a", "steps": "many"}, r"steps: request: .*valid integer.*, and it is 'many'"),
        ({"steps": 3}, "prompt: request: Field required"),
        ({"prompt": "a", "lora": [{"path": 3}]}, r"lora\.0\.path: request: .*, and it is 3"),
        (["a"], "request: it is not an object"),
    ],
)
def test_the_field_at_fault_is_named(fields, words):
    with pytest.raises(InvalidRequest, match=words):
        request_of(fields)
    with pytest.raises(InvalidRequest, match=words.replace("request: ", "b.json, entry 2: ")):
        request_of(fields, "b.json, entry 2")
