"""Which way to place networks is taken, why, and what is said where nothing fits."""

import re

import pytest
from tests.direction.models import CPU, H200, model_of, tiny_pair, words

from filmgate.cli.text import describe_plan
from filmgate.direction.calibration import Machine, Measured
from filmgate.direction.devices import profile_named
from filmgate.direction.fit import mode_name, setting_of
from filmgate.direction.planner import plan
from filmgate.direction.workload import workload_of
from filmgate.spec import InvalidRequest, Request, ResidencyPlan

A14B, SMALL, TI2V = (model_of(name) for name in ("wan2.2-t2v-a14b", "wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"))
GIB = 2**30


def made_on(card, model=A14B, host=64, **wishes):
    device = card if not isinstance(card, str) else profile_named(card).description
    return plan(Request(prompt="a red ball", **wishes), model, device, words, machine=Machine(round(host * GIB)))


def refused(card, model=A14B, **wishes):
    with pytest.raises(InvalidRequest) as caught:
        made_on(card, model, **wishes)
    return caught.value


@pytest.mark.parametrize(
    ("profile", "model", "wishes", "mode"),
    [
        ("h200", A14B, {}, "one_expert"),
        ("h100", A14B, {}, "one_expert"),
        ("rtx4090", A14B, {"size": (832, 480)}, "streamed"),
        ("rtx4090", A14B, {}, "streamed"),
        ("rtx4090", TI2V, {}, "one_expert"),
        ("rtx3060", SMALL, {}, "one_expert"),
        ("m4-max", A14B, {}, "one_expert"),
        (CPU, tiny_pair(), {}, "one_expert"),
    ],
)
def test_the_fastest_way_that_fits_is_taken(profile, model, wishes, mode):
    wishes = dict(wishes)
    if size := wishes.pop("size", None):
        wishes |= {"width": size[0], "height": size[1]}
    made = made_on(profile, model, **wishes)
    assert made.residency.mode == mode
    (chosen,) = (option for option in made.options if option.residency == made.residency)
    assert chosen.fits
    assert chosen.reason.startswith("chosen")
    assert chosen.device_bytes <= made.device.memory_bytes
    assert all(option.seconds >= chosen.seconds / 1.01 for option in made.options if option.fits)


def refused_or_tight(profile, model, **wishes):
    """Whether a plan is refused, or made with a warning that it may not fit."""
    try:
        return made_on(profile, model, **wishes).warnings[-1].endswith("it may not fit")
    except InvalidRequest as error:
        return "no --vae-tile" in error.allowed


@pytest.mark.parametrize("profile", ["rtx4090", "rtx3090", "l4", "a10"])
def test_the_work_of_the_vae_counts_on_cards_of_24_gb(profile):
    # What convolutions take beside their numbers decides here: whole frames of 1280x704 do not fit.
    made = made_on(profile, TI2V)
    assert made.residency.vae_tile == 512
    whole = [option for option in made.options if option.residency.vae_tile is None]
    assert len(whole) == 3
    assert not any(option.fits for option in whole)
    assert refused_or_tight(profile, TI2V, vae_tile=0)


def test_the_work_of_the_vae_counts_on_a_card_of_12_gb():
    assert made_on("rtx3060", SMALL).residency.vae_tile == 512
    assert refused_or_tight("rtx3060", SMALL, vae_tile=0)
    assert made_on("rtx4080", SMALL).residency.vae_tile is None


def test_every_option_says_why_it_was_not_taken():
    made = made_on("rtx4090", width=832, height=480)
    reasons = {mode_name(option.residency): option.reason for option in made.options}
    assert list(reasons) == ["resident", "one-expert", "streamed"]
    assert reasons["resident"].endswith(" GiB too much for the device")
    assert reasons["one-expert"].endswith(" GiB too much for the device")
    assert reasons["streamed"] == "chosen: all that fits"
    large = {mode_name(option.residency): option.reason for option in made_on("h200").options}
    assert large == {
        "resident": "fits, and is no faster", "one-expert": "chosen: none is faster",
        "streamed": "fits, and is no faster",
    }  # fmt: skip


def test_a_way_that_is_slower_says_by_how_much():
    made = made_on("h200", host=16, frames=5)
    (streamed,) = (option for option in made.options if option.residency.mode == "streamed")
    assert streamed.residency.host == "mapped"
    assert streamed.fits
    assert streamed.reason == f"fits, {streamed.seconds / made.seconds:.2f} times as long"


