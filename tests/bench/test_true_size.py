"""The measuring of every published model, whole on tiny networks, and one at its true shapes."""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import claims
import true_size
import true_size_weights
from claims import Claim, read
from filmgate.direction.presets import PRESETS
from filmgate.engine.kernels.attention import attention_reference
from filmgate.engine.models.dit import WanDiT
from filmgate.spec import DeviceDescription, SpeedPlan, UnknownName
from true_size_models import ENCODERS, ROWS, Row, chosen, forward_operations, seconds_expected, tiny

BENCH = Path(claims.__file__).parent
CPU = torch.device("cpu")
PROCESSOR = DeviceDescription(kind="cpu", name="a processor", memory_bytes=0)
TASKS = {row.name: row for row in ROWS}
PUBLISHED = {
    "wan2.2-t2v-a14b": 14_288_491_584,
    "wan2.2-i2v-a14b": 14_288_901_184,
    "wan2.2-ti2v-5b": 4_999_787_712,
    "wan2.1-t2v-1.3b": 1_418_996_800,
    "wan2.1-t2v-14b": 14_288_491_584,
    "wan2.1-i2v-14b-480p": 16_394_878_784,
    "wan2.1-flf2v-14b": 16_395_536_704,
    "wan2.1-vace-1.3b": 2_153_972_032,
    "wan2.1-vace-14b": 17_337_592_896,
    "wan2.2-vace-a14b": 17_337_592_896,
}
"""Parameters of a transformer, by the headers of the published files."""


@pytest.fixture
def program(monkeypatch):
    """The program with arguments; returns its exit status."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["true_size.py", *map(str, arguments)])
        return true_size.main()

    return run


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Records of one whole trial, by row."""
    path = tmp_path_factory.mktemp("smoke") / "run.json"
    subprocess.run(
        [sys.executable, str(BENCH / "true_size.py"), "--smoke", "--json", str(path)], check=True, capture_output=True
    )
    return json.loads(path.read_text())


def measured(seconds=2.0, **changes):
    """A row's record as a GPU gives it."""
    record = {
        "status": "done", "seconds_per_forward": seconds, "tera_operations_per_second": 450.0,
        "peak_gib": {"load": 27.0, "encode": 12.0, "denoise": 38.5, "decode": 20.25},
        "stage_seconds": {"load": 1.0, "encode": 0.5, "denoise": 8.0, "decode": 9.0}, "parameters": {"dit": 14 * 10**9},
    }  # fmt: skip
    return {**record, **changes}


def run_file(path, rows, **changes):
    facts = {"mode": "true", "hardware": "NVIDIA H200", "versions": {}, "date": "2026-11-25", "commit": "abc"}
    path.write_text(json.dumps({**facts, "rows": rows, **changes}))
    return path


def test_every_row_runs_from_the_plan_to_the_frames(smoke):
    assert set(smoke["rows"]) == {*(row.key for row in ROWS), *ENCODERS}
    assert {key: row["status"] for key, row in smoke["rows"].items()} == dict.fromkeys(smoke["rows"], "done")


def test_two_steps_with_both_passes_and_both_experts(smoke):
    for row in ROWS:
        found = smoke["rows"][row.key]
        experts = [step["expert"] for step in found["steps"]]
        assert experts == (["high_noise", "low_noise"] if "-a14b" in row.name else ["dense", "dense"])
        assert len(found["passes"]) == 4
        assert min(found["passes"]) > 0


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_architectures_are_the_published_ones(name, parameters):
    assert true_size_weights.parameters_of(lambda: WanDiT(TASKS[name].sizes.dit)) == parameters


def test_every_model_of_the_presets_that_the_engine_runs_has_a_row():
    unsized = {"wan2.1-t2i-14b", "wan2.1-i2v-14b", "wan2.2-s2v-14b", "wan2.2-animate-14b"}
    assert {row.variant for row in ROWS} == set(PRESETS) - unsized
    for row in ROWS:
        preset = PRESETS[row.variant]
        assert (row.video.width, row.video.height) in preset.sizes
        assert row.video.frames == preset.frames


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_the_counted_operations_are_those_that_run(row):
    small = tiny(row)
    dit = small.sizes.dit
    latent = small.sizes.vae.compression.latent(small.video)
    network = WanDiT(dit, attention_reference).eval()  # whose products are counted on every device
    x = torch.randn(1, dit.in_dim, latent.frames, latent.height, latent.width)
    control = None
    if dit.vace_layers:
        control = torch.randn(1, dit.vace_in_dim, *x.shape[2:])
    elif dit.camera_scale is not None:
        scale = dit.camera_scale
        control = torch.randn(1, 24, latent.frames, scale * latent.height, scale * latent.width)
    image = None if dit.image_dim is None else torch.randn(1, small.image_rows, dit.image_dim)
    with torch.no_grad():
        text = network.text_keys_values(torch.randn(1, dit.text_len, dit.text_dim), image)
        with FlopCounterMode(display=False) as counter:
            network(x, torch.tensor([900.0]), text_cache=text, control=control)
        with FlopCounterMode(display=False) as time:
            network.embed_timestep(torch.tensor([900.0]))
    tokens = small.sizes.vae.compression.tokens(latent)
    assert counter.get_total_flops() - time.get_total_flops() == forward_operations(dit, tokens, small.image_rows)


