"""The benchmark of what lighter passes lose: a trial finds all numbers, and they become tables."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

import light_passes
from claims import Claim
from filmgate.engine.kernels.attention import attention_reference
from filmgate.engine.kernels.block_attention import block_attention
from filmgate.engine.kernels.token_order import token_order
from light_passes import Attention, by_truth, judged, structured

BENCH = Path(light_passes.__file__).parent


@pytest.fixture(scope="module")
def trial():
    """Numbers by name."""
    found = {}
    original = light_passes.measure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["light_passes.py", "--smoke"])
        patch.setattr(
            light_passes, "measure", lambda options: (found.setdefault(one.id, one) for one in original(options))
        )
        assert light_passes.main() == 0
    return {name: one.value for name, one in found.items()}


def test_a_trial_finds_what_is_to_be_expected(trial):
    for place in ("toybox.blocks", "structured.blocks"):
        read = {way: trial[f"{place}.{way}.25.read"] for way in ("chance", "means", "truth")}
        assert read["chance"] < read["means"] <= read["truth"] < 1
        assert trial[f"{place}.means.25.error_with_summary"] < trial[f"{place}.means.25.error"]
    assert 0.001 < trial["toybox.eight_bit.products.velocity"] < 0.2
    assert trial["toybox.velocity.blocks.25.summary"] < trial["toybox.velocity.blocks.25"]
    assert all(0.01 < value < 0.1 for name, value in trial.items() if name.endswith(".output"))


def test_the_errors_are_those_of_the_attention_that_is_used():
    attention = structured(3, (3, 5, 6))
    order = token_order(attention.grid, (2, 2))
    q, k, v = (x.index_select(1, order.places) for x in attention[:3])
    ordered = Attention(q, k, v, attention.grid)
    kept = []

    def choose(seen, true, block, budget):
        kept.append(by_truth(seen, true, block, budget))
        return kept[-1]

    (numbers,) = judged(attention, order, 8, {"truth": choose}, [0.3]).values()
    exact = attention_reference(q, k, v)
    for summary, error in ((False, numbers[1]), (True, numbers[2])):
        found = block_attention(*ordered[:3], kept[0], summary=summary)
        assert float((found - exact).norm() / exact.norm()) == pytest.approx(float(error), rel=1e-3)
    assert torch.isfinite(numbers).all()


def test_what_was_found_becomes_tables(trial):
    table = runpy.run_path(str(BENCH / "light_table"))
    named = {**trial, "toybox.blocks.means.25.read": 0.72, "toybox.blocks.means.25.error": 0.2}
    numbers = table["Numbers"]([Claim(name, value, "") for name, value in named.items()])
    assert "| 0.2 (0.72) |" in table["blocks"](numbers)
    assert "| feed-forward, in |" in table["eight_bit"](numbers)
    assert "on a GPU" in table["passes"](numbers)


def test_nothing_measured_is_said():
    table = runpy.run_path(str(BENCH / "light_table"))
    assert "Not measured yet" in table["blocks"](table["Numbers"]([Claim("a", 1, "s")]))
    assert "Not measured yet" in runpy.run_path(str(BENCH / "headline_table"))["table"]([Claim("a", 1, "s")])
