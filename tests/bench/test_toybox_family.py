"""The measuring of the toy family's other members, on tiny models of random weights: what each is told and asked."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.engine.wan_directory import DIT, PRESET, SIDECAR, VAE, tiny_wan_directory

import claims
import toybox_bench
import toybox_claims
import toybox_pixels
import toybox_text
import toybox_truth
from filmgate.spec import InvalidRequest
from filmgate.training.paraphrases import read_paraphrases
from filmgate.training.readers import ReaderConfig, WorldReader, heads_of
from filmgate.training.records import save_tensors
from filmgate.training.world.catalogue import FIRST, RICH, UNADORNED
from filmgate.training.world.tokenizer import lexicon_words

PROMPTS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A family of tiny members, with a reader of the rich world."""
    root = tmp_path_factory.mktemp("family")
    torch.manual_seed(0)
    reader = WorldReader(ReaderConfig(dim=24, layers=1, frames=2, height=32, width=32), heads_of(RICH))
    save_tensors(root / "reader.safetensors", reader.state_dict())
    tiny_wan_directory(root / "ship" / "toybox-t2v", sidecar={**SIDECAR, "id": "toybox-t2v"})
    pictured = {**SIDECAR, "id": "toybox-i2v", "variant": "wan2.2-i2v-a14b", "task": "i2v"}
    tiny_wan_directory(root / "ship" / "toybox-i2v", dit=replace(DIT, in_dim=36), sidecar=pictured)
    camera = {**pictured, "id": "toybox-camera", "variant": "wan2.2-camera-a14b", "task": "camera"}
    tiny_wan_directory(root / "ship" / "toybox-camera", dit=replace(DIT, in_dim=36, camera_scale=8), sidecar=camera)
    small = {
        **SIDECAR, "id": "toybox-ti2v", "variant": "wan2.2-ti2v-5b", "task": "ti2v",
        "compression": {"temporal": 4, "spatial": 16, "channels": 48, "patch": 2},
        "preset": {**PRESET, "boundary": None, "sizes": [[64, 64]]}, "latent_rgb_factors": [[0.1, 0.0, -0.1]] * 48,
    }  # fmt: skip
    vae = replace(VAE, z_dim=48, latents_mean=(0.0,) * 48, latents_std=(1.0,) * 48, patch=2, level_shortcuts=True)
    dit = replace(DIT, in_dim=48, out_dim=48, per_token_timestep=True)
    tiny_wan_directory(
        root / "ship" / "toybox-ti2v", dit=dit, vae=vae, vae_name="Wan2.2_VAE", folders={".": 1}, sidecar=small
    )
    for member in (root / "ship").iterdir():
        (member / "vocabulary.txt").write_text("\n".join(lexicon_words(RICH)) + "\n")
    key = "diffusion_model.blocks.0.self_attn.q"
    for name in ("high_noise", "low_noise"):
        factors = {f"{key}.lora_A.weight": torch.ones(1, DIT.dim), f"{key}.lora_B.weight": torch.ones(DIT.dim, 1)}
        (root / "fewstep").mkdir(exist_ok=True)
        save_file(factors, root / "fewstep" / f"toybox-t2v-4steps_{name}.safetensors")
    return root


def measure(folder, member, *options) -> tuple[int, dict]:
    """Run it; status and numbers."""
    target = folder / f"{member}.json"
    command = [
        "toybox_truth.py", "--member", member, "--family", folder / "ship", "--readers", folder / "reader.safetensors",
        "--device", "cpu", "--prompts", PROMPTS, "--steps", 2, "--flow", 2, "--warp", 2, "--known", 3, "--paths", 1,
        "--identity", PROMPTS, "--triple-prompts", 4, "--batch", 4, "--json", target,
        "--results", folder / "results", *options,
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in command])
        patch.setattr(toybox_text, "read_paraphrases", lambda path: read_paraphrases(path)[::15])
        status = toybox_truth.main()
    return status, json.loads(target.read_text())


EVERY = {"truth", "ceilings", "vae", "wall", "warp", "distance"}


