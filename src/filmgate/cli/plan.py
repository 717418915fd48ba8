"""``filmgate plan``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from filmgate.cli.options import AsJson, takes_request

if TYPE_CHECKING:
    from filmgate.spec import Plan

_BASIS = {
    "analytic": "counted, not measured: `filmgate plan --measure` or the first video makes it exact",
    "calibrated": "counted, and corrected by another video that this device made",
    "measured": "as measured on this device",
}


@takes_request
def plan(
    request: Any,
    device_profile: Annotated[
        str | None,
        typer.Option(
            "--device-profile", metavar="NAME", help="Plan for this device, here or not: rtx4090, h100, m4-max, ..."
        ),
    ] = None,
    host_memory: Annotated[
        float | None,
        typer.Option("--host-memory", metavar="GIB", help="Plan for a machine with so many GiB of its own memory."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Do two steps on the device first, and plan by what they take.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print what `generate` would do, need and take, without doing it."""
    from filmgate.app import Filmgate
    from filmgate.cli.text import describe_plan, json_text
    from filmgate.spec import InvalidRequest

    if measure and device_profile is not None:
        raise InvalidRequest("measure", "a profile cannot be measured", allowed="without device_profile")
    if host_memory is not None and not 0 < host_memory < float("inf"):
        raise InvalidRequest("host_memory", f"{host_memory:g} GiB is no memory", allowed="more than 0")
    host_bytes = None if host_memory is None else round(host_memory * 2**30)
    filmgate = Filmgate()
    planned = filmgate.plan(request, device_profile=device_profile, host_memory=host_bytes)
    if measure:
        filmgate.measure(planned)
        planned = filmgate.plan(request, host_memory=host_bytes)
    print(json_text(planned) if as_json else f"{describe_plan(planned)}\n\n{describe_needs(planned)}")


def describe_needs(plan: Plan) -> str:
    """Where the time goes, and the ways to place the networks that were weighed, each with why it was taken or not."""
    from filmgate.cli.text import columns, duration_text, size_text
    from filmgate.direction.fit import mode_name

    times = plan.times
    stages = [
        ("Loading", duration_text(times.load), "of weights, from disk"),
        ("Encoding", duration_text(times.encode), "of texts and pictures"),
        ("Denoising", duration_text(times.denoise), _passes(plan)),
        ("Decoding", duration_text(times.decode), f"of {plan.video.frames} frames"),
        ("Rests on", times.basis, _BASIS[times.basis]),
    ]
    ways = [("Memory mode", "device" if plan.layout.ranks == 1 else "each device", "host", "time", "")]
    for option in plan.options:
        sizes = (size_text(option.device_bytes), size_text(option.host_bytes) if option.host_bytes else "-")
        ways.append((mode_name(option.residency), *sizes, duration_text(option.seconds), option.reason))
    return f"{columns(stages)}\n\n{columns(ways)}"


def _passes(plan: Plan) -> str:
    """How often the network runs, and how long that takes. One run may read both texts of guidance, and of devices that
    read one each all are as long at it as one."""
    from filmgate.cli.text import duration_text
    from filmgate.direction.workload import workload_of

    made = [plan.passes_of(index) for index in range(len(plan.steps))]
    runs, both = sum(count > 0 for count in made), made.count(2)
    one = plan.times.forward
    if plan.layout.cfg > 1 and runs:
        shared = f"for one of two texts{'' if both == runs else f' in {both}, for the same one in {runs - both}'}"
        return f"{runs} passes of {duration_text(plan.times.denoise / runs)} on each device, {shared}"
    if not both or not workload_of(plan).paired:
        return f"{sum(made)} passes of {duration_text(one)}"
    pairs = f"{both} passes for both texts at once, of {duration_text(2 * one)}"
    return pairs if both == runs else f"{pairs}, and {runs - both} for one, of {duration_text(one)}"
