"""A torture, drawn: a line or a small table while it goes on, and what came of it in the end. None of the lines has over 80 columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from landfast.cli.demo.picture import Ink
from landfast.cli.torture.judge import WRONGS
from landfast.cli.torture.report import Outcome
from landfast.cli.torture.tally import Tally, percentile

WIDTH = 40
LINE_SECONDS = 10.0


class Screen:
    """Shows how it goes: live on a terminal, a line now and then elsewhere. On standard error, so that the verdict stands alone."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._live: Live | None = None
        self._next_line = LINE_SECONDS

    def say(self, text: str) -> None:
        """A sentence of its own."""
        self._console.print(text, markup=False, soft_wrap=True)

    def show(self, tally: Tally, seconds: float) -> None:
        """Where it stands."""
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, transient=True, refresh_per_second=4)
                self._live.start()
            self._live.update(standing(tally, seconds))
        elif seconds >= self._next_line:
            self._next_line = seconds + LINE_SECONDS
            self.say(line(tally, seconds))

    def close(self) -> None:
        """Take the live picture away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def line(tally: Tally, seconds: float) -> str:
    """Where it stands, in a line."""
    return f"{seconds:5.0f} s: {tally.kills_in_all:,} kills, {tally.load.get('acknowledged', 0):,} records, {tally.backlog:,} to land"


def standing(tally: Tally, seconds: float) -> Table:
    """Where it stands, as a small table."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    aimed = tally.kills_in_all - tally.kills[""]
    rows = [
        ("time", f"{seconds:,.0f} s"),
        ("kills", f"{tally.kills_in_all:,}, of which {aimed:,} at {tally.points_reached} of {len(tally.points)} fault points"),
        ("rebalances", f"{tally.counts['rebalances']:,}"),
        ("conflicts", f"{tally.counts['conflicts']:,} commits of former owners refused"),
        ("records", f"{tally.load.get('acknowledged', 0):,} acknowledged, {tally.backlog:,} offsets to land"),
        ("recovery", _spread(tally.recoveries)),
        ("in storm", _spread(tally.recoveries_in_storm)),
    ]
    for name, words in rows:
        table.add_row(Text(name), Text(words))
    return table


def lines(outcome: Outcome, ink: Ink) -> list[str]:
    """What came of it."""
    return [*_bars(outcome, ink), "", *_figures(outcome), "", *_verdict(outcome)]


def _bars(outcome: Outcome, ink: Ink) -> list[str]:
    kills, points = outcome.harness.tally.kills, outcome.harness.tally.points
    most = max(1, *kills.values()) if kills else 1

    def bar(name: str, count: int) -> str:
        cells = max(1, round(WIDTH * count / most)) if count else 0
        return f"  {name:<22} {ink.first * cells:<{WIDTH}} {count:>6,}"

    head = ["kills by where they hit", bar("any moment", kills[""])]
    return [*head, *(bar(point, kills[point]) for point in points)]


def _figures(outcome: Outcome) -> list[str]:
    tally, count = outcome.harness.tally, outcome.count
    deeds = ", ".join(f"{number:,} {deed}" for deed, number in sorted(tally.deeds.items()))
    rows = [
        ("kills", f"{tally.kills_in_all:,} SIGKILL; {tally.points_reached} of {len(tally.points)} fault points hit"),
        ("besides", deeds or "nothing"),
        ("rebalances", f"{tally.counts['rebalances']:,}; {tally.counts['conflicts']:,} commits of former owners refused"),
        ("replays", f"{outcome.replayed:,} records read again"),
        ("recovery", f"{_spread(tally.recoveries)} (session {outcome.session_seconds:g} s)"),
        ("in storm", f"{_spread(tally.recoveries_in_storm)}: others were killed meanwhile"),
        ("settled", f"in {outcome.harness.settle_seconds:.1f} s" if outcome.harness.settled else "NO"),
        ("records", f"{count.acknowledged:,} = {count.rows:,} rows + {count.letters:,} dead + {count.skipped:,} skipped"),
        ("aborted", f"{count.aborted:,} in aborted transactions"),
    ]
    return [f"  {name:<12}{words}" for name, words in rows]


def _spread(seconds: Sequence[float]) -> str:
    p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
    return "none measured" if p50 is None or p99 is None else f"p50 {p50:.1f} s, p99 {p99:.1f} s, of {len(seconds):,}"


def _verdict(outcome: Outcome) -> list[str]:
    wrong = outcome.count.wrong
    verify = "proved" if outcome.proof.get("proved") else "NOT PROVED"
    rows = [f"  {name.replace('_', ' '):<13}{number:>8,}  {WRONGS[name]}" for name, number in wrong.items()]
    end = [*rows, "", f"landfast verify: {verify}"]
    if not outcome.well:
        return [*end, "FOUND:", *(f"  {complaint}" for complaint in outcome.complaints)]
    kills = outcome.harness.tally.kills_in_all
    bound = f": a rate below {3 / kills:.2g} per kill, at 95 %" if kills else ""
    return [*end, f"0 failures in {kills:,} kills{bound} (seed {outcome.limits.seed})"]
