"""How long each file that nobody names has been seen so."""

from __future__ import annotations

from collections.abc import Collection

NAMES_MAX = 100_000


class Sightings:
    """When this process first saw each file that nobody names, by a clock that nobody sets.

    Holds at most `names_max`; further files are seen when earlier ones are gone.
    """

    def __init__(self, seen_seconds: float, names_max: int = NAMES_MAX) -> None:
        self._seen_seconds = seen_seconds
        self._names_max = names_max
        self._first_seen: dict[str, float] = {}

    def ripe(self, names: Collection[str], now: float) -> list[str]:
        """Of these files, those that were among the given ones at every call for long enough. The others begin to wait."""
        fresh = {name: self._first_seen.get(name, now) for name in sorted(names, key=lambda name: self._first_seen.get(name, now))}
        self._first_seen = dict(list(fresh.items())[: self._names_max])
        return [name for name, seen in self._first_seen.items() if now - seen >= self._seen_seconds]
