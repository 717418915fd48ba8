"""What a request says of where networks lie."""

import pytest
from tests.direction.models import CPU, H200, tiny_pair, words

from filmgate.direction.devices import profile_named
from filmgate.direction.planner import plan
from filmgate.direction.residency import asked_residency, narrow_formats, shared_residency
from filmgate.spec import InvalidRequest, Request, ResidencyPlan

APPLE = profile_named("m4-max").description


def asked(device=CPU, model=None, **wish):
    return asked_residency(Request(prompt="a ball", **wish), model or tiny_pair(), device)


def test_nothing_is_one_network_at_a_time():
    assert asked() == ResidencyPlan()


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"memory": "resident"}, {"mode": "resident", "text_encoder": "device"}),
        ({"memory": "resident", "text_encoder": "cpu"}, {"mode": "resident", "text_encoder": "cpu"}),
        ({"memory": "streamed"}, {"mode": "streamed", "text_encoder": "freed"}),
        ({"weights": "as_stored"}, {"weights": "as_stored"}),
        ({"vae_tile": 256}, {"vae_tile": 256}),
        ({"vae_tile": 0}, {"vae_tile": None}),
    ],
)
def test_what_is_asked_for(wish, expected):
    assert asked(**wish) == ResidencyPlan(**expected)


@pytest.mark.parametrize(("tile", "nearest"), [(32, "64"), (-8, "64"), (250, "248"), (100, "96"), (63, "64")])
def test_tiles_are_whole_positions_and_not_too_few(tile, nearest):
    with pytest.raises(InvalidRequest, match=r"vae_tile: .*multiples of 8 from 64") as caught:
        asked(vae_tile=tile)
    assert caught.value.nearest == nearest


def test_fp8_is_not_for_apples_gpu():
    stored = tiny_pair()
    experts = tuple(expert.model_copy(update={"dtype": "float8_e4m3fn"}) for expert in stored.experts)
    stored = stored.model_copy(update={"experts": experts})
    with pytest.raises(InvalidRequest, match="weights: Apple M4 Max GPU has no fp8") as caught:
        asked(APPLE, weights="fp8")
    assert caught.value.nearest == "int8"
    assert "fp8" not in caught.value.allowed
    with pytest.raises(InvalidRequest, match=r"has no fp8, in which .* is stored"):
        asked(APPLE, stored, weights="as_stored")
    for weights in ("as_computed", "bf16", "int8", "int4"):
        assert asked(APPLE, stored, weights=weights).weights == weights
    assert asked(APPLE, weights="as_stored").weights == "as_stored"
    for device in (CPU, H200):
        assert asked(device, weights="fp8").weights == asked(device, stored, weights="fp8").weights == "fp8"
        assert asked(device, stored, weights="as_stored").weights == "as_stored"


def test_formats_of_few_bits_come_from_wide_to_narrow():
    assert narrow_formats(H200) == narrow_formats(CPU) == ("fp8", "int8", "int4")
    assert narrow_formats(APPLE) == ("int8", "int4")


@pytest.mark.parametrize(("device", "told"), [(CPU, True), (H200, False)])
def test_streaming_is_of_little_use_without_a_copy_stream(device, told):
    made = plan(Request(prompt="a ball", memory="streamed"), tiny_pair(), device, words)
    assert any("does not copy while it computes" in warning for warning in made.warnings) is told


def test_what_is_shared_takes_the_least_memory_of_all():
    large = ResidencyPlan(mode="resident", text_encoder="device", vae_tile=256)
    streamed = ResidencyPlan(mode="streamed", kept_blocks=7)
    assert shared_residency([large]) == large
    assert shared_residency([large, ResidencyPlan()]) == ResidencyPlan(vae_tile=256)
    assert shared_residency([ResidencyPlan(), streamed]) == streamed
    few = ResidencyPlan(mode="streamed", kept_blocks=3, host="mapped")
    assert shared_residency([streamed, large, few]) == few
    parts = [ResidencyPlan(mode="sharded", kept_blocks=count) for count in (9, 4)]
    assert shared_residency([*parts, ResidencyPlan()]) == parts[1]
    assert shared_residency([*parts, streamed]) == streamed
    assert shared_residency([streamed, large, few]).deciding == streamed.deciding
