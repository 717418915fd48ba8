"""What makes a plan fast, by request and device."""

import pytest
from tests.direction.models import CPU, H200, model_of, words

from filmgate.direction.devices import profile_named
from filmgate.direction.planner import plan
from filmgate.spec import InvalidRequest, Request, SpeedPlan

A14B = model_of("wan2.2-t2v-a14b")
T4, RTX4090 = (profile_named(name).description for name in ("t4", "rtx4090"))


def speed(device, **wish):
    return plan(Request(prompt="a red ball", **wish), A14B, device, words).speed


def test_what_nobody_asks_for_changes_nothing_but_rounding():
    assert speed(H200) == SpeedPlan(profile="exact", attention="cudnn")
    assert speed(RTX4090) == SpeedPlan(profile="exact", attention="torch"), "no faster there"
    assert speed(CPU) == SpeedPlan()
    assert speed(H200, precision="fp32") == SpeedPlan(profile="exact", attention="torch")


def test_plain_is_the_network_as_it_is_written():
    assert speed(H200, profile="plain") == SpeedPlan()
    assert speed(H200, profile="plain", attention="cudnn") == SpeedPlan(attention="cudnn")
    assert speed(CPU, profile="exact") == SpeedPlan(), "which gives what exact promises"


def test_who_has_flashattention_4_has_the_fastest_at_each_shape():
    device = H200.model_copy(update={"flash4": True})
    assert speed(device) == SpeedPlan(profile="exact", attention="fastest")
    assert speed(device, attention="cudnn").attention == "cudnn"
    assert speed(device, profile="plain").attention == "torch"
    assert speed(device, precision="fp32").attention == "torch"


def test_without_triton_it_is_plain_and_says_so():
    device = H200.model_copy(update={"triton": False})
    made = plan(Request(prompt="a red ball"), A14B, device, words)
    assert made.speed == SpeedPlan(attention="cudnn")
    assert any("Triton is not installed" in warning for warning in made.warnings)
    asked = plan(Request(prompt="a red ball", profile="plain"), A14B, device, words)
    assert not any("Triton" in warning for warning in asked.warnings)


def test_the_vae_computes_in_what_is_asked_for():
    assert speed(H200, vae_precision="bf16").vae_precision == "bf16"
    assert speed(CPU, vae_precision="bf16").vae_precision == "bf16"


@pytest.mark.parametrize(
    ("device", "wish", "message"),
    [
        (CPU, {"attention": "cudnn"}, r"attention: .*A processor in .*Nearest valid: torch"),
        (T4, {"attention": "cudnn"}, r"attention: .*from Ampere on.*T4 in fp16"),
        (H200, {"attention": "cudnn", "precision": "fp32"}, r"attention: .*fp32"),
        (CPU, {"vae_precision": "fp16"}, r"vae_precision: .*Nearest valid: bf16"),
        (T4, {"vae_precision": "bf16"}, r"vae_precision: .*T4 has no bf16.*Nearest valid: fp16"),
    ],
)
def test_what_a_device_cannot_do(device, wish, message):
    with pytest.raises(InvalidRequest, match=message):
        speed(device, **wish)


def test_fast_plans_take_less_time_and_memory():
    def made(**wish):
        return plan(Request(prompt="a red ball", width=1280, height=720, **wish), A14B, H200, words)

    plain, exact, narrow = made(profile="plain"), made(), made(vae_precision="bf16")
    assert exact.times.denoise < 0.75 * plain.times.denoise
    assert exact.memory.activations < 0.75 * plain.memory.activations
    assert exact.times.decode == plain.times.decode
    assert narrow.times.decode < exact.times.decode / 4
    assert narrow.memory.vae < exact.memory.vae / 2
