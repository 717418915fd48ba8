"""The training itself: what a step sees, going on after a kill to the same bits, several processes, what it leaves."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.engine.wan_directory import DIT, PRESET, SIDECAR, VAE, tiny_wan_directory
from tests.training.lora.folders import QUICK, make_job, write_clip, write_folder

from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.lora import read_lora
from filmgate.engine.checkpoints.lora_tensors import load_deltas
from filmgate.engine.checkpoints.wan import load_dit
from filmgate.engine.models.config import ImageEncoderConfig
from filmgate.engine.runtime.lora import apply_lora
from filmgate.spec import (
    CheckpointError,
    DamagedFile,
    DeviceError,
    InvalidRequest,
    NotFinite,
    OutputError,
    WrongVariant,
)
from filmgate.training.lora.encoding import Origins, Shelf
from filmgate.training.lora.job import STEPS, describe_job, facts_of, memory_of, prepare, read_rows, warnings_of
from filmgate.training.lora.objective import Range, fixed_losses, velocity_errors
from filmgate.training.lora.recipe import Encoded, Judged, LoraRecipe, Noted, Stepped, Written
from filmgate.training.lora.trainer import ALONE, Interruption, Training, places_of, rate_at, train
from filmgate.training.ranks import Ranks

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")


def done(job, **options):
    return list(train(job, **options))


def shelf_of(job):
    origins = Origins.of(job.parts, job.cache)
    folder = job.cache / "training"
    return Shelf(folder, job.model, origins, CPU, job.precision, pictured=job.pictured, cache=job.cache)


def encode_all(job, shelf):
    list(shelf.encode(job.cuts, ["", *(text for cut in job.cuts for text in cut.clip.captions)]))


def losses(events):
    return [event.loss for event in events if isinstance(event, Stepped)]


def contents(job):
    return [job.file_of(expert).read_bytes() for expert in job.experts]


# --------------------------------------------------------------------------------------------------------- what is made


def test_both_experts_learn_their_own_range_and_leave_files(tmp_path, wan_pair):
    job = make_job(tmp_path, wan_pair, QUICK.changed({"steps": 30, "samples": 1, "judge_every": 15, "save_every": 100}))
    events = done(job)
    assert [event.path.name for event in events if isinstance(event, Written)] == [
        "hero_high_noise.safetensors", "hero_low_noise.safetensors",
    ]  # fmt: skip
    judged = [event for event in events if isinstance(event, Judged)]
    assert [(event.expert, event.step) for event in judged] == [
        (expert, step) for expert in ("high_noise", "low_noise") for step in (0, 15, 30)
    ]
    for last in (judged[2], judged[5]):
        assert last.loss < 0.97 * last.base
        with Image.open(last.sheet) as sheet:
            assert sheet.width == 6 * 32
    assert [event.total for event in events if isinstance(event, Encoded)][-1] == 3 + 3 + 1
    manifest = json.loads((job.output / "hero.training.json").read_text())
    assert manifest["model"]["id"] == "tiny"
    assert [clip["captions"] for clip in manifest["clips"]] == [["a red ball"], ["a blue cube rolls"], ["a ball"]]
    assert all(re.fullmatch(r"[0-9a-f]{64}", clip["sha256"]) for clip in manifest["clips"])
    assert manifest["reached"]["low_noise"]["fixed_noise"] == pytest.approx(judged[5].loss)
    with Image.open(job.output / "curves.png") as picture:
        assert picture.width > 500
    assert manifest["recipe"]["steps"] == 30
    assert manifest["seconds"] > 0
    assert {file["expert"] for file in manifest["files"]} == {"high_noise", "low_noise"}


def test_the_loaded_file_gives_what_was_measured(tmp_path, wan_pair):
    """The engine with the file in place of the factors that were trained."""
    job = make_job(
        tmp_path, wan_pair, QUICK.changed({"steps": 20, "expert": "low_noise", "targets": "all", "save_every": 100})
    )
    last = [event for event in done(job) if isinstance(event, Judged)][-1]
    network = load_dit(job.model, "low_noise", device=CPU, precision="fp32")
    lora = read_lora(job.file_of("low_noise"))
    apply_lora(network, load_deltas(lora, lora.changes, 1.0))
    shelf = shelf_of(job)
    examples = [shelf.example(cut, cut.clip.captions[0]) for cut in job.cuts]
    levels = [job.levels("low_noise").level((i + 0.5) / 5) for i in range(5)]
    found = fixed_losses(network, examples, levels, CPU)
    assert sum(found) / 5 == pytest.approx(last.loss, rel=1e-5)
    assert last.loss < 0.99 * last.base


def test_pictures_and_videos_are_trained_on_together(tmp_path, wan_pair):
    folder = write_folder(tmp_path / "clips", count=1)
    Image.new("RGB", (64, 32), (200, 30, 30)).save(folder / "still.png")
    (folder / "still.txt").write_text("a red wall")
    job = make_job(tmp_path, wan_pair, QUICK.changed({"samples": 2, "expert": "low_noise"}), clips=folder)
    assert [str(cut.video) for cut in job.cuts] == ["32x32x5", "48x16x1"]
    assert losses(done(job))


def test_a_dense_model_has_one_file(tmp_path):
    sidecar = {**SIDECAR, "variant": "wan2.1-t2v-1.3b", "family": "wan2.1"}
    sidecar["preset"] = {**sidecar["preset"], "boundary": None}
    model = tiny_wan_directory(tmp_path / "dense", folders={".": 1}, sidecar=sidecar)
    job = make_job(tmp_path, model)
    assert job.levels("dense") == Range(0.0, 1.0, 5.0)
    done(job)
    assert job.file_of("dense").name == "hero.safetensors"
    with pytest.raises(InvalidRequest, match="no high_noise"):
        make_job(tmp_path, model, QUICK.changed({"expert": "high_noise"}))


@pytest.mark.parametrize("weights", ["as_computed", "as_stored"])
def test_bf16_and_weights_in_few_bits(tmp_path, weights):
    """Of fp8 files the weights stay as they are, or are widened; factors are fp32, and bf16 in the file."""
    dtype = torch.float8_e4m3fn if weights == "as_stored" else torch.float32
    model = tiny_wan_directory(tmp_path / "m", sidecar=SIDECAR, dtype=dtype)
    recipe = QUICK.changed({"precision": "bf16", "weights": weights, "steps": 12, "save_every": 100, "rate": 0.05})
    job = make_job(tmp_path, model, recipe)
    judged = [event for event in done(job) if isinstance(event, Judged)]
    assert judged[1].loss < 0.99 * judged[1].base
    lora = read_lora(job.file_of("low_noise"))
    assert {lora.records.tensors[change.up].dtype.name for change in lora.changes} == {"BF16"}


@pytest.mark.parametrize("image_dim", [None, 80])
def test_image_to_video_reads_the_first_frame(tmp_path, image_dim):
    dit = replace(DIT, in_dim=36, image_dim=image_dim)
    clip = ImageEncoderConfig(dim=80, dim_ffn=32, heads=1, layers=2, patch=8, grid=2) if image_dim else None
    variant, family = ("wan2.1-i2v-14b", "wan2.1") if image_dim else ("wan2.2-i2v-a14b", "wan2.2")
    sidecar = {**SIDECAR, "task": "i2v", "variant": variant, "family": family}
    folders = {".": 1} if image_dim else None
    if image_dim:
        sidecar["preset"] = {**sidecar["preset"], "boundary": None}
    model = tiny_wan_directory(tmp_path / "i2v", dit=dit, sidecar=sidecar, clip=clip, folders=folders)
    job = make_job(tmp_path, model, QUICK.changed({"samples": 1}))
    events = done(job)
    assert [event for event in events if isinstance(event, Judged)][-1].sheet is not None
    example = shelf_of(job).example(job.cuts[0], "a red ball")
    assert example.beside.shape == (20, 2, 4, 4)
    assert torch.equal(example.beside[:4, 0], torch.ones(4, 4, 4))
    assert torch.equal(example.beside[:4, 1], torch.zeros(4, 4, 4))
    torch.testing.assert_close(example.beside[4:, 0], example.latents[:, 0])
    assert (example.image is None) == (image_dim is None)
    Image.new("RGB", (32, 32)).save(tmp_path / "clips" / "still.png")
    (tmp_path / "clips" / "still.txt").write_text("a ball")
    with pytest.raises(InvalidRequest, match=r"still\.png is a picture"):
        make_job(tmp_path, model)


def test_a_model_with_a_timestep_per_token_begins_from_a_known_frame(tmp_path, monkeypatch):
    statistics = {"latents_mean": (0.0,) * 48, "latents_std": (1.0,) * 48}
    vae = replace(VAE, patch=2, level_shortcuts=True, z_dim=48, **statistics)
    stated = {"latents_mean": [0.0] * 48, "latents_std": [1.0] * 48}
    compression = {**SIDECAR["compression"], "spatial": 16, "channels": 48}
    sidecar = {
        **SIDECAR, "task": "ti2v", "variant": "wan2.2-ti2v-5b", "vae": stated, "compression": compression,
        "preset": {**PRESET, "boundary": None}, "latent_rgb_factors": [[0.1, 0.0, -0.1]] * 48,
    }  # fmt: skip
    dit = replace(DIT, in_dim=48, out_dim=48)
    model = tiny_wan_directory(
        tmp_path / "m", dit=dit, vae=vae, folders={".": 1}, sidecar=sidecar, vae_name="Wan2.2_VAE"
    )
    held = []

    def watched(network, examples, levels, noise, known):
        held.extend(known)
        return velocity_errors(network, examples, levels, noise, known)

    monkeypatch.setattr("filmgate.training.lora.trainer.velocity_errors", watched)
    done(make_job(tmp_path, model, QUICK.changed({"steps": 6, "batch": 4, "samples": 1})))
    assert len(held) == 24
    assert 0.2 < np.mean(held) < 0.8


def test_other_tasks_are_refused_by_name(tmp_path):
    model = tiny_wan_directory(tmp_path / "vace", dit=replace(DIT, vace_layers=(0,)), folders={".": 1})
    with pytest.raises(WrongVariant, match="expected t2v or i2v or ti2v, found vace"):
        make_job(tmp_path, model)


# ------------------------------------------------------------------------------------------------------- what is cached


def test_clips_are_encoded_once(tmp_path, wan_pair, monkeypatch):
    job = make_job(tmp_path, wan_pair)
    shelf = shelf_of(job)
    assert [e.done for e in shelf.encode(job.cuts, ["a", "b"])] == [1, 2, 3, 4, 5]
    monkeypatch.setattr("filmgate.training.lora.encoding.load_vae", None)
    monkeypatch.setattr("filmgate.training.lora.encoding.load_text_encoder", None)
    assert [(e.done, e.total) for e in shelf_of(job).encode(job.cuts, ["a", "b", "a"])] == [(5, 5)]


def test_another_name_is_the_same_clip_and_another_cut_is_not(tmp_path, wan_pair):
    job = make_job(tmp_path, wan_pair)
    shelf, cut = shelf_of(job), job.cuts[0]
    moved = replace(cut, clip=replace(cut.clip, path=cut.clip.path.rename(tmp_path / "other.mp4")))
    keys = {shelf.clip_key(moved)}
    assert len(keys | {shelf.clip_key(job.cuts[1])}) == 2
    assert shelf.clip_key(replace(moved, start=1)) not in keys
    assert shelf.clip_key(replace(moved, fps=6)) not in keys
    assert shelf.text_key("a") != shelf.text_key("b")


def test_a_damaged_entry_is_made_anew(tmp_path, wan_pair):
    job = make_job(tmp_path, wan_pair)
    list(shelf_of(job).encode(job.cuts, ["a"]))
    before = shelf_of(job).example(job.cuts[0], "a").latents
    path = job.cache / "training" / f"{shelf_of(job).clip_key(job.cuts[0])}.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DamagedFile):
        shelf_of(job).example(job.cuts[0], "a")
    assert [e.done for e in shelf_of(job).encode(job.cuts, ["a"])] == [4]
    assert torch.equal(shelf_of(job).example(job.cuts[0], "a").latents, before)


# ----------------------------------------------------------------------------------------------------- what a step sees


def test_every_clip_has_its_turn_before_any_comes_again():
    seen = [place for step in range(6) for place in places_of(step, 4, 8, seed=1)]
    assert [place.number for place in seen] == list(range(24))
    for turn in range(3):
        assert sorted(place.clip for place in seen if place.turn == turn) == list(range(8))
    assert [p.clip for p in seen[:8]] != [p.clip for p in seen[8:16]]
    assert {place.stratum for place in seen} == {(index, 4) for index in range(4)}


def test_the_rate_rises_and_falls():
    recipe = LoraRecipe(rate=1.0, warm_up=4, steps=14)
    assert [rate_at(step, recipe) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate_at(9, recipe) == pytest.approx(0.505)
    assert rate_at(13, recipe) < 0.05
    assert rate_at(13, recipe.changed({"schedule": "constant"})) == 1.0


def gradients(job, micro_batch, ranks=ALONE, step=1):
    job = replace(job, recipe=job.recipe.changed({"micro_batch": micro_batch}))
    shelf = shelf_of(job)
    encode_all(job, shelf)
    training = Training(job, shelf, "low_noise", ranks, Interruption())
    for up in training.adapter.up:
        torch.nn.init.normal_(up, std=0.1, generator=torch.Generator().manual_seed(3))
    network = load_dit(job.model, "low_noise", device=CPU, precision="fp32")
    training.adapter.attach(network)
    loss = training.gradients(network, step)
    return loss, [p.grad.clone() for p in training.adapter.parameters()]


def test_gradients_do_not_depend_on_how_a_step_is_divided(tmp_path, wan_pair):
    folder = write_folder(tmp_path / "clips")
    write_clip(folder / "wide.mp4", size=(64, 16), frames=9).with_suffix(".txt").write_text("a wide ball")
    job = make_job(tmp_path, wan_pair, QUICK.changed({"batch": 6, "frames": 9, "no_text": 0.3}))
    assert len({cut.video for cut in job.cuts}) > 1
    loss, expected = gradients(job, 1)
    for micro_batch in (2, 6):
        other, found = gradients(job, micro_batch)
        assert other == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def _member(rank, port, folder, model):
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2"
    )
    torch.set_num_threads(1)
    ranks = Ranks.join()
    job = make_job(Path(folder), Path(model), QUICK.changed({"batch": 3}), clips=Path(folder) / "clips")
    loss, found = gradients(job, 1, ranks)
    events = list(train(job, ranks=ranks))
    ranks.leave()
    written = sum(isinstance(event, Written) for event in events)
    torch.save({"loss": loss, "gradients": found, "written": written}, Path(folder) / f"{rank}.pt")


def test_two_processes_take_the_steps_of_one(tmp_path, wan_pair):
    write_folder(tmp_path / "clips")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_member, (port, str(tmp_path), str(wan_pair)), nprocs=2)
    alone = make_job(tmp_path, wan_pair, QUICK.changed({"batch": 3}), output=tmp_path / "alone")
    loss, expected = gradients(alone, 1)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for result in results:
        assert result["loss"] == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(result["gradients"], expected, atol=1e-6, rtol=1e-4)
    assert [result["written"] for result in results] == [2, 0]
    done(alone)
    for expert in alone.experts:
        together = read_lora(tmp_path / "out" / alone.file_of(expert).name)
        mine = read_lora(alone.file_of(expert))
        for one, other in zip(
            load_deltas(together, together.changes, 1.0), load_deltas(mine, mine.changes, 1.0), strict=True
        ):
            torch.testing.assert_close(one.up, other.up, atol=1e-4, rtol=1e-2)
    assert len(read_rows(tmp_path / "out" / STEPS)) == 2 * QUICK.steps


def test_more_processes_than_clips_of_a_step_are_refused(tmp_path, wan_pair):
    with pytest.raises(InvalidRequest, match="less than the 4 processes"):
        done(make_job(tmp_path, wan_pair), ranks=Ranks(0, 4))


# ------------------------------------------------------------------------------------------------------------- going on

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.lora.folders import QUICK, make_job
from filmgate.training.lora.recipe import Stepped
from filmgate.training.lora.trainer import train
import torch
torch.set_num_threads(1)
root, model, number, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
seen = 0
signal.signal(signal.SIGINT, signal.default_int_handler)
for event in train(make_job(root, model, QUICK.changed({"steps": 6, "dropout": 0.2}), clips=root / "clips")):
    seen += isinstance(event, Stepped)
    if seen == count and isinstance(event, Stepped):
        os.kill(os.getpid(), number)
"""


