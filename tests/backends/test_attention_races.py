"""Winners of races of attention: remembered by card and versions, and no reason for a video to fail."""

import json

import pytest

from filmgate.backends.attention_races import FILE, known_races, read_races
from filmgate.engine.runtime.attention_race import Race

GPU = "NVIDIA H200, torch 2.11.0, cuDNN 91900, flash-attn-4 4.0.0"
WON = Race("cudnn", {"cudnn": 0.1, "torch": 0.2}, {"flash4": "it is not installed"})


def test_a_machine_remembers_who_won(tmp_path):
    known_races(tmp_path / "new", GPU).settle("[1, 2] to [1, 2] in bfloat16", WON)
    assert known_races(tmp_path / "new", GPU).winners == {"[1, 2] to [1, 2] in bfloat16": "cudnn"}
    known_races(tmp_path / "new", GPU).settle("[3, 4] to [3, 4] in bfloat16", WON._replace(winner="torch"))
    assert set(known_races(tmp_path / "new", GPU).winners.values()) == {"cudnn", "torch"}
    assert known_races(tmp_path / "new", GPU.replace("H200", "L40S")).winners == {}
    assert list(read_races(tmp_path / "new")) == [GPU]


def test_other_ranks_read_and_do_not_write(tmp_path):
    races = known_races(tmp_path, GPU, keeps=False)
    races.settle("a", WON)
    assert races.told()
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("text", ["", "{", json.dumps({"a card": {"a shape": "sage"}})])
def test_a_damaged_file_is_as_none(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    races = known_races(tmp_path, GPU)
    assert races.winners == {}
    races.settle("a", WON)
    assert known_races(tmp_path, GPU).winners == {"a": "cudnn"}


def test_a_cache_that_cannot_be_written_spoils_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    races = known_races(tmp_path / "file" / "cache", GPU)
    races.settle("a", WON)
    assert races.winners == {"a": "cudnn"}


def test_where_there_is_one_kernel_or_no_place_nothing_is_kept(tmp_path):
    assert known_races(tmp_path, None).keep is None
    assert known_races(None, GPU).keep is None