def test_true_shapes_fit_together_without_memory(program, tmp_path):
    path = tmp_path / "dry.json"
    assert program("--dry", "--json", path, "--only", "ti2v-5b-from-image", "t2v-1.3b") == 0
    rows = json.loads(path.read_text())["rows"]
    assert rows["wan2.1-t2v-1.3b.832x480x81"]["tokens"] == 32_760
    assert rows["wan2.2-ti2v-5b-from-image.1280x704x121"]["parameters"]["vae"] == 704_688_668
    assert {row["status"] for row in rows.values()} == {"done"}


def test_number_formats_are_the_loaders():
    row = tiny(TASKS["wan2.1-i2v-14b-480p"])
    network = true_size_weights.RandomWeights(row, CPU, true_size_weights.Meter(CPU), SpeedPlan()).transformer("dense")
    formats = {name: parameter.dtype for name, parameter in network.named_parameters()}
    assert formats["blocks.0.self_attn.q.weight"] == torch.bfloat16
    assert formats["blocks.0.modulation"] == formats["head.head.weight"] == torch.float32
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_experts_take_each_others_place_unless_both_are_to_stay():
    row = tiny(TASKS["wan2.2-t2v-a14b"])
    one = true_size_weights.RandomWeights(row, CPU, true_size_weights.Meter(CPU), SpeedPlan())
    both = true_size_weights.RandomWeights(row, CPU, true_size_weights.Meter(CPU), SpeedPlan(), keep_both=True)
    for networks in (one, both):
        networks.transformer("high_noise")
        networks.transformer("low_noise")
    assert (one.holds("high_noise"), one.holds("low_noise")) == (False, True)
    assert (both.holds("high_noise"), both.holds("low_noise")) == (True, True)


def test_a_peak_belongs_to_the_stage_that_had_it(monkeypatch):
    peaks = iter([3, 5, 4, 6, 2, 2])  # allocated, then reserved, at each mark
    resets = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: next(peaks) * 2**30)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: next(peaks) * 2**30)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    device = torch.device("cuda:1")
    meter = true_size_weights.Meter(device)
    for stage in ("denoise", "denoise", "decode"):
        meter.mark(stage)
    assert meter.record() == {
        "peak_gib": {"denoise": 4.0, "decode": 2.0},
        "peak_reserved_gib": {"denoise": 6.0, "decode": 2.0},
    }
    assert resets == [device] * 4


def test_the_gpu_is_the_one_that_was_named(monkeypatch):
    used = []
    found = SimpleNamespace(name="NVIDIA H200", total_memory=141 * 10**9)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
    monkeypatch.setattr(true_size, "dtype_of", lambda *_: torch.bfloat16)
    device, described = true_size.place(argparse.Namespace(dry=False, smoke=False, device="cuda:1"))
    assert used == [device] == [torch.device("cuda:1")]
    assert (described.name, described.memory_bytes, described.index) == ("NVIDIA H200", 141 * 10**9, 1)


def test_random_weights_keep_the_size_of_what_goes_through():
    stack = nn.Sequential(*(nn.Linear(256, 256) for _ in range(8)))
    true_size_weights.fill(stack, CPU)
    assert 0.5 < stack(torch.randn(64, 256)).std() < 2


def test_a_row_that_fails_is_recorded_and_the_next_goes_on(program, tmp_path, monkeypatch):
    path, honest = tmp_path / "run.json", true_size.measure

    def failing(row, *rest, **options):
        if row.variant == "wan2.1-t2v-1.3b":
            raise torch.OutOfMemoryError("no memory")
        return honest(row, *rest, **options)

    monkeypatch.setattr(true_size, "measure", failing)
    assert program("--smoke", "--json", path, "--only", "t2v-1.3b", "ti2v-5b") == 1
    rows = json.loads(path.read_text())["rows"]
    assert rows["wan2.1-t2v-1.3b.832x480x81"]["error"] == "OutOfMemoryError: no memory"
    assert rows["wan2.2-ti2v-5b.1280x704x121"]["status"] == "done"