def test_tiles_come_only_where_whole_frames_do_not_fit():
    made = made_on("rtx4090")
    assert made.residency.vae_tile == 512
    assert [option.residency.vae_tile for option in made.options] == [None] * 3 + [512] * 3
    assert not any(option.fits for option in made.options[:3])
    assert made_on("rtx4090", vae_tile=256).residency.vae_tile == 256
    assert "no --vae-tile" in refused("l4", vae_tile=0).allowed


def test_blocks_are_kept_where_copies_would_not_hide():
    slow = profile_named("rtx4090").description
    few = made_on(slow, model=A14B, width=256, height=256, frames=5, memory="streamed")
    assert few.residency.kept_blocks > 0
    assert few.options[0].device_bytes <= slow.memory_bytes
    long = made_on(slow, width=832, height=480)
    assert long.residency.kept_blocks == 0


def test_streaming_takes_page_locked_memory_only_where_there_is_enough():
    assert made_on("rtx4090", host=64).residency.host == "pinned"
    poor = made_on("rtx4090", host=16)
    assert poor.residency.host == "mapped"
    assert all(option.host_bytes <= 16 * GIB for option in poor.options if option.fits)
    assert made_on("rtx4090", host=0).residency.host == "pinned"


def test_what_was_asked_for_is_what_is_weighed():
    made = made_on("h200", memory="streamed")
    assert [option.residency.mode for option in made.options] == ["streamed"]
    assert made.residency.mode == "streamed"
    assert made.options[0].reason == "chosen: as asked"
    resident = made_on("h200", memory="resident")
    assert resident.residency.text_encoder == "device"
    assert made_on("h200", memory="resident", text_encoder="freed").residency.text_encoder == "freed"
    # 57 GB of experts fit into 80 GiB, and the text encoder beside them does not.
    assert made_on("h100", memory="resident", width=832, height=480, precision="bf16").residency.mode == "resident"


def test_what_cannot_fit_is_refused_with_what_would():
    error = refused("rtx3060", profile="plain")
    assert error.field == "memory"
    assert "needs at least 13" in str(error)
    assert "NVIDIA GeForce RTX 3060 has 11.6 GiB" in str(error)
    assert error.nearest == "--size 832x480"
    frames = int(error.allowed.rsplit("--frames ", 1)[1])
    assert frames % 4 == 1
    assert made_on("rtx3060", frames=frames, profile="plain").video.frames == frames
    assert made_on("rtx3060", frames=frames, profile="plain").warnings == ()
    assert made_on("rtx3060", frames=frames + 4, profile="plain").warnings[-1].endswith("it may not fit")
    assert made_on("rtx3060", width=832, height=480).residency.mode == "streamed"


def test_a_mode_that_does_not_fit_is_refused_and_the_others_are_named():
    error = refused("rtx4090", memory="one_expert")
    assert "(one-expert)" in str(error)
    assert error.nearest == "--memory auto"
    assert "--weights" not in error.allowed.split(", or ")[0]
    assert refused("a100-40", memory="one_expert", precision="fp32").allowed.count("--precision bf16") == 1
    assert "--weights fp8" in refused("l40s", memory="resident").allowed


def test_a_format_that_the_device_has_not_is_not_proposed():
    small = profile_named("m4-max").description.model_copy(update={"memory_bytes": 26 * GIB})
    assert refused(small, memory="one_expert", vae_tile=256).allowed.count("--weights int8") == 1


def test_two_changes_are_named_where_one_is_not_enough():
    card = profile_named("rtx3060").description.model_copy(update={"memory_bytes": 13 * GIB})
    assert refused(card, memory="one_expert").nearest == "--memory auto", "fused, it fits streamed"
    error = refused(card, memory="one_expert", profile="plain")
    assert error.nearest == "--weights int4 --size 640x352"
    made = made_on(card, memory="one_expert", weights="int4", width=640, height=352)
    assert made.residency.weights == "int4"


@pytest.mark.parametrize("device", [CPU, CPU.model_copy(update={"kind": "mps", "name": "Apple M2 GPU"})])
def test_what_shares_the_hosts_memory_streams_from_the_file_where_nothing_else_fits(device):
    made = made_on(device, width=832, height=480)
    assert (made.residency.mode, made.residency.host) == ("streamed", "mapped")
    assert made.options[-1].reason == "chosen: all that fits"
    assert any("streamed blocks save memory and take longer" in warning for warning in made.warnings)
    assert (
        made.times.forward > made_on(device.model_copy(update={"memory_bytes": 0}), width=832, height=480).times.forward
    )
    smallest = refused(device.model_copy(update={"memory_bytes": 4 * GIB}), width=832, height=480)
    assert "(streamed" in str(smallest)
    roomy = made_on(device.model_copy(update={"memory_bytes": 128 * GIB}), width=832, height=480)
    assert roomy.residency.mode == "one_expert"
    seconds = {option.residency.mode: option.seconds for option in roomy.options}
    assert seconds["streamed"] > seconds["one_expert"]