@pytest.mark.parametrize(
    ("member", "more"),
    [
        ("toybox-t2v", {"paraphrases", "triples", "flow", "identity"}),
        ("toybox-i2v", {"known", "identity"}),
        ("toybox-ti2v", {"known", "identity", "paraphrases", "triples", "flow"}),
        ("fewstep", {"paraphrases", "triples", "flow", "identity"}),
    ],
)
def test_every_member_is_asked_what_it_can_answer(folder, member, more):
    options = ["--steps", 4] if member == "fewstep" else []
    status, numbers = measure(folder, member, *options)
    assert (status, numbers["errors"]) == (0, {})
    assert set(numbers["seconds"]) == EVERY | more
    assert numbers["setup"]["world"] == "rich"
    assert numbers["setup"]["member"] == member
    assert numbers["truth"]["model"]["count"]["n"] == PROMPTS
    assert len(numbers["answers"]["truth-model"]["count"]) == PROMPTS
    assert numbers["seconds_per_clip"]["alone"]["mean"] > 0
    if "known" in more:
        assert set(numbers["first_frame"]) == {"psnr", "psnr_coded", "truth"}
        assert numbers["first_frame"]["truth"]["count"]["n"] == 3
        assert ("last_frame" in numbers) == (member == "toybox-i2v")
    if member == "fewstep":
        assert numbers["setup"]["settings"].endswith("steps=4,solver=euler,distilled=lightning")
    found = {claim.id for claim in toybox_claims.measured(numbers)}
    short = member.removeprefix("toybox-")
    assert f"toybox.{short}.count.ceiling_coded" in found
    assert f"toybox.{short}.distance_painted" in found


def test_a_path_is_measured_beside_its_floor(folder, monkeypatch):
    seen = []

    def fitted(rgb, scenes, *, requested=None):
        from filmgate.training.pose_fitting import FittedPath
        from filmgate.training.world.motion import camera_at

        moments = torch.linspace(0, 1, 2)
        seen.append(requested is not None)
        return FittedPath(camera_at(scenes, moments), moments, torch.ones(1, 2), torch.zeros(1, 2))

    whole, prompts = toybox_bench.Bench.see, []

    def seeing(bench, painter, said, *rest):
        prompts.append(said)
        return whole(bench, painter, said, *rest)

    monkeypatch.setattr(toybox_pixels, "fit_path", fitted)  # it has tests of its own, and takes long
    monkeypatch.setattr(toybox_bench.Bench, "see", seeing)
    status, numbers = measure(folder, "toybox-camera", "--only", "truth", "path")
    assert (status, numbers["errors"]) == (0, {})
    assert seen == [False, False, True, True], "the floor is found without knowing what was asked for"
    told, silent = prompts[-2:]
    assert "pan" in told[0].lower()
    assert "pan" not in silent[0].lower(), "who does not read the path does not know it"
    for kind in ("rendered", "coded", "painted", "told"):
        assert numbers["path"][kind]["degrees"]["mean"] == pytest.approx(0, abs=1e-3)
    by_id = {claim.id: claim for claim in toybox_claims.measured(numbers)}
    assert by_id["toybox.camera.path_painted_degrees"].goal == 0.8
    assert not by_id["toybox.camera.path_painted_units"].higher_is_better


def test_first_frames_are_those_of_the_questions_scenes(folder):
    options = toybox_truth.parse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["x", "--member", "toybox-i2v", "--family", str(folder / "ship"), "--prompts", "3",
                                    "--readers", str(folder / "reader.safetensors"), "--device", "cpu"])  # fmt: skip
        bench = toybox_bench.Bench(options(), torch.device("cpu"))
    told = bench.told(bench.scenes)
    whole = torch.cat([rgb for rgb, _ in bench.renders(bench.scenes)])
    expected = bench.painter.given(whole[1:3, :, 0])
    torch.testing.assert_close(told(slice(1, 3)).beside, expected.beside)