def test_a_row_that_would_not_end_in_time_is_not_begun(program, tmp_path):
    path = tmp_path / "run.json"
    row = TASKS["wan2.1-t2v-1.3b"]
    budget = seconds_expected(row) + 5
    assert program("--smoke", "--json", path, "--budget", budget, "--only", "t2v-1.3b", "t2v-a14b") == 0
    rows = json.loads(path.read_text())["rows"]
    assert {key: found["status"] for key, found in rows.items()} == {
        "wan2.2-t2v-a14b.1280x720x81": "skipped",
        "wan2.2-t2v-a14b.832x480x81": "skipped",
        row.key: "done",
    }


def test_rows_that_take_longer_make_the_next_ones_longer():
    pace = true_size.Pace()
    assert pace.factor == 1
    pace.add(10, 5)
    assert pace.factor == 1
    pace.add(10, 55)
    assert pace.factor == 3


def test_a_run_takes_what_was_asked_for_in_the_order_that_was_asked_for():
    assert [row if isinstance(row, str) else row.key for row in chosen(["umt5-xxl", "t2v-a14b"], "important")] == [
        "wan2.2-t2v-a14b.1280x720x81", "wan2.2-t2v-a14b.832x480x81", "umt5-xxl",
    ]  # fmt: skip
    [only] = chosen(["t2v-a14b.832x480x81"], "important")
    assert isinstance(only, Row)
    assert only.key == "wan2.2-t2v-a14b.832x480x81"
    cheap = [seconds_expected(row) for row in chosen([], "cheap-first") if isinstance(row, Row)]
    assert cheap == sorted(cheap)
    assert len(cheap) == len(ROWS)
    with pytest.raises(UnknownName, match="t2v-2b"):
        chosen(["t2v-2b"], "important")


def test_runs_are_joined_to_claims_and_the_table_shows_them(tmp_path):
    key, second = "wan2.2-t2v-a14b.1280x720x81", "wan2.1-t2v-1.3b.832x480x81"
    failed = {"status": "failed", "error": "OutOfMemoryError"}
    files = [
        run_file(tmp_path / "a.json", {key: measured(9.0), second: failed}),
        run_file(tmp_path / "b.json", {key: measured(2.5)}),
    ]
    folder = tmp_path / "results"
    [path] = true_size.merge(files, None, folder)
    assert path.name == "true_size_nvidia-h200_2026-11-25.json"
    found = read(folder)
    values = {claim.id: claim.value for claim in found}
    assert values[f"true_size.{key}.seconds_per_forward"] == 2.5
    assert values[f"true_size.{key}.peak_gib"] == 38.5
    assert values[f"true_size.{key}.peak_decode_gib"] == 20.25
    assert not any(second in name for name in values)
    table = runpy.run_path(str(BENCH / "true_size_table"))["table"]
    text = table(found)
    assert (
        "| wan2.2-t2v-a14b | from text | 1280×720×81 | 75,600 | 14.00 | 2.5 | 450 | 38.5 | 12.0 | 20.2 | 0.5 | "
        "9.0 | plain | NVIDIA H200, 2026-11-25, `abc` |"
    ) in text.splitlines()
    assert second in text.splitlines()[-1]
    assert table([]) == "Not measured yet."


def test_what_is_shown_there_is_not_repeated_among_the_other_claims():
    table = runpy.run_path(str(BENCH / "table"))["table"]
    shown = table([Claim("true_size.a.peak_gib", 1, "GiB"), Claim("cpu.seconds", 1, "s")])
    assert "cpu.seconds" in shown
    assert "true_size" not in shown


def test_a_table_of_its_own_has_what_stands_beside_a_forward_pass():
    table = runpy.run_path(str(BENCH / "table"))["table"]
    names = ("gpu.a.forward.exact", "gpu.a.forward.plain", "gpu.a.forward.profile.norms", "gpu.vae21.decode.diffusers")
    shown = table([Claim(name, 1, "s") for name in names])
    assert [name in shown for name in names] == [True, False, False, False]


@pytest.mark.parametrize("changes", [{"mode": "smoke"}, {"mode": "dry"}])
def test_trials_are_not_claimed(tmp_path, changes):
    with pytest.raises(ValueError, match="measures nothing"):
        true_size.merge([run_file(tmp_path / "a.json", {"x": measured()}, **changes)], None, tmp_path)


def test_runs_of_two_commits_are_not_mixed(tmp_path):
    files = [run_file(tmp_path / f"{commit}.json", {"x": measured()}, commit=commit) for commit in ("abc", "def")]
    with pytest.raises(ValueError, match="not those of the runs before"):
        true_size.merge(files, None, tmp_path / "results")
    [path] = true_size.merge(files, "abc", tmp_path / "results")
    assert json.loads(path.read_text())["claims"][0]["commit"] == "abc"


def test_it_starts_without_what_only_files_and_the_command_line_need():
    absent = ["av", "gguf", "typer", "rich", "diffusers", "transformers"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent})); sys.path.insert(0, {str(BENCH)!r}); import true_size"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
