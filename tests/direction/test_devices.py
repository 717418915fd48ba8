"""Profiles of devices."""

import pytest
from tests.direction.models import CPU

from filmgate.direction.devices import PROFILES, profile_named, profile_of, speed_of
from filmgate.spec import DeviceDescription, UnknownName


def gpu(name, kind="cuda"):
    return DeviceDescription(kind=kind, name=name, memory_bytes=80 << 30)


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H20", "h20"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("NVIDIA A10G", "a10"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000-ada"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "rtx4070ti-super"),
        ("Tesla T4", "t4"),
    ],
)
def test_gpus_are_known_by_their_names(name, profile):
    assert profile_of(gpu(name)).name == profile


def test_a_profile_is_found_by_what_its_own_driver_says():
    assert [profile_of(profile.description) for profile in PROFILES] == list(PROFILES)
    assert [profile_named(profile.name) for profile in PROFILES] == list(PROFILES)


def test_the_devices_that_were_promised_are_there():
    names = {profile.name for profile in PROFILES}
    assert names >= {
        "rtx3060", "rtx3090", "rtx4070ti-super", "rtx4080", "rtx4090", "rtx5090", "a100-40", "a100-80", "l4", "l40s",
        "a6000", "h100", "h200", "b200", "m4-max",
    }  # fmt: skip


def test_names_are_typed_in_any_case_and_a_wrong_one_names_those_alike():
    assert profile_named("RTX4090").name == "rtx4090"
    with pytest.raises(UnknownName, match="device_profile") as caught:
        profile_named("rtx4091")
    assert "rtx4090" in caught.value.nearest
    assert "cpu" in caught.value.allowed


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_what_is_reached_is_part_of_a_peak(profile):
    assert all(0.1 <= part <= 0.95 for part in profile.reached if part)  # 0: no faster than torch's
    assert profile.half >= profile.single > 0
    assert profile.fp8 == 0 or profile.fp8 > profile.half
    assert profile.source
    assert profile.description.memory_bytes == round(profile.memory * 2**30)
    assert (profile.copies == 0) == (profile.kind == "mps")


def test_speeds_are_peaks_times_what_is_reached():
    profile = profile_named("a100-80")
    half, single = (speed_of(profile.description, precision) for precision in ("bf16", "fp32"))
    assert half.products == profile.half * 1e12 * profile.reached.products
    assert half.attention == profile.half * 1e12 * profile.reached.attention
    assert single.products == single.attention == profile.single * 1e12 * profile.reached.single
    assert half.vae == single.vae == profile.single * 1e12 * profile.reached.vae
    assert half.copies == profile.copies * 1e9
    assert half.traffic == profile.bandwidth * 1e9 * profile.reached.bandwidth


def test_an_unknown_gpu_and_other_kinds_have_a_speed_too():
    assert speed_of(gpu("A GPU of tomorrow"), "bf16").products > 0
    apple = speed_of(gpu("Apple M9 GPU", "mps"), "bf16")
    assert 0 < apple.products < speed_of(gpu("Apple M4 Max GPU", "mps"), "bf16").products
    four = CPU.model_copy(update={"cores": 4})
    assert speed_of(four, "fp32").products == 2 * speed_of(CPU, "fp32").products
    assert speed_of(CPU, "fp32").copies == 0


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("RTX4090", "rtx4090"), ("rtx 4090", "rtx4090"), ("RTX-4090", "rtx4090"), ("rtx_4090", "rtx4090"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"), ("GeForce RTX 4070 Ti SUPER", "rtx4070ti-super"), ("H100", "h100"),
        ("NVIDIA H100 80GB HBM3", "h100"), ("H100 PCIe", "h100-pcie"), ("A100-SXM4-80GB", "a100-80"),
        ("a100 80", "a100-80"), ("NVIDIA RTX 6000 Ada", "rtx6000-ada"), ("Tesla T4", "t4"), ("M4 Max", "m4-max"),
    ],
)  # fmt: skip
def test_a_card_may_be_written_as_people_write_it(written, name):
    assert profile_named(written).name == name


def test_no_two_profiles_are_written_alike_and_doubtful_names_are_not_guessed():
    assert all(profile_named(profile.title) == profile for profile in PROFILES)
    with pytest.raises(UnknownName) as caught:
        profile_named("A100")
    assert "a100-80" in caught.value.nearest
    with pytest.raises(UnknownName) as caught:
        profile_named("H101")
    assert caught.value.nearest.startswith("h100")
