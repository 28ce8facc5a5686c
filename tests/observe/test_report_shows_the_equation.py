"""A run ends with its equation, per stream and in all."""

from __future__ import annotations

from landfast.model import Stream, Totals
from landfast.observe.report import counted, equation, lines, to_json

A, B = Stream("a", "id-a", 0), Stream("b", "id-b", 12)


def test_the_equation_shows_every_fate() -> None:
    """Read, written, dead, and skipped with its reasons."""
    assert equation(Totals(1_010, 1_000, 4, {"tombstone": 6})) == "read 1,010 = written 1,000 + dead 4 + skipped 6 (tombstone 6)"


def test_an_equation_that_does_not_hold_says_so() -> None:
    """A wrong equation is never printed as a right one."""
    assert "≠" in equation(Totals(10, 9, 0, {}))


def test_the_report_has_a_line_per_stream_and_one_for_all() -> None:
    """Streams in order, then the whole."""
    shown = lines({B: Totals(3, 2, 1, {}), A: Totals(2, 2, 0, {})})
    assert [line.split("  ")[0] for line in shown] == ["a[0] ", "b[12]", "in all"] or [line.split()[0] for line in shown] == [
        "a[0]",
        "b[12]",
        "in",
    ]
    assert shown[-1].endswith("read 5 = written 4 + dead 1 + skipped 0")


def test_a_report_of_many_streams_stays_short() -> None:
    """A thousand partitions are counted, and all of them are in the whole."""
    shown = lines({Stream("a", "id", number): Totals(1, 1, 0, {}) for number in range(1_000)}, streams_max=10)
    assert len(shown) == 12
    assert "990 more" in shown[10]
    assert "read 1,000" in shown[11]


def test_the_report_as_data_has_the_same_numbers() -> None:
    """What a script reads is what a person sees."""
    data = to_json({B: Totals(3, 1, 1, {"tombstone": 1}), A: Totals(2, 2, 0, {})})
    assert data["totals"] == {"read": 5, "written": 3, "dead": 1, "skipped": {"tombstone": 1}, "holds": True}
    assert [(one["topic"], one["topic_id"], one["partition"], one["read"]) for one in data["streams"]] == [
        ("a", "id-a", 0, 2),
        ("b", "id-b", 12, 3),
    ]


def test_one_of_a_kind_is_named_as_one() -> None:
    """A count and its noun agree, and thousands are set apart."""
    assert [counted(count, "finding") for count in (0, 1, 1_001)] == ["0 findings", "1 finding", "1,001 findings"]