def test_what_others_use_of_the_device_is_not_planned_with():
    wish, h200 = Request(prompt="a red ball"), profile_named("h200").description
    alone = plan(wish, A14B, h200, words, machine=Machine(64 * GIB, device_free=h200.memory_bytes))
    shared = plan(wish, A14B, h200, words, machine=Machine(64 * GIB, device_free=30 * GIB))
    assert (alone.residency.mode, shared.residency.mode) == ("one_expert", "streamed")
    assert shared.device == alone.device == h200
    with pytest.raises(InvalidRequest, match=r"and NVIDIA H200 has 8\.0 GiB free"):
        plan(wish, A14B, h200, words, machine=Machine(64 * GIB, device_free=8 * GIB))
    exact = next(option.device_bytes for option in shared.options if option.residency == shared.residency)
    tight = Machine(64 * GIB, device_free=exact - 100 * 2**20)
    made = plan(Request(prompt="a red ball", vae_tile=0, memory="streamed"), A14B, h200, words, machine=tight)
    assert "GiB that are free of NVIDIA H200: it may not fit" in made.warnings[-1]


@pytest.mark.parametrize("profile", ["t4", "v100"])
def test_cards_without_bf16_compute_in_fp16(profile):
    made = made_on(profile, SMALL)
    assert made.precision == "fp16"
    assert any(warning.endswith("has no bf16: it computes in fp16") for warning in made.warnings)
    error = refused(profile, SMALL, precision="bf16")
    assert (error.field, error.allowed, error.nearest) == ("precision", "fp16 or fp32", "fp16")
    assert made_on(profile, SMALL, precision="fp16").warnings == ()
    assert made_on("rtx3060", SMALL).precision == "bf16"


def test_a_host_that_is_too_small_is_told():
    for host, wishes in ((1, {}), (1, {"memory": "streamed"}), (1.9, {"width": 832, "height": 480})):
        error = refused("rtx4090", host=host, **wishes)
        assert "of the machine's own memory" in str(error)
        assert error.allowed == "a machine with more memory"


def test_what_only_just_fits_is_warned_of():
    exact = made_on("h200").options[1].device_bytes
    tight = H200.model_copy(update={"memory_bytes": exact - 300 * 2**20})
    made = plan(Request(prompt="a red ball", memory="one_expert"), A14B, tight, words)
    assert made.warnings[-1].endswith("of NVIDIA H200: it may not fit")
    assert made.options[0].reason == "chosen: the least memory"
    roomy = H200.model_copy(update={"memory_bytes": exact})
    assert plan(Request(prompt="a red ball", memory="one_expert"), A14B, roomy, words).warnings == ()


def test_a_little_too_much_is_not_said_to_be_nothing():
    need = made_on("h200").options[1].device_bytes
    short = H200.model_copy(update={"memory_bytes": need - 5 * 2**20})
    reasons = {
        option.residency.mode: option.reason
        for option in plan(Request(prompt="a red ball"), A14B, short, words).options
    }
    assert reasons["one_expert"] == "5.0 MiB too much for the device"


def test_a_device_of_unknown_memory_takes_everything():
    unknown = H200.model_copy(update={"memory_bytes": 0})
    made = plan(Request(prompt="a red ball"), A14B, unknown, words)
    assert all(option.fits for option in made.options)
    assert made.residency.mode == "one_expert"


@pytest.mark.parametrize(
    ("residency", "name"),
    [
        (ResidencyPlan(), "one-expert"),
        (ResidencyPlan(mode="streamed", kept_blocks=3), "streamed, 3 blocks kept"),
        (ResidencyPlan(mode="streamed", host="mapped", vae_tile=256), "streamed, from disk, tiles of 256"),
        (ResidencyPlan(weights="fp8"), "one-expert, fp8 weights"),
    ],
)
def test_names_of_ways(residency, name):
    assert mode_name(residency) == name


