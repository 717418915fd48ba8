"""Where videos go."""

from pathlib import Path

import pytest

from filmgate.cli.output import choose_output, slug


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red ball, rolling!", "a-red-ball-rolling"),
        ("../../etc/passwd", "etc-passwd"),
        ("Ein grüner Würfel", "ein-grüner-würfel"),
        ("红色的球", "红色的球"),
        ("!!!", "video"),
        ("x" * 300, "video"),
        ("CON.txt: _a_", "con-txt-a"),
    ],
)
def test_a_name_is_made_of_the_first_words(prompt, name):
    assert slug(prompt) == name


def test_a_long_prompt_gives_whole_words_of_bounded_length():
    name = slug("a red ball rolls to the right past a blue cube while the camera slowly dollies in")
    assert len(name) <= 60
    assert name == "a-red-ball-rolls-to-the-right-past-a-blue-cube"


def test_our_own_names_never_collide(tmp_path):
    first = choose_output(tmp_path, "a ball", overwrite=False)
    first.touch()
    second = choose_output(tmp_path, "a ball", overwrite=False)
    second.touch()
    third = choose_output(tmp_path, "a ball", overwrite=False)
    assert [path.name for path in (first, second, third)] == ["a-ball.mp4", "a-ball-2.mp4", "a-ball-3.mp4"]
    assert choose_output(tmp_path, "a ball", overwrite=True) == first


def test_no_output_means_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert choose_output(None, "a ball", overwrite=False) == Path("a-ball.mp4")


@pytest.mark.parametrize("neighbour", ["a-ball.json", "a-ball.png"])
def test_our_own_names_leave_other_files_alone(tmp_path, neighbour):
    (tmp_path / neighbour).touch()
    assert choose_output(tmp_path, "a ball", overwrite=False).name == "a-ball-2.mp4"


def test_a_name_that_is_given_is_kept(tmp_path):
    (tmp_path / "clip.mp4").touch()
    assert choose_output(tmp_path / "clip.mp4", "a ball", overwrite=False) == tmp_path / "clip.mp4"
