"""Captions in the forms of the public trainers: read, or refused by file and line."""

import json

import pytest

from filmgate.spec import DamagedFile, InvalidRequest
from filmgate.training.lora.captions import captions_of, read_tables, remedy

TABLES = {
    "Hugging Face, jsonl": ("metadata.jsonl", '{"file_name": "a.mp4", "text": "a red ball"}\n\n'),
    "musubi-tuner": ("metadata.jsonl", '{"video_path": "a.mp4", "caption": "a red ball"}\n'),
    "musubi-tuner, pictures": ("metadata.jsonl", '{"image_path": "a.mp4", "caption": "a red ball"}\n'),
    "Hugging Face, csv": ("metadata.csv", "file_name,text\na.mp4,a red ball\n"),
    "DiffSynth": ("metadata.csv", 'video,prompt\na.mp4,"a red ball"\n'),
    "diffusion-pipe": ("captions.json", '{"a.mp4": ["a red ball"]}'),
    "diffusion-pipe, one": ("captions.json", '{"a.mp4": " a red ball "}'),
    "with a mark in front": ("metadata.csv", "\ufefffile_name,text\na.mp4,a red ball\n"),
    "a text beside it": ("a.txt", "a red ball\n"),
    "rendered world": ("a.json", '{"caption": "a red ball", "fps": 12}'),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_caption_is_found_in_every_form(name, tmp_path):
    file, content = TABLES[name]
    (tmp_path / file).write_text(content, encoding="utf-8")
    assert captions_of(tmp_path / "a.mp4", read_tables(tmp_path)) == ("a red ball",)


def test_several_captions_of_a_clip_are_kept_and_empty_ones_are_none(tmp_path):
    (tmp_path / "captions.json").write_text(json.dumps({"a.mp4": ["one", " ", "two"], "b.mp4": [" "]}))
    tables = read_tables(tmp_path)
    assert captions_of(tmp_path / "a.mp4", tables) == ("one", "two")
    assert captions_of(tmp_path / "b.mp4", tables) == ()
    assert captions_of(tmp_path / "c.mp4", tables) == ()


def test_a_text_beside_a_clip_counts_before_a_table(tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.mp4", "text": "of the table"}')
    (tmp_path / "a.txt").write_text("of the text")
    assert captions_of(tmp_path / "a.mp4", read_tables(tmp_path)) == ("of the text",)


def test_what_a_rendered_world_says_counts_before_a_text_which_may_be_its_cameras_path(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.9 1.6 0.5 0.5 0 0 1 0 0 0\n1 0.9 1.6 0.5 0.5 0 0 1 0 0 0\n")
    assert captions_of(tmp_path / "a.mp4", {}) == ()
    (tmp_path / "a.json").write_text('{"caption": "a red ball"}')
    assert captions_of(tmp_path / "a.mp4", {}) == ("a red ball",)


def test_a_clip_in_another_folder_is_named_by_its_path(tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "videos/a.mp4", "text": "a red ball"}')
    assert captions_of(tmp_path / "videos" / "a.mp4", read_tables(tmp_path)) == ("a red ball",)


@pytest.mark.parametrize(
    ("file", "content", "error", "says"),
    [
        ("metadata.jsonl", '{"file_name": "a.mp4", "text": "x"}\nnonsense\n', DamagedFile, "line 2 is not JSON"),
        ("metadata.jsonl", "[1]\n", DamagedFile, "line 1 is not an object"),
        ("metadata.jsonl", '{"text": "x"}\n', InvalidRequest, "line 1 names no file"),
        ("metadata.csv", "file_name,words\na.mp4,x\n", InvalidRequest, "line 2 names no caption"),
        ("captions.json", '{"a.mp4": [1]}', DamagedFile, "a text or a list of texts"),
        ("captions.json", "[]", DamagedFile, "not an object"),
        ("captions.json", "{", DamagedFile, "not JSON"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(file, content, error, says, tmp_path):
    (tmp_path / file).write_text(content)
    with pytest.raises(error, match=says) as caught:
        read_tables(tmp_path)
    assert file in str(caught.value)


def test_a_text_in_another_code_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DamagedFile, match=r"a\.txt: not a text in UTF-8"):
        captions_of(tmp_path / "a.mp4", {})


def test_the_remedy_can_be_copied(tmp_path):
    (tmp_path / "metadata.jsonl").write_text(remedy(tmp_path / "a.mp4").split("line ")[1].split(" in metadata")[0])
    assert captions_of(tmp_path / "a.mp4", read_tables(tmp_path)) == ("what it shows",)