@pytest.mark.parametrize(
    ("card", "gpus", "host", "wishes", "mode"),
    [
        ("h100", 4, 256, {}, "one_expert"),
        ("rtx4090", 4, 256, {}, "sharded"),
        ("rtx4090", 4, 64, {}, "sharded"),
        ("rtx5090", 2, 64, {}, "sharded"),
        ("rtx4090", 1, 64, {}, "streamed"),
        ("rtx4090", 4, 64, {"weights": "fp8"}, "one_expert"),
    ],
)
def test_experts_are_sharded_where_a_device_has_no_room_for_one(card, gpus, host, wishes, mode):
    made = made_on(card, host=host, gpus=gpus, **wishes)
    assert made.residency.mode == mode
    modes = [option.residency.mode for option in made.options]
    assert ("sharded" in modes) == (gpus > 1)
    (chosen,) = (option for option in made.options if option.residency == made.residency)
    assert chosen.fits
    assert chosen.device_bytes <= made.device.memory_bytes


def test_what_is_sharded_is_told():
    made = made_on("rtx4090", gpus=4)
    told = describe_plan(made)
    assert "it keeps 1/4 of an expert's blocks" in told
    # Each of 40 passes for both texts brings three quarters of 27 GiB, less what lies outside of the blocks.
    (gathered,) = re.findall(r"([\d.]+) GiB of weights come to each meanwhile", told)
    assert 0.9 * 40 * 27 * 3 / 4 < float(gathered) < 40 * 27 * 3 / 4
    assert "sharded" not in {option.residency.mode for option in made_on("h100").options}
    asked = made_on("h100", gpus=4, memory="sharded")
    assert asked.residency.mode == "sharded"
    assert asked.memory.weights < made_on("h100", gpus=4).memory.weights / 2
    assert mode_name(ResidencyPlan(mode="sharded", kept_blocks=3)) == "sharded, 3 blocks kept"


def test_nobody_shares_with_one_device():
    error = refused("h100", memory="sharded")
    assert "nobody to share an expert with" in str(error)
    assert error.nearest == "streamed"
    assert "nobody" in str(refused("h100", memory="sharded", gpus=1))


def test_blocks_stay_where_a_link_is_too_slow_to_hide_them():
    """With few frames a pass is short, and the link carries what is exchanged as well."""
    made = made_on("rtx4090", gpus=2, frames=5, width=832, height=480, memory="sharded")
    assert made.residency.kept_blocks > 0
    fast = made_on("h100", gpus=2, memory="sharded")
    assert fast.residency.kept_blocks == 0


def test_several_devices_are_never_planned_as_measured():
    """What is remembered are videos of one device."""
    alone = made_on(H200)
    setting = setting_of(workload_of(alone, 4), alone.residency, Machine())
    seen = Measured(setting=setting, forward=20.0, expected_forward=10.0)
    again, shared = (
        plan(Request(prompt="a red ball", gpus=gpus), A14B, H200, words, machine=Machine(measured=[seen]))
        for gpus in (1, 2)
    )
    assert again.times.basis == "measured"
    assert shared.times.basis == "calibrated"
    assert shared.times.denoise == pytest.approx(again.times.denoise / 2, rel=0.01)


def test_so_many_processes_fit_as_there_is_memory_for():
    wishes = {"device": "cpu", "memory": "one_expert", "vae_tile": 0}
    (alone,) = made_on(CPU.model_copy(update={"memory_bytes": 1 << 40}), SMALL, **wishes).options
    four = CPU.model_copy(update={"memory_bytes": 4 * alone.device_bytes + 4096})
    error = refused(four, SMALL, gpus=1000, **wishes)
    assert error.field == "gpus"
    assert "for each of 1000 processes" in str(error)
    most = int(error.nearest)
    assert most >= 4
    assert error.allowed == f"1 to {most}"
    assert "may not fit" not in " ".join(made_on(four, SMALL, gpus=most, **wishes).warnings)
    assert refused(four, SMALL, gpus=most + 1, **wishes).nearest == str(most)


def test_of_gpus_so_many_fit_as_the_host_has_memory_for():
    error = refused("h100", host=64, gpus=1000)
    assert error.field == "gpus"
    assert "for all of 1000 GPUs" in str(error)
    assert made_on("h100", host=64, gpus=int(error.nearest)).layout.ranks == int(error.nearest) == 32


def test_a_video_that_fits_on_no_number_of_gpus_is_what_is_refused():
    assert refused("rtx3060", gpus=2, memory="one_expert", vae_tile=0).field == "memory"