def start(tmp_path, model, number, count):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(model), str(int(number)), str(count)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("count", [3, 9])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path, wan_pair, count):
    write_folder(tmp_path / "clips")
    killed = start(tmp_path, wan_pair, signal.SIGKILL, count)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(read_rows(tmp_path / "out" / STEPS)) == count
    recipe = QUICK.changed({"steps": 6, "dropout": 0.2})
    job = make_job(tmp_path, wan_pair, recipe, clips=tmp_path / "clips")
    events = done(job)
    assert any(isinstance(event, Noted) and "goes on after step 2 of 6" in event.text for event in events)
    whole = make_job(tmp_path, wan_pair, recipe, clips=tmp_path / "clips", output=tmp_path / "whole")
    done(whole)
    assert contents(job) == contents(whole)
    rows, expected = ([{**row, "seconds": 0} for row in read_rows(j.output / STEPS)] for j in (job, whole))
    assert rows == expected
    for expert in job.experts:
        assert read_rows(job.curve_of(expert)) == read_rows(whole.curve_of(expert))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_its_last_step(tmp_path, wan_pair, number, code):
    write_folder(tmp_path / "clips")
    stopped = start(tmp_path, wan_pair, number, 3)
    if number == signal.SIGINT:
        assert "KeyboardInterrupt: The state after the last step is kept in" in stopped.stderr
    else:
        assert stopped.returncode == code
    job = make_job(tmp_path, wan_pair, QUICK.changed({"steps": 6, "dropout": 0.2}), clips=tmp_path / "clips")
    events = done(job)
    assert any(isinstance(event, Noted) and "goes on after step 4 of 6" in event.text for event in events)


