"""Scenarios of round numbers, made by hand."""

from filmgate.economics.options import Attempt, Finance, Machine, Option, Quality, Scenario, Workload


def hosted(name="hosted", price=0.30, review=1.0, **changes):
    """An endpoint that takes ``price`` for a clip."""
    return Option(name=name, kind="hosted", model="wan2.1-t2v-14b", price=price, attempt=Attempt(generate=0),
                  quality=Quality(review=review), **changes)  # fmt: skip


def rented(name="rented", price=3.0, seconds=1200.0, review=0.5, **changes):
    """One GPU by the hour."""
    return Option(name=name, kind="pod", model="wan2.1-t2v-14b", device="h100", price=price,
                  attempt=Attempt(generate=seconds), quality=Quality(review=review), **changes)  # fmt: skip


def local(name="local", price=4000.0, seconds=534.7, review=1.0, watts=0.0, machine=None, **changes):
    """A card of one's own that draws nothing, unless said."""
    fields = {"price": price, "gpu_watts": watts, "host_watts": 0.0, "residual": 0.0, "availability": 1.0}
    own = Machine(**{**fields, **(machine or {})})
    return Option(name=name, kind="local", model="wan2.2-ti2v-5b", device="rtx4090", attempt=Attempt(generate=seconds),
                  quality=Quality(review=review), machine=own, **changes)  # fmt: skip


def scenario(*options, usable=100.0, growth=0.0, **finance):
    """The first option against the last."""
    return Scenario(tuple(options), options[0].name, options[-1].name, Workload(usable=usable, growth=growth),
                    Finance(**finance))  # fmt: skip
