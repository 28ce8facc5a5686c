"""What happened in the demo, drawn: a pure function from figures to lines, none of them longer than 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 32


@dataclass(frozen=True, slots=True)
class Ink:
    """What is drawn with: what each worker landed, and the kill."""

    first: str = "█"
    second: str = "▒"
    kill: str = "✗"

    @classmethod
    def for_encoding(cls, encoding: str | None) -> Ink:
        """Blocks where the output can show them, ASCII elsewhere."""
        try:
            "█▒✗".encode(encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return cls("#", "=", "x")
        return cls()


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: how many records each worker landed, how many are dead letters, and the offset at which the second took over."""

    name: str
    first: int
    second: int
    dead: int
    taken_over_at: int


def picture(partitions: Sequence[Partition], ink: Ink) -> list[str]:
    """A bar per worker, and one per partition, all to one scale."""
    first = sum(one.first for one in partitions)
    second = sum(one.second for one in partitions)
    names = max(len(one.name) for one in partitions)
    width = max(names, len("worker 1"))
    cut = _cells(first, first + second, WIDTH)
    lines = [
        f"  {'worker 1':<{width}}  {ink.first * cut + ink.kill:<{WIDTH + 1}}{first:>8,} landed, then SIGKILL",
        f"  {'worker 2':<{width}}  {' ' * cut + ink.second * (WIDTH - cut):<{WIDTH + 1}}{second:>8,} landed, from there on",
        "",
    ]
    for one in partitions:
        total = one.first + one.second
        cells = _cells(one.first, total, WIDTH)
        bar = ink.first * cells + ink.second * (WIDTH - cells)
        words = f"{total:>8,} = {total - one.dead:,} rows + {one.dead:,} dead"
        lines.append(f"  {one.name:<{width}}  {bar:<{WIDTH + 1}}{words}")
    offsets = ", ".join(f"{one.taken_over_at:,}" for one in partitions)
    return [*lines, "", f"  taken over at offset {offsets}"]


def _cells(part: int, whole: int, width: int) -> int:
    return round(width * part / whole) if whole else 0
