"""Progress for people."""

import io
import sys

import pytest

from filmgate.cli.display import RenderFailed, describe, watch
from filmgate.spec import BackendError, Done, Failed, Preview, Progress, Started


class Terminal(io.StringIO):
    def isatty(self):
        return True


def steps(count):
    for done in range(1, count + 1):
        expert = "high_noise" if done < 2 else "low_noise"
        eta = 0.25 * (count - done)
        yield Progress(stage="denoise", done=done, total=count, seconds=0.25, eta_seconds=eta, expert=expert)


def events(take, *more):
    yield Started(plan=take.plan)
    yield from more
    yield from steps(3)
    yield Done(take=take)


def test_a_step_shows_expert_seconds_and_eta():
    first, *_ = steps(20)
    assert describe(first) == "1/20, high-noise expert, 0.25 s/step, 4.8 s left"


def test_a_dense_model_has_no_expert_to_show():
    progress = Progress(stage="denoise", done=3, total=4, seconds=2.0, expert="dense")
    assert describe(progress) == "3/4, 2.0 s/step"


def test_other_stages_count_their_units():
    assert describe(Progress(stage="decode", done=5, total=33, seconds=0.1, eta_seconds=1.5)) == "5/33, 1.5 s left"


def test_a_log_gets_first_and_last_of_a_stage(take, tmp_path, capsys):
    assert watch(events(take), tmp_path / "p.png", quiet=False) == take
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(",")[0] for line in captured.err.splitlines()] == ["Denoising: 1/3", "Denoising: 3/3"]


def test_a_terminal_gets_a_bar_with_the_same_words(take, tmp_path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    watch(events(take), tmp_path / "p.png", quiet=False)
    assert "3/3, low-noise expert, 0.25 s/step" in terminal.getvalue()


def test_quiet_prints_nothing(take, tmp_path, capsys):
    watch(events(take), tmp_path / "p.png", quiet=True)
    assert capsys.readouterr() == ("", "")


def test_the_newest_preview_is_there_while_the_work_goes_on_and_gone_after(take, tmp_path):
    path, seen = tmp_path / "clip.preview.png", []

    def spied():
        for png in (b"one", b"two"):
            yield Preview(step=1, png=png)
            seen.append(path.read_bytes())
        yield Done(take=take)

    watch(spied(), path, quiet=True)
    assert seen == [b"one", b"two"]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_closes_the_backend_and_takes_the_preview_away(take, tmp_path):
    closed = []

    def interrupted():
        try:
            yield Preview(step=1, png=b"one")
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    with pytest.raises(KeyboardInterrupt):
        watch(interrupted(), tmp_path / "p.png", quiet=True)
    assert closed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "exit_code"), [("OutputError", 2), ("DeviceError", 2), ("BackendError", 1), ("SomethingElse", 1)]
)
def test_a_failed_event_keeps_its_words_its_code_and_its_exit_code(take, tmp_path, code, exit_code):
    failed = Failed(code=code, message="3 GiB were missing.")
    with pytest.raises(RenderFailed) as caught:
        watch(events(take, failed), tmp_path / "p.png", quiet=True)
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert str(caught.value) == "3 GiB were missing."


def test_silence_is_not_success(tmp_path):
    with pytest.raises(BackendError, match="without a result"):
        watch(steps(3), tmp_path / "p.png", quiet=True)