def test_a_finished_run_is_only_written_again(tmp_path, wan_pair):
    job = make_job(tmp_path, wan_pair)
    done(job)
    before = contents(job)
    events = done(job)
    assert not losses(events)
    assert contents(job) == before
    for expert in job.experts:
        job.curve_of(expert).unlink()
    kohya = replace(job, recipe=job.recipe.changed({"dialect": "kohya"}))
    assert not losses(done(kohya))
    assert read_lora(job.file_of("low_noise")).dialect == "kohya"


def test_the_state_of_another_run_is_not_gone_on_with(tmp_path, wan_pair):
    done(make_job(tmp_path, wan_pair))
    other = make_job(tmp_path, wan_pair, QUICK.changed({"rate": 0.01}), clips=tmp_path / "clips")
    with pytest.raises(InvalidRequest, match=r"recipe\.rate 0\.02 then, 0\.01 now.*--no-resume"):
        done(other)
    assert len(losses(done(other, resume=False))) == 2 * QUICK.steps
    assert len(read_rows(other.output / STEPS)) == 2 * QUICK.steps


def test_a_constant_rate_can_go_on_for_longer(tmp_path, wan_pair):
    recipe = QUICK.changed({"schedule": "constant", "expert": "low_noise"})
    done(make_job(tmp_path, wan_pair, recipe))
    longer = make_job(tmp_path, wan_pair, recipe.changed({"steps": 6}), clips=tmp_path / "clips")
    assert [e.step for e in done(longer) if isinstance(e, Stepped)] == [5, 6]


