"""Light passes are measured one by one: what one kernel does or fails to do is not the next one's matter."""

import pytest
import torch

import light_forward
from filmgate.direction.acceleration import WAYS
from filmgate.engine.kernels.attention import sdpa
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.pipeline.speed import light_rule
from filmgate.spec import DeviceError, EightBit, SparseAttention
from forward_measure import dtype_of_parameter, inputs, row_of
from light_forward import Passes, light_passes, product_rule
from true_size_weights import materialised

CPU = torch.device("cpu")
READINGS = ("sparse_bf16", "8bit_products", "8bit", "sparse", "sparse_without_summary")


@pytest.fixture
def passes():
    row = row_of("a14b-480p", small=True)

    def build():
        return materialised(lambda: WanDiT(row.sizes.dit), CPU, dtype_of_parameter)

    x, timestep, text = inputs(row, CPU)
    cache = build().text_keys_values(text)

    @torch.no_grad()
    def run(network):
        return network(x, timestep, text_cache=cache)

    return Passes(build, run, run(build()), CPU)


def flash4_is(monkeypatch, attend):
    monkeypatch.setattr(light_forward, "why_not", lambda *_: None)
    monkeypatch.setattr(light_forward, "KERNELS", {"flash4": attend, "torch": sdpa})


def test_a_kernel_that_fails_costs_no_other_reading(passes, monkeypatch):
    def broken(q, k, v):
        raise AssertionError("of another version")

    flash4_is(monkeypatch, broken)
    found = light_passes(passes, small=True)
    assert found["flash4_failed"] == "AssertionError: of another version"
    assert "flash4" not in found
    assert [key for key in found if key.endswith("_failed")] == ["flash4_failed"]
    assert all(found[name] for name in READINGS)


def test_a_kernel_that_works_is_in_its_own_reading_alone(passes, monkeypatch):
    calls = []

    def counted(q, k, v):
        calls.append(q.shape)
        return sdpa(q, k, v)

    flash4_is(monkeypatch, counted)
    profiled = light_forward.profile

    def nothing_more(*arguments):
        assert len(calls) == 4 * 4, "two attentions of each of two blocks, in four passes"
        return profiled(*arguments)

    monkeypatch.setattr(light_forward, "profile", nothing_more)
    found = light_passes(passes, small=True)
    assert len(calls) == 16
    assert found["flash4.attention"] == "flash4"
    assert {found[f"{name}.attention"] for name in READINGS} == {"torch"}
    assert not [key for key in found if key.endswith("_failed")]


def test_the_kernels_of_sparse_passes_are_counted_while_means_are_read(passes, monkeypatch):
    lights, seen = [], []

    def watched(run, device):
        seen.append((lights[0].rule.summary, lights[0].sparse, lights[0].narrow))
        return {"a": float(len(seen))}

    prepared = light_forward.prepare

    def kept(*arguments):
        made = prepared(*arguments)
        lights.extend([made.light] if made.light is not None else [])
        return made

    monkeypatch.setattr(light_forward, "prepare", kept)
    monkeypatch.setattr(light_forward, "profile", watched)
    found = light_passes(passes, small=True)
    assert seen == [(True, False, True), (True, True, True)]
    assert (found["8bit_kernels"], found["sparse_kernels"]) == ({"a": 1.0}, {"a": 2.0})
    assert len(lights) == 1
    assert lights[0].rule.summary is False, "as the last reading left it"


def test_where_attention_cannot_be_light_products_are_measured_all_the_same(passes, monkeypatch):
    def check(*_, **__):
        raise DeviceError("attention by blocks needs a package")

    monkeypatch.setattr("filmgate.engine.runtime.prepare.check_block_attention", check)
    found = light_passes(passes, small=True)
    assert found["light_failed"] == "DeviceError: attention by blocks needs a package."
    assert found["8bit_products"]
    assert 1e-4 < found["8bit_products.relative_error"] < 0.1
    assert not set(READINGS) - {"8bit_products"} & set(found)


def test_what_is_measured_is_what_the_product_does():
    assert {type(use) for use in WAYS["fast"][0]} >= {EightBit, SparseAttention}
    measured = product_rule(small=False)
    assert measured == light_rule(WAYS["fast"][0])
    (sparse,) = (use for use in WAYS["fast"][0] if isinstance(use, SparseAttention))
    assert measured.dense_layers == sparse.dense_blocks == (0,)
    assert measured.choice.budget == sparse.budget


def test_a_trial_keeps_the_dense_blocks():
    small, true = product_rule(small=True), product_rule(small=False)
    assert (small.dense_layers, small.eight_bit) == (true.dense_layers, true.eight_bit)
    assert small.choice.budget == true.choice.budget
