"""The measuring of loading: whole on tiny networks, and what it claims."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import claims
import loading
import loading_checkpoint
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.tensors import open_tensors
from filmgate.engine.models.dit import WanDiT
from loading_peers import Peer, ranges_of
from warm_worker import model_directory

SCRIPT = Path(loading.__file__)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The record of a trial."""
    out = tmp_path_factory.mktemp("loading") / "out.json"
    command = [sys.executable, SCRIPT, "--smoke", "--json", out, "--repeats", "1"]
    subprocess.run(command, check=True, capture_output=True)
    return out, json.loads(out.read_text())


def test_a_trial_measures_every_way_in_one_run(smoke) -> None:
    rates = smoke[1]["host"]["gib_per_second"]
    assert set(rates) == {"ours", "peer", "mapped", "library", "fresh", "fresh_peer"}
    assert smoke[1]["host"]["share"] > 0
    warm = smoke[1]["warm"]
    for kind in ("kept", "loaded_again"):
        for row in warm[kind].values():
            assert 0 < row["plan"] < row["started"] < row["encoded"] < row["first_step"] < row["done"]


def test_a_trial_claims_nothing(smoke, tmp_path) -> None:
    with pytest.raises(ValueError, match="smoke"):
        loading.merge([smoke[0]], None, tmp_path)


@pytest.mark.parametrize(("device", "cold", "stored"), [("cpu", False, "bf16"), ("cuda", True, "fp32")])
def test_a_run_claims_shares_rates_and_seconds(smoke, tmp_path, device, cold, stored) -> None:
    content = {**smoke[1], "mode": "true", "device": device, "cold": cold, "stored": stored, "hardware": "a machine"}
    content["host"] |= {"share": 0.9, "fresh_share": 0.7}
    if device == "cuda":
        content["device_memory"] = {**content["host"], "share": 0.5, "fresh_share": None}
    (run := tmp_path / "run.json").write_text(json.dumps(content))
    found = {claim.id: claim for claim in claims.read(loading.merge([run], "abc", tmp_path / "results")[0].parent)}
    if device == "cpu":
        assert found["load.bandwidth_share"].met
        assert not found["load.fresh_bandwidth_share"].met
        assert found["load.gib_per_second"].value == content["host"]["gib_per_second"]["ours"]
        assert found["warm.request_seconds"].value == content["warm"]["kept"]["warm"]["first_step"]
        assert (found["warm.request_seconds"].goal, found["load.bandwidth_share"].goal) == (1.0, 0.8)
    else:
        assert not found["gpu.load.cold.fp32.bandwidth_share"].met
        assert found["gpu.load.host.cold.fp32.bandwidth_share"].met
        assert "gpu.load.cold.fp32.fresh_bandwidth_share" not in found
        assert all(name.startswith("gpu.") for name in found)


@pytest.mark.parametrize("stored", ["bf16", "fp32"])
def test_a_checkpoint_is_a_transformer_in_shards(tmp_path, stored) -> None:
    config = loading_checkpoint.config_of(1, stored, small=True)
    index = loading_checkpoint.write_checkpoint(config, stored, tmp_path)
    records = open_tensors(index).records
    with torch.device("meta"):
        assert records.shapes == {name: tuple(t.shape) for name, t in WanDiT(config).state_dict().items()}
    assert len(records.files) >= 3
    assert set(records.dtypes) == {{"bf16": "bfloat16", "fp32": "float32"}[stored]}
    assert records.bytes == loading_checkpoint.bytes_of(config, stored)
    loading.check(config, index, CPU, streamed=True)
    loading.check(config, index, CPU, streamed=False)


def test_layers_are_those_of_the_model_and_as_many_as_fit() -> None:
    whole, one = (loading_checkpoint.config_of(gib, "bf16", small=False) for gib in (40, 1))
    assert (whole.num_layers, one.num_layers) == (40, 1)
    assert whole.dim == one.dim == 5120
    assert 26 < loading_checkpoint.bytes_of(whole, "bf16") / 2**30 < 27


def test_the_peer_reads_the_same_bytes(tmp_path) -> None:
    config = loading_checkpoint.config_of(1, "bf16", small=True)
    tensors = open_tensors(loading_checkpoint.write_checkpoint(config, "bf16", tmp_path))
    records = list(tensors.records.tensors.values())
    peer = Peer(records, CPU, to_host=True)
    peer.read(3)
    expected = b"".join(path.read_bytes()[begin:end] for path, begin, end in ranges_of(records))
    assert peer.total == sum(record.bytes for record in records) == len(expected)
    assert peer.host.bytes.numpy().tobytes() == expected


def test_something_else_in_memory_is_noticed(tmp_path, monkeypatch) -> None:
    config = loading_checkpoint.config_of(1, "bf16", small=True)
    index = loading_checkpoint.write_checkpoint(config, "bf16", tmp_path)
    whole = loading.load

    def wrong(*args):
        network, stream = whole(*args)
        network.head.head.bias.add_(1)
        return network, stream

    monkeypatch.setattr(loading, "load", wrong)
    with torch.no_grad(), pytest.raises(AssertionError, match="something else"):
        loading.check(config, index, CPU, streamed=False)


def test_the_random_model_is_a_pair_that_can_be_planned_with(tmp_path) -> None:
    model = describe(model_directory(tmp_path, 1, "bf16", small=True))
    assert [expert.name for expert in model.experts] == ["high_noise", "low_noise"]
