"""The rules by which a setup is recommended, as data, and the votes for the small or the large model.

The conditions for TI2V-5B and for A14B are those of a guide to Wan 2.2 for teams (2025). They are counted openly, so
that anybody can see which of them decided. The others are ours, and say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from filmgate.economics.feasibility import Form, Setup
from filmgate.economics.needs import Needs
from filmgate.spec.shape import Frozen

Size = Literal["small", "large"]
_GUIDE = "guide 'WAN 2.2 vs WAN 2.1', model selection"
_PLANNER = "Filmgate's planner (docs/planning.md)"
_HOUSE = "rule of Filmgate (docs/assessment.md)"
FEW, MANY = 300, 2000
"""Usable videos a month below which a machine is not worth having, and above which one is always busy."""
BURSTY = 3.0
"""A busiest day of so many average ones is work that comes in bursts."""
CLOUD = "cloud infrastructure available"
"""The condition that says little by itself."""
CONSUMER = 33 * 2**30
"""Bytes up to which a card is one that people buy for themselves."""


class Rule(NamedTuple):
    """A rule: what it says, and who says so."""

    text: str
    source: str


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "able": Rule("the model can make the kind of video that is needed", "published models"),
        "fits": Rule("memory of the device, of the machine and disk suffice", _PLANNER),
        "size": Rule(
            "of TI2V-5B and A14B the one for which more of the guide's conditions speak; for broadcast A14B alone",
            _GUIDE,
        ),
        "few_steps": Rule(
            "4-step weights: for drafts, for social at 480p, or where they were compared and accepted; never for"
            " broadcast", _HOUSE,
        ),
        "resolution": Rule("a model that paints at the resolution goes before one that must be scaled", _HOUSE),
        "busy": Rule("devices are busy for 70 % of their hours at most, and keep up on the busiest day", _HOUSE),
        "deadline": Rule("nineteen of twenty videos are ready in time", "queue M/D/1"),
        "privacy": Rule("prompts and pictures go no further than they may", "your answer"),
        "deployment": Rule(
            f"a card that is here goes first; else under {FEW} videos a month, or in bursts, pay per use; up to {MANY}"
            " rent by the hour; above, reserve or buy", _HOUSE,
        ),
        "budget": Rule(
            "compute stays within the budget; what has no price is not known to, and goes after all that has one",
            "your answer, and dated prices",
        ),
        "card": Rule(
            "of several cards the one that costs least; where no price is known the least memory, or the fewest"
            " gigabyte-hours of it where it is rented", _HOUSE,
        ),
    }
)  # fmt: skip
"""In the order in which they count."""


class Reason(Frozen):
    """A rule as it was applied: what was found, and how many choices there were before it and after it."""

    rule: str
    says: str
    found: str
    source: str
    before: int
    after: int

    @property
    def left_nothing(self) -> bool:
        """Whether it ruled out all that there was."""
        return self.before > 0 and self.after == 0


class Vote(Frozen):
    """One of the guide's conditions: for which model it speaks, whether it holds, and by which answer."""

    speaks_for: Size
    condition: str
    holds: bool
    because: str


def reason(rule: str, found: str, before: int, after: int) -> Reason:
    """An application of a rule of :data:`RULES`."""
    said = RULES[rule]
    return Reason(rule=rule, says=said.text, found=found, source=said.source, before=before, after=after)


def votes_of(needs: Needs, smallest_card: int | None, large_over_budget: bool | None) -> tuple[Vote, ...]:
    """The guide's eight conditions.

    Args:
        needs: What is needed.
        smallest_card: Bytes of the GPU that is here, None: there is none.
        large_over_budget: Whether the large model costs more than the budget; None: not known.
    """
    consumer = smallest_card is not None and smallest_card <= CONSUMER
    quality = f"quality is {needs.quality}"
    budget = {
        None: "no budget, or no price",
        True: "A14B costs more than the budget",
        False: "A14B is within the budget",
    }
    listed: tuple[tuple[Size, str, bool, str], ...] = (
        ("small", "running on consumer hardware", consumer, _card(smallest_card)),
        ("small", "generating social media content", needs.quality in ("social", "draft"), quality),
        ("small", "rapid prototyping needed", needs.quality == "draft", quality),
        ("small", "budget constraints exist", bool(large_over_budget), budget[large_over_budget]),
        ("large", "maximum quality required", needs.quality == "broadcast", quality),
        ("large", "commercial or broadcast use", needs.quality in ("commercial", "broadcast"), quality),
        ("large", "complex motion or cinematics", needs.motion == "complex", f"motion is {needs.motion}"),
        ("large", CLOUD, needs.privacy != "own", f"privacy is {needs.privacy}"),
    )
    return tuple(Vote(speaks_for=s, condition=c, holds=h, because=b) for s, c, h, b in listed)


def _card(memory: int | None) -> str:
    return "no GPU is here" if memory is None else f"the GPU here has {memory / 2**30:.0f} GiB"


def preferred_size(needs: Needs, votes: Sequence[Vote]) -> Size:
    """The model that more conditions speak for; of equally many the small one, and for broadcast always the large.

    That a cloud could be used says little: it only counts where something else speaks for the large model.
    """
    small = sum(vote.holds for vote in votes if vote.speaks_for == "small")
    held = [vote.condition for vote in votes if vote.speaks_for == "large" and vote.holds]
    large = len(held) if any(condition != CLOUD for condition in held) else 0
    return "large" if needs.quality == "broadcast" or large > small else "small"


def size_class(setup: Setup) -> Size:
    """Whether a setup is of the 5B or of the A14B kind."""
    return "small" if setup.model.endswith("5b") else "large"


def setup_allowed(needs: Needs, setup: Setup) -> bool:
    """Whether a setup's model may be used at all: broadcast is for the large one, or for other means than Wan."""
    return needs.quality != "broadcast" or size_class(setup) == "large"


def forms_allowed(needs: Needs) -> tuple[Form, ...]:
    """Forms of a model that may be used, the preferred one first."""
    if needs.quality == "broadcast":
        return ("stock",)
    drafting = needs.quality == "draft" or (needs.quality == "social" and needs.resolution == "480p")
    return ("few_steps", "stock") if needs.few_steps_accepted or drafting else ("stock",)
