"""The dialects in which prompts are written: one grammar each, and one reader of them all."""

from filmgate.direction.migration.dialects.reading import read

__all__ = ["read"]
