"""Operations and bytes are counted as the networks make them, whatever was measured."""

from dataclasses import replace

import pytest

from floors import BANDWIDTH, PEAK, PEAK_8BIT, convolutions_of, parts_of, together
from forward_measure import latent_of, row_of
from light_forward import product_rule
from reached import points
from true_size_models import forward_operations

A14B = row_of("a14b-720p", small=False)


def test_a_pass_has_the_operations_of_its_layers():
    config, tokens = A14B.sizes.dit, A14B.tokens
    parts = parts_of(config, tokens)
    ends = 2 * tokens * config.dim * 4 * (config.in_dim + config.out_dim)
    counted = parts["attention"].operations + parts["products"].operations
    assert counted == pytest.approx(forward_operations(config, tokens) - ends, rel=1e-12)


def test_floors_are_the_higher_of_both_roofs():
    parts = parts_of(A14B.sizes.dit, A14B.tokens)
    assert parts["attention"].floor == pytest.approx(parts["attention"].operations / PEAK)
    assert parts["norms"].floor == pytest.approx(parts["norms"].bytes / BANDWIDTH)
    assert together(parts.values()).floor == pytest.approx(sum(part.floor for part in parts.values()))


def test_lighter_passes_have_lower_floors():
    config, tokens, rule = A14B.sizes.dit, A14B.tokens, product_rule(small=False)
    plain = parts_of(config, tokens)
    eight = parts_of(config, tokens, eight_bit=True, rule=replace(rule, choice=None))
    sparse = parts_of(config, tokens, eight_bit=True, rule=rule)
    # Two of forty blocks have wide products; attention to text stays wide in all.
    share = 2 / 40 + 38 / 40 * PEAK / PEAK_8BIT
    assert eight["products"].floor == pytest.approx(share * plain["products"].floor, rel=1e-6)
    assert eight["attention"].floor == pytest.approx(plain["attention"].floor * PEAK / PEAK_8BIT, rel=0.02)
    assert sparse["attention"].operations < 0.3 * plain["attention"].operations, (
        "a quarter, one dense block, means, text"
    )
    assert sparse["attention"].operations > 0.25 * plain["attention"].operations
    everywhere = parts_of(config, tokens, eight_bit=True, rule=replace(rule, dense_layers=()))
    assert everywhere["attention"].operations < sparse["attention"].operations


def test_convolutions_of_decoding_are_counted_chunk_by_chunk():
    config, latent = A14B.sizes.vae, latent_of(A14B)
    frames = [convolutions_of(config, latent, count).operations for count in (1, 2, 3)]
    assert frames[1] - frames[0] == frames[2] - frames[1] > 3 * frames[0] / 4, "four frames after the first one"
    video = A14B.video.width * A14B.video.height
    assert (frames[2] - frames[1]) / 4 / video == pytest.approx(8.53e6, rel=0.02), "as bench/true_size_models.py has it"


def test_only_what_was_measured_is_drawn():
    stem = "gpu.a14b.720p.forward"
    found = {f"{stem}.profile.attention": 8532.0, f"{stem}.sparse.profile.attention": 1500.0,
             "gpu.vae21.profile.convolution": 388.0}  # fmt: skip
    drawn = {(point.name, point.way, point.kind): point for point in points(found)}
    assert set(drawn) == {
        ("a14b-720p", "", "attention"), ("a14b-720p", "sparse", "attention"), ("vae21", "", "convolution"),
    }  # fmt: skip
    assert drawn["a14b-720p", "", "attention"].speed / 1e12 == pytest.approx(552, abs=1)
    assert all(0 < point.share < 1 for point in drawn.values())
