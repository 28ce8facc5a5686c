"""How the command line speaks of errors and results: what happened, where, what is safe, what next. Never a traceback, never a value."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from landfast.codes import CODES
from landfast.core.report import Outcome, RunReport
from landfast.errors import LandfastError
from landfast.model import Halt
from landfast.observe import report as equations
from landfast.observe.logs import Redactor

_HALTS_MAX = 20
_CLEAN = "SHUTDOWN_CLEAN"


class Screen:
    """Results go to standard output, everything else to standard error; with JSON one object per line."""

    def __init__(self, *, as_json: bool, secrets: tuple[str, ...] = ()) -> None:
        self._as_json = as_json
        self._redact = Redactor(secrets)

    def show_error(self, error: LandfastError) -> None:
        """An error: what happened, where, what is safe, what next."""
        self._show(error.code, error.message, error.place, error.next_step)

    def show_report(self, report: RunReport, home: Callable[[str], str] = str) -> None:
        """How a run ended, and its equation, per stream and in all. `home` says of a topic what it belongs to, such as its route."""
        lanes: dict[tuple[Halt, str], list[int]] = {}
        for stream, halt in sorted(report.halts.items()):
            lanes.setdefault((halt, stream.topic), []).append(stream.partition)
        if report.error is not None:
            # The lanes that stand still because of it say the same once more, so they are named with it.
            error = report.error
            same = [(halt, topic) for halt, topic in lanes if _is_of(error, halt, home(topic))]
            stopped = ", ".join(f"{topic}[{ranges(lanes.pop((halt, topic)))}]" for halt, topic in same)
            self._show(error.code, error.message, error.place, error.next_step, lanes=stopped, safe=_safe_of_route(error.code))
        for (halt, topic), partitions in itertools.islice(lanes.items(), _HALTS_MAX):
            place = f"{topic}[{ranges(partitions)}]"
            where = place if home(topic) == topic else f"{home(topic)}, {place}"
            self._show(halt.code, halt.message, where, halt.next_step, safe=_safe_of_route(halt.code))
        if report.outcome is Outcome.STOPPED and report.abandoned:
            self._show("SHUTDOWN_PARTIAL", f"{report.abandoned:,} records were read and had not landed when the deadline passed", "", "")
        self.say(self._as_object(report) if self._as_json else "\n".join(self._as_lines(report)))

    def say(self, result: object) -> None:
        """A result: text as it is, anything else as one line of JSON. Nowhere to write it to changes nothing about what was done."""
        try:
            sys.stdout.write((self._redact(result) if isinstance(result, str) else self._as_json_line(result)) + "\n")
            sys.stdout.flush()
        except OSError as error:
            with suppress(OSError):
                sys.stderr.write(f"The result could not be shown: standard output cannot be written ({error.strerror}).\n")

    def _as_lines(self, report: RunReport) -> list[str]:
        lines = [*equations.lines(report.streams), f"{report.outcome} after {report.seconds:,.1f} s, run {report.run.id}"]
        if report.halts:
            lines.append(f"{len(report.halts):,} halted: `landfast run` goes on where they stand, once their cause is gone")
        if report.batches or report.retries:
            lines.append(_effort(report))
        if report.waiting:
            lines.append(f"waiting to be tried again: {equations.counted(report.waiting, 'dead letter')}; the next run goes on with them")
        is_clean = report.outcome is Outcome.STOPPED and not report.abandoned
        return [*lines, f"{_CLEAN}: all that was read has landed; nothing will be read twice"] if is_clean else lines

    def _as_object(self, report: RunReport) -> dict[str, Any]:
        halts = [
            {"topic": stream.topic, "partition": stream.partition, "code": halt.code, "message": halt.message, "next": halt.next_step}
            for stream, halt in sorted(report.halts.items())
        ]
        return {
            "run": report.run.id,
            "pipeline": report.run.pipeline,
            "outcome": str(report.outcome),
            "seconds": round(report.seconds, 3),
            "abandoned": report.abandoned,
            "waiting": report.waiting,
            "batches": report.batches,
            "retries": dict(sorted(report.retries.items())),
            **equations.to_json(report.streams),
            "halts": halts,
            "error": None if report.error is None else {"code": report.error.code, "message": report.error.message},
        }

    def _show(self, code: str, message: str, place: str, next_step: str, *, lanes: str = "", safe: str = "") -> None:
        known = CODES.get(code)
        safe = safe or (known.safe if known is not None else "")
        step = next_step or (known.next_step if known is not None else "")
        fields = {"code": code, "message": message, "where": place, "lanes": lanes, "safe": safe, "next": step}
        if self._as_json:
            text = self._as_json_line({"error": {name: words for name, words in fields.items() if words}})
        else:
            more = f"landfast explain {code}" if known is not None else ""
            labelled = (("where", place), ("lanes", lanes), ("safe", safe), ("next", step), ("more", more))
            text = "\n".join([f"{code}: {self._redact(message)}", *(f"  {label + ':':<7}{words}" for label, words in labelled if words)])
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def _as_json_line(self, value: object) -> str:
        # Masking the finished line could cut through its quotes, so it is the texts inside that are masked.
        return json.dumps(self._redact.clean(value), ensure_ascii=False)


def _effort(report: RunReport) -> str:
    """How many batches landed, and what was tried again for what."""
    landed = f"{report.batches:,} {'batch' if report.batches == 1 else 'batches'} landed"
    classes = ", ".join(f"{name} {count:,}" for name, count in sorted(report.retries.items()))
    return f"{landed}; tried again: {classes}" if classes else landed


def _is_of(error: LandfastError, halt: Halt, home: str) -> bool:
    """Whether a lane of `home` halted because of just this error, and not of one that reads alike and concerns another route."""
    return (halt.code, halt.message) == (error.code, error.message) and error.where in ("", home)


def _safe_of_route(code: str) -> str:
    """What is safe after a run that took place: where nothing was done, it is the route concerned of which nothing was."""
    safe = CODES[code].safe if code in CODES else ""
    return safe.replace("Nothing was read", "Nothing of this route was read", 1)


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers in ascending order, with what follows on another drawn together: `0-3, 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)
