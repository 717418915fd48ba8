"""Sittings: what fits is done, what was reached is kept and gone on from, and time is never exceeded by much.

The programs are stand-ins that write weights as trainings do; with ``--smoke`` the true ones run (docs/toybox.md).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from filmgate.spec.errors import InvalidRequest, MissingFile
from filmgate.training import family
from filmgate.training.carried import NOTES, bring
from filmgate.training.family import Sitting, plan_lines
from filmgate.training.records import progress_of, save_tensors
from filmgate.training.stages import STAGES, chosen, finished

PROGRAM = textwrap.dedent("""
    import json, sys, time, numpy
    from pathlib import Path
    from safetensors.numpy import save_file
    options = {word: value for word, value in zip(sys.argv[2:], sys.argv[3:]) if word.startswith("--")}
    program, seconds = sys.argv[1], float(options.get("--seconds", 0))
    if program == "filling":
        Path(options["--store"].replace(".buffer.", ".buffer.0.")).touch()
        print(json.dumps({"clips": 5, "clips_per_second": 123.0, "compile_seconds": 4.0}))
        sys.exit()
    usual = {"autoencoder": "vae", "text_encoder": "text"}.get(program)
    output, name = Path(options["--output"]), options.get("--name", usual)
    output.mkdir(parents=True, exist_ok=True)
    if options.get("--rate") == "broken":
        sys.exit("it broke")
    start, stop = float(options.get("--start", 0)), float(options.get("--stop", 1))
    began, share = time.monotonic(), 0.0
    while share < 1 and time.monotonic() - began < float(options["--deadline"]):
        share = min(1.0, (time.monotonic() - began) / max(seconds, 1e-3))
        progress = {"progress": str(start + share * (stop - start))}
        part = output / f"{name}.part"
        save_file({"w": numpy.ones(3, "float32")}, part, progress)
        part.replace(output / f"{name}.safetensors")
        time.sleep(0.05)
    save_file({"latents_mean": numpy.ones(3, "float32")}, output / "latents.safetensors")
    with (output / f"{name}.jsonl").open("a") as curve:
        curve.write(json.dumps({"samples_per_second": 77.0, "told": sys.argv[2:]}) + "\\n")
    stuck = options.get("--seed") == "stuck"
    time.sleep(600 if stuck else 0)
