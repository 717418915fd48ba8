"""Filmgate turns a wish into a finished video with the open Wan 2.1 and Wan 2.2 models.

The names below are the public interface; everything else may change. They are resolved on first use, so that
``import filmgate`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filmgate.app import Filmgate as Filmgate
    from filmgate.spec import Done as Done
    from filmgate.spec import Event as Event
    from filmgate.spec import Failed as Failed
    from filmgate.spec import FilmgateError as FilmgateError
    from filmgate.spec import Plan as Plan
    from filmgate.spec import Preview as Preview
    from filmgate.spec import Progress as Progress
    from filmgate.spec import Report as Report
    from filmgate.spec import Request as Request
    from filmgate.spec import Started as Started
    from filmgate.spec import Take as Take

__version__ = "0.1.0"

__all__ = [
    "Filmgate",
    "Request", "Plan", "Take", "Report",
    "Event", "Started", "Progress", "Preview", "Done", "Failed",
    "FilmgateError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("filmgate.app" if name == "Filmgate" else "filmgate.spec"), name)
