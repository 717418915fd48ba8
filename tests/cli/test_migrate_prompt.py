"""``filmgate migrate prompt``: one prompt or many, for people and for programs."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from tests.chat_server import chat_server
from typer.testing import CliRunner

import filmgate
from filmgate.cli.main import program
from filmgate.cli.migrate_display import describe
from filmgate.direction.migration.migrate import migrate

TOKENIZER = Path(filmgate.__file__).parent / "toybox" / "toybox-t2v" / "google" / "umt5-xxl" / "tokenizer.json"
GUIDE = "camera_movement: dolly_forward, speed: 2.5, lighting: key_light_45deg"
CLASHING = "time: day, time: night, subject: a cat"


def run(*arguments, text=None):
    return CliRunner().invoke(program, ["migrate", "prompt", *map(str, arguments)], input=text)


def test_the_prompt_goes_to_standard_output_and_the_account_to_standard_error():
    made = run(GUIDE)
    assert (made.exit_code, made.stdout) == (0, "Side lighting. The camera quickly dollies forward.\n")
    assert "Incomplete: subject, scene, action" in made.stderr
    for word in ("dolly_forward", "quickly", "on an assumed"):
        assert word in made.stderr
    assert run(GUIDE, "--quiet").stderr == ""


def test_from_a_file_and_from_standard_input(tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text("\ufeff" + GUIDE, encoding="utf-8")
    assert run("--file", file).stdout == run("-", text=GUIDE).stdout == run(GUIDE).stdout


def test_as_json_everything_is_there():
    made = json.loads(run(GUIDE, "--json").stdout)
    assert made["text"] == "Side lighting. The camera quickly dollies forward."
    assert made["missing"] == ["subject", "scene", "action"]
    assert made["ledger"]["entries"][0]["fate"] == "kept_exact"
    assert made["vocabulary"]


def test_defaults_profile_language_and_model():
    assert run(GUIDE, "--subject", "a red ball", "--scene", "on grass", "--action", "rolls", "-q").stdout == (
        "Side lighting. A red ball rolls on grass. The camera quickly dollies forward.\n"
    )
    assert run(GUIDE, "--image-to-video", "-q").stdout == "The camera quickly dollies forward.\n"
    assert run(GUIDE, "--language", "zh", "-q").stdout == "侧光。镜头快速地向前推进。\n"
    five = json.loads(run("subject: a cat, duration: 5s", "--model", "wan2.2-ti2v-5b", "--json").stdout)
    assert five["request"]["frames"] == 121


def test_contradictions_stop_with_an_account_and_a_way_out():
    stopped = run(CLASHING)
    assert (stopped.exit_code, stopped.stdout) == (2, "")
    assert "--conflicts first, last or sequence" in stopped.stderr
    assert run(CLASHING, "--conflicts", "last", "-q").stdout == "Night time. A cat.\n"
    account = run(CLASHING, "--json")
    assert account.exit_code == 2
    found = json.loads(account.stdout)
    assert (found["status"], found["conflicts"][0]["texts"]) == ("conflict", ["day", "night"])
    assert {entry["fate"] for entry in found["ledger"]["entries"]} == {"conflict", "dropped"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "exactly one"),
        ((GUIDE, "--batch", "x.txt"), "exactly one"),
        (("--file", "missing.txt"), "cannot be read"),
        (("--batch", "missing.csv"), "cannot be read"),
        ((GUIDE, "--output", "x.csv"), "--batch"),
        ((GUIDE, "--model", "wan9"), "no published model"),
        ((GUIDE, "--conflicts", "maybe"), "no policy"),
        ((GUIDE, "--from", "keyvalue"), "key_value"),
        ((GUIDE, "--language", "de"), "en, zh"),
        ((GUIDE, "--assist", "improve"), "extract"),
        ((GUIDE, "--assist", "realise", "--endpoint", "localhost"), "address"),
        ((GUIDE, "--tokenizer", "missing"), "missing"),
        ((GUIDE, "--html", "no/such/place.html"), "cannot be written"),
        ((GUIDE, "--html", "/"), "cannot be written"),
    ],
)
def test_errors_are_clear(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = run(*arguments)
    assert made.exit_code == 2
    assert words in made.stderr
    assert made.stdout == ""


def test_html(tmp_path):
    page = tmp_path / "page.html"
    assert run(GUIDE, "--html", page).exit_code == 0
    assert "dolly_forward" in page.read_text(encoding="utf-8")


def test_a_table_keeps_its_columns(tmp_path):
    source, target, page = tmp_path / "prompts.csv", tmp_path / "new.csv", tmp_path / "new.html"
    rows = [{"id": "1", "text": GUIDE}, {"id": "2", "text": 'A cat, "asleep"\non grass.'}, {"id": "3", "text": " "}]
    with source.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"])
        writer.writeheader()
        writer.writerows(rows)
    made = run("--batch", source, "--column", "text", "--output", target, "--html", page)
    assert made.exit_code == 0
    assert "3 lines: 1 unchanged, 1 incomplete, 1 empty; mean coverage 100.0%" in made.stderr
    assert "Incomplete: prompt 1: subject, scene, action" in made.stderr
    found = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
    assert [(row["id"], row["status"]) for row in found] == [("1", "incomplete"), ("2", "unchanged"), ("3", "empty")]
    assert found[0]["prompt"] == "Side lighting. The camera quickly dollies forward."
    assert found[1]["prompt"] == found[1]["source"] == rows[1]["text"]
    assert "2. " in page.read_text(encoding="utf-8")


def test_json_lines_and_text(tmp_path):
    objects, lines = tmp_path / "p.jsonl", tmp_path / "p.txt"
    objects.write_text(json.dumps({"prompt": "subject: a cat, seed: 7", "shot": 3}) + "\n\n" + json.dumps(GUIDE) + "\n")
    lines.write_text("subject: a cat\n\nA dog runs.\n")
    target = tmp_path / "new.jsonl"
    assert run("--batch", objects, "--output", target).exit_code == 0
    first, second = map(json.loads, target.read_text().splitlines())
    assert (first["shot"], first["settings"], second["status"]) == (3, {"seed": 7}, "incomplete")
    assert first["passed"]
    assert run("--batch", lines, "-q").stdout == "A cat.\n\nA dog runs.\n"
    plain = tmp_path / "new.txt"
    run("--batch", lines, "--output", plain)
    assert plain.read_text() == "A cat.\n\nA dog runs.\n"
    both = json.loads(run("--batch", lines, "--json").stdout)
    assert both["summary"]["prompts"] == 2
    assert [line["status"] for line in both["prompts"]] == ["incomplete", "empty", "unchanged"]


def test_a_batch_overwrites_no_column_and_says_what_a_text_file_has_no_place_for(tmp_path):
    source, target = tmp_path / "p.csv", tmp_path / "new.csv"
    source.write_text('prompt,status,source\n"subject: a cat; no people; seed: 3",approved,client\n')
    made = run("--batch", source, "--output", target)
    (row,) = csv.DictReader(io.StringIO(target.read_text()))
    assert (row["status"], row["source"]) == ("approved", "client")
    assert (row["migrated_status"], row["prompt"]) == ("incomplete", "A cat. Nobody is around.")
    assert "Not written" not in made.stderr
    assert "negative prompts or settings of 1 prompts" in run("--batch", source).stderr


def test_one_contradiction_does_not_stop_a_batch(tmp_path):
    lines, target = tmp_path / "p.txt", tmp_path / "new.txt"
    lines.write_text(f"A dog runs.\n{CLASHING}\nsubject: a cat\n")
    made = run("--batch", lines, "--output", target)
    assert made.exit_code == 1
    assert "Conflict: prompt 2" in made.stderr
    assert target.read_text() == "A dog runs.\n\nA cat.\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.csv", "id,text\n1,x\n", "no column named 'prompt'"),
        ("p.csv", "prompt\na,b,c\n", "more cells"),
        ("p.jsonl", "{broken\n", "line 1"),
        ("p.jsonl", '{"prompt": 3}\n', "line 1"),
        ("p.txt", "\n \n", "no prompts"),
        ("p.txt", "a cat\n", "known ending"),
    ],
)
def test_batches_that_cannot_be_read_write_nothing(name, content, words, tmp_path):
    source, target = tmp_path / name, tmp_path / "out.doc"
    source.write_text(content)
    made = run("--batch", source, "--output", target)
    assert made.exit_code == 2
    assert words in made.stderr
    assert list(tmp_path.iterdir()) == [source]


def test_a_language_model_may_help_and_its_failure_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("FILMGATE_LANGUAGE_MODEL_KEY", "secret")
    with chat_server() as address:
        help_ = ("--assist", "realise", "--endpoint", address, "--language-model")
        made = run(GUIDE, *help_, "honest")
        assert made.stdout == "Side lighting, while the camera quickly dollies forward.\n"
        assert "was used to realise" in made.stderr
        refused = run(GUIDE, *help_, "inventing")
        assert refused.stdout == "Side lighting. The camera quickly dollies forward.\n"
        assert "'executive' was added" in refused.stderr
        lines = tmp_path / "p.txt"
        lines.write_text(f"{GUIDE}\n{GUIDE}\n")
        batch = json.loads(run("--batch", lines, "--json", *help_, "inventing").stdout)
        assert "language model not used" in batch["prompts"][1]["notes"][-1]
        enriched = json.loads(run(GUIDE, "--json", "--assist", "enrich", *help_[2:], "honest").stdout)
        assert enriched["added"] == ["dust", "glitter"]


def test_long_prompts_are_counted_with_the_tokenizer_of_a_fetched_model(tmp_path, monkeypatch):
    monkeypatch.setenv("FILMGATE_MODELS", str(tmp_path))
    text = "a red ball " * 300
    assert "about " in run(text).stderr
    place = tmp_path / "Wan2.2-T2V-A14B" / "google" / "umt5-xxl"
    place.mkdir(parents=True)
    shutil.copy(TOKENIZER, place)
    assert "901 tokens" in run(text).stderr
    assert "about 6 tokens" in run("a red ball").stderr
    assert "4 tokens" in run("a red ball", "--tokenizer", place).stderr


def test_what_the_audit_objects_to_is_shown():
    made = migrate(GUIDE)
    ledger = made.ledger.model_copy(
        update={"invented": ("executive",), "faults": ("shot[0]: 'wide' is not in the text",)}
    )
    stream = io.StringIO()
    describe(made.model_copy(update={"ledger": ledger}), stream)
    assert "Audit: 'executive' comes from nowhere" in stream.getvalue()
    assert "Audit: shot[0]: 'wide' is not in the text" in stream.getvalue()
    assert "invented 1 word;" in stream.getvalue()
