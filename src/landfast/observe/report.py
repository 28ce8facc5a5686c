"""The end of a run: its equation, per stream and in all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landfast.model import Stream, Totals


def equation(totals: Totals) -> str:
    """`read 100 = written 90 + dead 4 + skipped 6 (tombstone 6)`, with `≠` where it does not hold."""
    skipped = sum(totals.skipped.values())
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(totals.skipped.items()) if count)
    sign = "=" if totals.holds else "≠"
    after = f" ({reasons})" if reasons else ""
    return f"read {totals.read:,} {sign} written {totals.written:,} + dead {totals.dead:,} + skipped {skipped:,}{after}"


def lines(streams: Mapping[Stream, Totals], *, streams_max: int = 100) -> list[str]:
    """The equation of each stream and of all of them, as lines. More than `streams_max` streams are counted, not listed."""
    shown = sorted(streams.items())[:streams_max]
    width = max((len(str(stream)) for stream, _ in shown), default=0)
    listed = [f"{stream!s:<{width}}  {equation(totals)}" for stream, totals in shown]
    more = [f"… and {len(streams) - len(shown)} more streams"] if len(streams) > len(shown) else []
    return [*listed, *more, f"{'in all':<{width}}  {equation(whole(streams))}"]


def to_json(streams: Mapping[Stream, Totals]) -> dict[str, Any]:
    """The same as data: `totals`, and `streams` as a list sorted by topic and partition."""
    listed = [
        {"topic": one.topic, "topic_id": one.incarnation, "partition": one.partition, **_counts(totals)}
        for one, totals in sorted(streams.items())
    ]
    return {"totals": _counts(whole(streams)), "streams": listed}


def counted(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def whole(streams: Mapping[Stream, Totals]) -> Totals:
    """All streams together."""
    totals = Totals()
    for one in streams.values():
        totals = totals.plus(one)
    return totals


def _counts(totals: Totals) -> dict[str, Any]:
    return {
        "read": totals.read,
        "written": totals.written,
        "dead": totals.dead,
        "skipped": dict(sorted(totals.skipped.items())),
        "holds": totals.holds,
    }