""")


@pytest.fixture
def sitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes sittings of stand-ins in one directory."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(
        Sitting,
        "_command",
        lambda _, program, options: [sys.executable, str(tmp_path / "program.py"), program, *options],
    )
    monkeypatch.setattr(family, "RESERVE", 0.0)
    monkeypatch.setattr(family, "GRACE", 1.0)

    def made(seconds: float, runs: str = "runs", *, options: tuple[str, ...] = (), **trained: float) -> Sitting:
        stages = {
            name: replace(
                stage, seconds=trained[name], overhead=0.1,
                options=(*stage.options, *options) if stage.program == "diffusion" else stage.options,
            )
            for name, stage in STAGES.items() if name in trained
        }  # fmt: skip
        return Sitting(tmp_path / runs, seconds, stages)

    monkeypatch.setattr(family, "LEAST", 0.1)
    monkeypatch.setattr("filmgate.training.stages.STARTING", 0.1)
    monkeypatch.setattr("filmgate.training.stages.clips_for", lambda *_: 1)
    monkeypatch.setattr(Sitting, "rates", lambda _: {"compile rich": 0.1})
    return made


def test_stages_follow_each_other_and_leave_what_is_carried(sitting, tmp_path: Path, capsys) -> None:
    first = sitting(30.0, vae=0.3, text=0.2, base=0.3, mixed=0.3)
    assert first.run() == []
    kept = tmp_path / "runs" / "kept"
    assert {path.name for path in kept.iterdir()} == {
        "vae.planes", "text.planes", "base.planes", "mixed.planes", "latents-vae.safetensors", NOTES,
    }  # fmt: skip
    assert progress_of(kept / "base.planes") == pytest.approx(STAGES["base"].stop)
    assert progress_of(kept / "mixed.planes") == pytest.approx(1.0)
    told = (tmp_path / "runs" / "mixed" / "base.jsonl").read_text()
    assert "base/base.safetensors" in told
    assert "latents-vae.safetensors" in told
    assert "text beside vae" in capsys.readouterr().out


def test_text_trains_beside_the_filling_where_the_vae_is_there_already(sitting, tmp_path: Path, capsys) -> None:
    save_tensors(tmp_path / "vae.safetensors", {"w": torch.ones(3)})
    save_tensors(tmp_path / "parent.safetensors", {"w": torch.ones(3)})
    first = sitting(30.0, text=0.2, base=0.3)
    first.have, first.begin = {"vae": tmp_path / "vae.safetensors"}, {"base": tmp_path / "parent.safetensors"}
    assert first.run() == []
    assert "text beside fill rich" in capsys.readouterr().out
    told = (tmp_path / "runs" / "base" / "base.jsonl").read_text()
    assert "parent.safetensors" in told
    assert '"--short", "0.05"' in told
    assert told.rindex('"--short", "0"') > told.index('"--short", "0.05"')


def test_a_stage_is_cut_by_the_clock_and_goes_on_elsewhere(sitting, tmp_path: Path) -> None:
    weights = {name: tmp_path / f"{name}.safetensors" for name in ("vae", "text")}
    for path in weights.values():
        save_tensors(path, {"w": torch.ones(3)})
    first = sitting(8.0, base=20.0)
    first.have = weights
    first.run()
    middle = progress_of(tmp_path / "runs" / "kept" / "base.planes")
    assert 0.02 < middle < STAGES["base"].stop
    (tmp_path / "other").mkdir()
    (tmp_path / "runs" / "kept").rename(tmp_path / "other" / "kept")
    second = sitting(30.0, "other", base=2.0)
    second.have = weights
    assert second.run() == []
    told = (tmp_path / "other" / "base" / "base.jsonl").read_text().splitlines()
    assert len(told) == 2  # the first sitting's curve came along
    assert "kept/base.planes" in told[1]
    assert f'"--start", "{middle:.6f}"' in told[1]
    assert finished(STAGES["base"], second.progress("base"))


def test_the_text_encoder_begins_anew(sitting, tmp_path: Path) -> None:
    save_tensors(tmp_path / "runs" / "text" / "text.safetensors", {"w": torch.ones(3)}, {"progress": "0.4"})
    again = sitting(20.0, text=0.2)
    assert again.run() == []
    assert "--resume" not in (tmp_path / "runs" / "text" / "text.jsonl").read_text()
    assert again.progress("text") == pytest.approx(1.0)


def test_what_fails_takes_with_it_what_needs_it_and_nothing_else(sitting, tmp_path: Path, capsys) -> None:
    broken = sitting(40.0, options=("--rate", "broken"), vae=0.2, text=0.2, base=0.2, mixed=0.2, small_vae=0.2)
    assert broken.run() == ["base"]
    assert "it broke" in capsys.readouterr().out
    assert finished(STAGES["small_vae"], broken.progress("small_vae"))
    assert broken.progress("mixed") == 0.0


def test_a_text_encoder_that_fails_beside_the_vae_is_tried_again_and_then_left_out(sitting, capsys) -> None:
    broken = sitting(40.0, vae=0.3, text=0.2, base=0.2, small_vae=0.2)
    broken.wanted["text"] = replace(broken.wanted["text"], options=("--rate", "broken"))
    assert broken.run() == ["text"]
    said = capsys.readouterr().out
    assert "text beside vae" in said
    assert "text is at 0.00; it failed, and is tried again" in said
    assert "text FAILED; left out with it: base, text" in said
    assert finished(STAGES["small_vae"], broken.progress("small_vae"))


def test_both_that_train_side_by_side_are_cut_off_and_go_on(sitting, tmp_path: Path) -> None:
    """The second one has further to go: the next sitting ends it alone."""
    names = ("vae", "text", "high_noise", "low_noise")
    for name in names:
        save_tensors(tmp_path / f"{name}.safetensors", {"w": torch.ones(3)})
    first = sitting(6.0, few_high=20.0, few_low=30.0)
    first.have = {name: tmp_path / f"{name}.safetensors" for name in names}
    first.run()
    reached = [first.progress(name) for name in ("few_high", "few_low")]
    assert all(0 < share < 1 for share in reached)
    second = sitting(30.0, few_high=2.0, few_low=4.0)
    second.have = first.have
    assert second.run() == []
    assert [second.progress(name) for name in ("few_high", "few_low")] == [1.0, 1.0]
    kept = tmp_path / "runs" / "kept"
    assert [progress_of(kept / f"few_{name}.planes") for name in ("high", "low")] == [1.0, 1.0]


def test_a_program_that_does_not_end_is_killed(sitting, tmp_path: Path) -> None:
    stuck = sitting(6.0, options=("--seed", "stuck"), vae=0.2, text=0.2, base=0.3)
    began = time.monotonic()
    assert stuck.run() == ["base"]
    assert time.monotonic() - began < 300  # it would sleep for ten minutes
    assert progress_of(tmp_path / "runs" / "kept" / "base.planes") == pytest.approx(STAGES["base"].stop)


def test_what_is_missing_is_said_before_anything_starts(sitting) -> None:
    with pytest.raises(MissingFile, match="high_noise needs"):
        sitting(10.0, high_noise=1.0).check()
    sitting(10.0, vae=1.0, text=1.0, base=1.0).check()


def test_what_others_have_begun_from_is_not_trained_again(sitting, tmp_path: Path) -> None:
    """base is not carried once mixed goes on from it, nor mixed once both experts and their partners do."""
    stages = {"vae": 1.0, "text": 1.0, "base": 1.0, "mixed": 1.0, "high_noise": 1.0, "dense": 1.0}
    first = sitting(900.0, **stages)
    kept = tmp_path / "runs" / "kept"
    for name in ("vae", "text"):
        save_tensors(tmp_path / f"{name}.safetensors", {"w": torch.ones(3)})
    first.have = {name: tmp_path / f"{name}.safetensors" for name in ("vae", "text")}
    save_tensors(tmp_path / "runs" / STAGES["mixed"].weights, {"w": torch.ones(3)}, {"progress": "0.7"})
    assert first.progress("base") == STAGES["base"].stop
    assert [slot.name for slot in first.plan()] == ["fill rich", "mixed", "high_noise", "dense"]
    save_tensors(tmp_path / "runs" / STAGES["mixed"].weights, {"w": torch.ones(3)}, {"progress": "0.65"})
    assert first.progress("base") == 0.0
    (tmp_path / "runs" / STAGES["mixed"].weights).unlink()
    assert not kept.exists()
    for name in ("high_noise", "low_noise", "dense", "deep"):
        assert (first.progress("mixed"), first.progress("base")) == (0.0, 0.0)
        save_tensors(tmp_path / "runs" / STAGES[name].weights, {"w": torch.ones(3)}, {"progress": "0.5"})
    assert (first.progress("mixed"), first.progress("base")) == (1.0, STAGES["base"].stop)
    first.check()
    assert [slot.name for slot in first.plan()] == ["fill rich", "high_noise", "dense"]


def test_weights_that_are_named_are_taken_before_those_that_are_not_finished(sitting, tmp_path: Path) -> None:
    named = tmp_path / "vae.safetensors"
    save_tensors(named, {"w": torch.ones(3)})
    save_tensors(tmp_path / "runs" / STAGES["vae"].weights, {"w": torch.zeros(3)}, {"progress": "0.5"})
    first = sitting(10.0)
    first.have = {"vae": named}
    assert (first.weights("vae"), first.progress("vae")) == (named, 1.0)


def test_a_reader_that_was_cut_off_is_not_finished(sitting, tmp_path: Path) -> None:
    path = tmp_path / "runs" / STAGES["reader"].weights
    save_tensors(path, {"w": torch.ones(3)}, {"progress": "0.2"})
    assert sitting(10.0).progress("reader") == 0.0
    save_tensors(path, {"w": torch.ones(3)}, {"progress": "1.0"})
    assert sitting(10.0).progress("reader") == 1.0


def test_too_little_time_to_finish_is_said_before_anything_starts(sitting) -> None:
    short = sitting(0.4, vae=1.0, text=1.0, base=1.0)
    short.finish = True
    with pytest.raises(InvalidRequest, match="vae, text, base cannot all be trained in 0 s"):
        short.check_ends()
    longer = sitting(60.0, vae=1.0, text=1.0, base=1.0)
    longer.finish = True
    longer.check_ends()


def test_interrupted_it_keeps_what_was_reached_and_says_so(tmp_path: Path) -> None:
    """The true driver, told to end while it compiles nothing and trains on a processor."""
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "filmgate.training.family", str(runs), "--seconds", "400", "--smoke"]
    driver = subprocess.Popen([*command, "--only", "vae", "--set", "vae=80"], stdout=subprocess.PIPE, text=True)
    weights, began = runs / "vae" / "vae.safetensors", time.monotonic()
    while not weights.is_file() and time.monotonic() - began < 240:
        time.sleep(0.2)
    driver.send_signal(signal.SIGINT)
    said = driver.communicate(timeout=60)[0]
    assert driver.returncode == 130
    assert "interrupted; what was reached is kept" in said
    assert 0 < progress_of(runs / "kept" / "vae.planes") < 1


def test_only_what_changed_is_brought_home(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "old.planes").touch()
    os.utime(kept / "old.planes", (1, 1))
    (kept / "new.planes").write_bytes(b"n" * (17 << 20))
    assert bring(kept, tmp_path / "out", 100.0) == ["new.planes has 17 MiB"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.planes"]
    for number in range(9):
        (kept / f"{number}.planes").touch()
    assert bring(kept, tmp_path / "out", 100.0)[-1] == "10 files"


def test_a_plan_says_when_what_and_how_much(sitting) -> None:
    lines = plan_lines(sitting(900.0, vae=400.0, text=150.0).plan(), sitting(0.0).state(), 900)
    assert "vae" in lines[1]
    assert "3080 steps expected" in lines[1]
    assert plan_lines([], sitting(0.0).state(), 3)[0].startswith("3 s are left: nothing")


def test_killed_in_the_middle_it_goes_on_from_the_last_weights(tmp_path: Path) -> None:
    """The true driver and a true training on a processor, killed with nothing said, and started again."""
    runs = tmp_path / "runs"
    command = [
        sys.executable,
        "-m",
        "filmgate.training.family",
        str(runs),
        "--seconds",
        "400",
        "--smoke",
        "--only",
        "vae",
    ]
    driver = subprocess.Popen([*command, "--set", "vae=80"], stdout=subprocess.DEVNULL, start_new_session=True)
    weights, began = runs / "vae" / "vae.safetensors", time.monotonic()
    while not weights.is_file() and time.monotonic() - began < 240:
        time.sleep(0.2)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert weights.is_file()
    left, began = [runs], time.monotonic()
    while left and time.monotonic() - began < 30:
        left = [p for p in psutil.process_iter(["cmdline"]) if str(runs) in " ".join(p.info["cmdline"] or ())]
        time.sleep(0.2)
    assert not left  # the training ends with its driver
    reached = progress_of(weights)
    assert 0 < reached < 1
    again = subprocess.run([*command, "--set", "vae=3"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout
    assert f"vae from {reached:.2f} to 1.00" in again.stdout
    assert progress_of(runs / "kept" / "vae.planes") == pytest.approx(1.0)


def test_the_reader_is_compiled_beside_the_stage_before_it_whatever_trains_beside_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, compiled = dict.fromkeys(STAGES, 1.0) | dict.fromkeys(("few_high", "few_low", "reader"), 0.0), []
    sitting = Sitting(tmp_path, 3000.0, chosen("few_high,few_low,reader", {}))

    def train(_command: list[str], log: Path) -> None:
        reached[log.stem] = 1.0

    monkeypatch.setattr(Sitting, "progress", lambda _self, name: reached[name])
    monkeypatch.setattr(sitting, "_needed", lambda name: tmp_path / name)
    monkeypatch.setattr(sitting, "_start", train)
    monkeypatch.setattr(sitting, "_finish", lambda *_: True)
    monkeypatch.setattr(
        sitting, "_fill", lambda _slot: bool((tmp_path / "rich.buffer.0.safetensors").write_bytes(b"x"))
    )
    monkeypatch.setattr(sitting, "_compile", lambda options, _log: compiled.append((options[0], dict(reached))))
    assert sitting.run() == []
    assert [what for what, _ in compiled] == ["reader"]
    assert compiled[0][1]["few_high"] == 0
