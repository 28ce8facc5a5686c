"""Rows of text as aligned columns: readable on a screen, and by `awk`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from landfast.observe.logs import escaped


def aligned(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The rows below their headings. Numbers stand right, None is a dash, and nothing that is shown can steer the terminal."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    right = [bool(rows) and all(isinstance(row[index], int | float | None) for row in rows) for index in range(len(headings))]
    return [_line(row, widths, right) for row in (headings, *cells)]


def moment(milliseconds: int) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    placed = [f"{cell:>{width}}" if to_right else f"{cell:<{width}}" for cell, width, to_right in zip(cells, widths, right, strict=True)]
    return "  ".join(placed).rstrip()


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escaped(str(value))