def test_large_clips_are_read_in_the_readers_size(folder, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["x", "--member", "toybox-ti2v", "--family", str(folder / "ship"), "--prompts", "1",
                                    "--readers", str(folder / "reader.safetensors"), "--device", "cpu"])  # fmt: skip
        bench = toybox_bench.Bench(toybox_truth.parse(), torch.device("cpu"))
    assert (bench.format.height, bench.read_size) == (64, (32, 32))
    small = torch.randint(0, 256, (1, 3, 5, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(bench.examine(large)[1], bench.examine(small)[1])


def test_a_world_is_known_by_its_words(tmp_path):
    for world in (FIRST, RICH, UNADORNED):
        (tmp_path / "vocabulary.txt").write_text("\n".join(lexicon_words(world)) + "\n")
        assert toybox_bench.world_of(tmp_path) == world
    (tmp_path / "vocabulary.txt").write_text("ball cube\n")
    assert toybox_bench.world_of(tmp_path) is None


def test_a_model_that_does_not_tell_its_world_has_to_be_asked_of_one(folder, tmp_path):
    shutil.copytree(folder / "ship" / "toybox-t2v", tmp_path / "model")
    (tmp_path / "model" / "vocabulary.txt").write_text("ball cube\n")
    with pytest.raises(InvalidRequest, match="--world"):
        measure(folder, "toybox-t2v", "--model", tmp_path / "model")


def test_a_member_that_is_nowhere_is_named(folder, monkeypatch):
    monkeypatch.setattr(toybox_bench, "packaged", lambda name: folder / "not-shipped" / name)
    with pytest.raises(InvalidRequest, match=r"toybox-2\.1 is not in"):
        measure(folder, "toybox-2.1")


def test_spoilt_clips_are_spoilt_as_they_say():
    rgb = torch.randint(0, 256, (2, 3, 5, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spoilt = toybox_bench.spoilt_clips(rgb)
    assert (spoilt["frozen"] == rgb[:, :, :1]).all()
    assert sorted(spoilt["shuffled"][0, 0, :, 0, 0].tolist()) == sorted(rgb[0, 0, :, 0, 0].tolist())
    assert not torch.equal(spoilt["shuffled"], rgb)
    assert spoilt["blurred"].float().std() < 0.4 * rgb.float().std()
    flat = torch.full((1, 3, 2, 16, 16), 77, dtype=torch.uint8)
    assert torch.equal(toybox_bench.spoilt_clips(flat)["blurred"], flat)


def test_frame_psnr_is_of_that_frame():
    one = torch.zeros(2, 3, 4, 8, 8, dtype=torch.uint8)
    other = one.clone()
    other[1, :, 0] = 255
    other[:, :, -1] = 16
    assert np.allclose(toybox_pixels.frame_psnr(one, other, last=False), [100, 0])
    assert np.allclose(toybox_pixels.frame_psnr(one, other, last=True), 10 * np.log10(255**2 / 16**2))


def test_claims_of_members_have_files_of_their_own(folder, tmp_path):
    _, numbers = measure(folder, "toybox-i2v", "--only", "truth")
    assert toybox_claims.publish(numbers, tmp_path).name.startswith("toybox_truth_i2v_")
    assert claims.read(tmp_path)[0].id.startswith("toybox.i2v.")


def test_the_familys_table_has_a_column_for_every_member(folder, tmp_path):
    for member in ("toybox-i2v", "toybox-camera"):
        _, numbers = measure(folder, member, "--only", "truth")
        numbers["first_frame"] = {"psnr": {"mean": 20.0, "low": 19.0, "high": 21.0, "n": 3}}
        toybox_claims.publish(numbers, tmp_path)
    table = runpy.run_path(str(Path(claims.__file__).parent / "toybox_family_table"))["table"]
    lines = table(claims.newest(claims.read(tmp_path))).splitlines()
    assert lines[0] == "| measured | goal | `toybox-i2v` | `toybox-camera` |"
    assert "| first frame, dB | ≥ 28 | 20 (missed) | 20 (missed) |" in lines
    assert table([]) == "No member has been measured yet."
