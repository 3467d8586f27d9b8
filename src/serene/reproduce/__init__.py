"""A paper's table again: published, ours, interval, and where the protocols differ."""

from __future__ import annotations

from serene.reproduce.bench import reproduce
from serene.reproduce.reproduction import Entry, Reproduction

__all__ = ["Entry", "Reproduction", "reproduce"]
