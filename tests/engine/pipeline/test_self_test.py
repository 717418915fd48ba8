"""The fingerprints tell a device that computes rightly from one that does not."""

import pytest
import torch

from filmgate.engine.pipeline import self_test


def test_the_stored_numbers_come_out_again():
    results = list(self_test.compare("cpu"))
    assert len(results) == 4
    assert all(result["error"] <= result["allowed"] for result in results)


def test_bf16_is_really_computed_in_bf16():
    errors = {result["precision"]: result["error"] for result in self_test.compare("cpu")}
    assert errors["bf16"] > 1e-3 > errors["fp32"]


def spoilt(monkeypatch, name, wrong):
    monkeypatch.setattr(self_test, "outputs", lambda _, dtype: {**OUTPUTS[dtype], name: wrong(OUTPUTS[dtype][name])})


OUTPUTS = {dtype: self_test.outputs(torch.device("cpu"), dtype) for dtype in self_test.PRECISIONS.values()}


@pytest.mark.parametrize("name", ["transformer", "autoencoder"])
@pytest.mark.parametrize("wrong", [lambda x: 1.1 * x, torch.zeros_like, lambda x: x.roll(1), lambda x: x * torch.nan])
def test_wrong_numbers_are_seen_in_every_precision(monkeypatch, name, wrong):
    spoilt(monkeypatch, name, wrong)
    found = {(r["network"], r["error"] is None or r["error"] > r["allowed"]) for r in self_test.compare("cpu")}
    assert found == {(network, network == name) for network in ("transformer", "autoencoder")}


def test_a_device_that_cannot_compute_says_why(monkeypatch):
    def broken(device, dtype):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(self_test, "outputs", broken)
    assert {(r["error"], r["why"]) for r in self_test.compare("cuda")} == {(None, "no kernel image is available")}


@pytest.mark.gpu
def test_a_cuda_device_stays_within_its_tolerance():
    assert all(result["error"] <= result["allowed"] for result in self_test.compare("cuda"))
