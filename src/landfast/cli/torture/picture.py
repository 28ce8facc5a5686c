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
from landfast.cli.torture.posts import Limits
from landfast.cli.torture.report import Outcome
from landfast.cli.torture.score import Score, percentile

WIDTH = 40
LINE_SECONDS, LINE_SECONDS_MAX = 10.0, 60.0
"""Between two lines where there is no terminal: more and more, so that those of an hour are a page or two."""


class Screen:
    """Shows how it goes: live on a terminal, a line now and then elsewhere. On standard error, so that the verdict stands alone."""

    def __init__(self, limits: Limits) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._limits = limits
        self._live: Live | None = None
        self._next_line = LINE_SECONDS

    def say(self, text: str) -> None:
        """A sentence of its own."""
        self._console.print(text, markup=False, soft_wrap=True)

    def show(self, score: Score, seconds: float) -> None:
        """Where it stands."""
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, transient=True, refresh_per_second=4)
                self._live.start()
            self._live.update(where_it_stands(score, seconds, self._limits))
        elif seconds >= self._next_line:
            self._next_line = seconds + min(max(LINE_SECONDS, seconds / 5), LINE_SECONDS_MAX)
            self.say(line(score, seconds, self._limits))

    def close(self) -> None:
        """Take the live picture away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def line(score: Score, seconds: float, limits: Limits) -> str:
    """Where it stands, in a line."""
    records = f"{score.load.get('acknowledged', 0):,} records, {score.backlog:,} to land"
    return f"{_time(seconds, limits)}: {score.kills_in_all:,} kills, {records}" + (f"; {_wrong(score)}" if _wrong(score) else "")


def _time(seconds: float, limits: Limits) -> str:
    """So much of so much; whoever lets settle what is left needs longer."""
    return f"{_clock(seconds)} of {_clock(limits.seconds)}"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""  # noqa: PLR2004 — an hour
    return f"{hours}{whole // 60 % 60:02d}:{whole % 60:02d}"


def _wrong(score: Score) -> str:
    """What is wrong already; whether records are lost or doubled is seen at the end only."""
    ended, halted = score.counts["ended by themselves"], score.halts.total()
    return ", ".join(
        [f"{ended:,} ended by themselves"] * bool(ended) + [f"{halted:,} halts: {', '.join(sorted(score.halts))}"] * bool(halted)
    )


def where_it_stands(score: Score, seconds: float, limits: Limits) -> Table:
    """Where it stands, as a small table."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    aimed = score.kills_in_all - score.kills[""]
    of_kills = "" if limits.kills is None else f" of {limits.kills:,}"
    rows = [
        ("time", _time(seconds, limits)),
        ("kills", f"{score.kills_in_all:,}{of_kills}, {aimed:,} of them at {score.points_reached} of {len(score.points)} fault points"),
        ("assigned", f"{score.counts['rebalances']:,} times partitions to a worker"),
        ("refused", f"{score.counts['conflicts']:,} commits of former owners"),
        ("records", f"{score.load.get('acknowledged', 0):,} acknowledged, {score.backlog:,} offsets to land"),
        ("recovery", _spread(score.recoveries)),
        ("in storm", _spread(score.recoveries_in_storm)),
        ("wrong", _wrong(score) or "nothing so far; records are counted at the end"),
    ]
    for name, words in rows:
        table.add_row(Text(name), Text(words))
    return table


def lines(outcome: Outcome, ink: Ink) -> list[str]:
    """What came of it."""
    return [*_bars(outcome, ink), "", *_figures(outcome), "", *_verdict(outcome)]


def _bars(outcome: Outcome, ink: Ink) -> list[str]:
    kills, points = outcome.harness.score.kills, outcome.harness.score.points
    most = max(1, *kills.values()) if kills else 1

    def bar(name: str, count: int) -> str:
        cells = max(1, round(WIDTH * count / most)) if count else 0
        return f"  {name:<22} {ink.first * cells:<{WIDTH}} {count:>6,}"

    head = ["kills by where they hit", bar("any moment", kills[""])]
    return [*head, *(bar(point, kills[point]) for point in points)]


def _figures(outcome: Outcome) -> list[str]:
    score, count = outcome.harness.score, outcome.count
    deeds = ", ".join(f"{number:,} {deed}" for deed, number in sorted(score.deeds.items()))
    rows = [
        ("kills", f"{score.kills_in_all:,} SIGKILL; {score.points_reached} of {len(score.points)} fault points hit"),
        ("besides", deeds or "nothing"),
        ("assigned", f"{score.counts['rebalances']:,} times partitions to a worker"),
        ("refused", f"{score.counts['conflicts']:,} commits of former owners"),
        ("replays", f"{outcome.replayed:,} records read again"),
        ("recovery", f"{_spread(score.recoveries)} (session {outcome.place['session_seconds']:g} s)"),
        ("in storm", f"{_spread(score.recoveries_in_storm)}: others were killed meanwhile"),
        ("tortured", f"for {_clock(outcome.times.torture)}, {count.acknowledged / max(1.0, outcome.times.torture):,.0f} records a second"),
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
    verify = str(outcome.proof.get("outcome", "proved")).replace("_", " ") if outcome.proof.get("proved") else "NOT PROVED"
    rows = [f"  {name.replace('_', ' '):<13}{number:>8,}  {WRONGS[name]}" for name, number in wrong.items()]
    end = [*rows, "", f"landfast verify: {verify}"]
    if not outcome.well:
        return [*end, "FOUND:", *(f"  {complaint}" for complaint in outcome.complaints)]
    kills = outcome.harness.score.kills_in_all
    bound = f": a rate below {3 / kills:.2g} per kill, at 95 %" if kills else ""
    return [*end, f"0 failures in {kills:,} kills{bound} (seed {outcome.limits.seed})"]