def test_a_damaged_state_is_an_error(tmp_path, wan_pair):
    job = make_job(tmp_path, wan_pair)
    done(job)
    state = job.state_of("high_noise")
    state.write_bytes(state.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="state/high_noise"):
        done(job)


def test_numbers_that_are_not_finite_end_the_run_before_they_are_kept(tmp_path, wan_pair):
    job = make_job(tmp_path, wan_pair, QUICK.changed({"rate": 1e30, "steps": 30, "expert": "low_noise"}))
    with pytest.raises(NotFinite, match=r"step \d+ of 30, low_noise expert"):
        done(job)


# --------------------------------------------------------------------------------------------------------- what is said


def test_a_device_that_is_too_small_says_what_would_be_smaller(tmp_path, wan_pair, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("filmgate.training.lora.trainer.velocity_errors", full)
    with pytest.raises(DeviceError, match=r"cpu ran out of memory\. Allowed: checkpointing=true, micro_batch=1"):
        done(make_job(tmp_path, wan_pair))


def test_a_dry_run_says_everything(tmp_path, wan_pair):
    job = make_job(tmp_path, wan_pair, QUICK.changed({"held_out": 1}))
    facts = facts_of(job)
    assert (facts["clips"], facts["held_out"], facts["layers"]) == (2, 1, 20)
    assert facts["trainable"] == sum(2 * (r + c) for r, c in job.layers.values())
    assert facts["buckets"] == [{"video": "32x32x5", "clips": 2}]
    assert facts["seconds"] is None
    assert any("2 clips are few" in warning for warning in facts["warnings"])
    assert not job.output.exists()
    done(job)
    assert facts_of(job)["seconds"] > 0
    assert dict(describe_job(job))["Time"].startswith("about ")
    assert read_rows(job.curve_of("low_noise"))[0]["of"] == "held-out clips"


def test_what_cannot_be_written_is_said_before_anything_is_computed(tmp_path, wan_pair):
    (tmp_path / "file").write_text("not a directory")
    for places in ({"output": tmp_path / "file" / "out"}, {"cache": tmp_path / "file"}):
        with pytest.raises(OutputError, match=r"file.* cannot be written: .*file is not a directory"):
            make_job(tmp_path, wan_pair, **places)
    for name, nearest in (("a/b", "b"), ("../hero", "hero"), (".hidden", "hidden"), ("", "lora"), ("..", "lora")):
        with pytest.raises(InvalidRequest, match=f"Nearest valid: {nearest}"):
            make_job(tmp_path, wan_pair, name=name)
    job = make_job(tmp_path, wan_pair)
    (tmp_path / "out").write_text("somebody was faster")
    with pytest.raises(OutputError, match="out cannot be written"):
        done(job)


def test_warnings_are_of_strange_words_and_too_much_rank(tmp_path, wan_pair):
    """What is forgiven in prompts, hyphens and inflection, is forgiven in captions."""
    job = make_job(tmp_path, wan_pair)
    for vocabulary, told in ((("red", "ball", "cubes", "blue", "roll"), []), (("red", "ball"), ["blue, cube, rolls"])):
        knowing = replace(job, model=job.model.model_copy(update={"vocabulary": vocabulary}))
        strange = [text.partition(": ")[2] for text in warnings_of(knowing) if "not trained on" in text]
        assert strange == told
    wide = replace(job, recipe=job.recipe.changed({"rank": 64}))
    assert any("rank 64 is more than a layer of 32" in text for text in warnings_of(wide))
    assert not any("more than a layer" in text for text in warnings_of(job))
    many = " ".join(f"zq{chr(97 + index)}" for index in range(15))
    captioned = replace(job.cuts[0], clip=replace(job.cuts[0].clip, captions=(many,)))
    knowing = replace(knowing, cuts=(captioned,))
    assert any("zql and 3 more" in text for text in warnings_of(knowing))


def test_memory_is_estimated_by_what_is_kept(tmp_path):
    """Bytes that autograd keeps, counted; weights are kept without being copied."""
    dit = replace(DIT, dim=256, ffn_dim=1024, num_heads=4, num_layers=4)
    model = tiny_wan_directory(tmp_path / "m", dit=dit, sidecar=SIDECAR)
    folder = write_folder(tmp_path / "clips", size=(64, 64), frames=17)
    recipe = QUICK.changed({"size": "64x64", "frames": 17, "expert": "low_noise", "batch": 1})
    job = make_job(tmp_path, model, recipe, clips=folder)
    shelf = shelf_of(job)
    encode_all(job, shelf)
    training = Training(job, shelf, "low_noise", Ranks(), Interruption())
    network = load_dit(job.model, "low_noise", device=CPU, precision="fp32")
    training.adapter.attach(network)
    owned = {p.untyped_storage().data_ptr() for p in (*network.parameters(), *training.adapter.parameters())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        training.gradients(network, 0)
    weights = sum(p.nbytes for p in network.parameters())
    estimated = memory_of(job) - weights - 20 * job.trainable
    assert 0.8 < estimated / sum(kept.values()) < 1.25
    again = replace(job, recipe=job.recipe.changed({"checkpointing": "true"}))
    assert 0.3 < (memory_of(again) - weights - 20 * job.trainable) / estimated < 0.6


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"held_out": 3}, "leaves none to train on"), ({"precision": "fp16"}, "range of fp16"),
     ({"targets": "nose"}, "no layer"), ({"size": "33x32"}, "width"), ({"frames": 6}, "4n"),
     ({"boundary": 2}, "boundary")],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_anything_is_loaded(tmp_path, wan_pair, changes, says):
    with pytest.raises(InvalidRequest, match=says):
        make_job(tmp_path, wan_pair, QUICK.changed(changes))


def test_device_and_model_are_chosen_as_elsewhere(tmp_path, wan_pair):
    write_folder(tmp_path / "clips")
    with pytest.raises(InvalidRequest, match="is not a device"):
        prepare(
            tmp_path / "clips", describe(wan_pair), QUICK, output=tmp_path, name="a", cache=tmp_path, device="moon"
        )  # fmt: skip
