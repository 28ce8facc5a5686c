"""How a run ends: its outcome, and the report of it."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from landfast.core.flow import Flow
from landfast.core.ledger import total
from landfast.errors import Broken, ErrorClass, Halted, LandfastError, Misconfigured, Unavailable
from landfast.model import Halt, Run, Stream, Totals


class Outcome(enum.StrEnum):
    """How a run ended. REFUSED: settings or what they name were wrong, and nothing was read of the routes concerned."""

    FINISHED = "finished"
    STOPPED = "stopped"
    HALTED = "halted"
    REFUSED = "refused"
    BROKEN = "broken"


EXIT_SETTINGS, EXIT_HALTED, EXIT_BROKEN = 2, 3, 4
"""What a process ends with after an error of ours; 0 is all well."""


def exit_code_of(error: LandfastError) -> int:
    """The exit code after an error."""
    if isinstance(error, Misconfigured):
        return EXIT_SETTINGS
    return EXIT_BROKEN if isinstance(error, Broken) else EXIT_HALTED


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did. The equation `read = written + dead + skipped` holds in `totals` and per stream.

    abandoned  records that were read and did not land before the run ended; the next run reads them again
    waiting    dead letters that go on waiting to be tried again, of the streams that this run had at its end
    batches    how many landed
    retries    how often something failed for now and was tried again, by the class of the error
    """

    run: Run
    outcome: Outcome
    streams: Mapping[Stream, Totals]
    halts: Mapping[Stream, Halt]
    seconds: float
    abandoned: int = 0
    error: LandfastError | None = None
    waiting: int = 0
    batches: int = 0
    retries: Mapping[ErrorClass, int] = field(default_factory=dict)

    @property
    def totals(self) -> Totals:
        """The equation in all."""
        return total(self.streams.values())

    @property
    def exit_code(self) -> int:
        """What a process ends with that has done this run: 0, or as `landfast run` does."""
        if self.error is not None:
            return exit_code_of(self.error)
        return EXIT_HALTED if self.halts or (self.outcome is Outcome.STOPPED and self.abandoned) else 0


def gravest(errors: Sequence[LandfastError]) -> LandfastError | None:
    """Damage must not be hidden behind an outage, nor an outage behind a wrong setting: a run is reported by the gravest."""
    return max(errors, key=_gravity, default=None)


def outcome_of(error: LandfastError | None, flows: Sequence[Flow], halted: Collection[Stream], *, stopping: bool) -> Outcome:
    """What to call the end of a run whose gravest error is `error` and in which these streams stand still."""
    if isinstance(error, Misconfigured):
        # What a wrong setting halted is its own flow's; a lane that anything else halted is graver.
        refused = [flow.route for flow in flows if isinstance(flow.broken, Misconfigured)]
        if all(any(route.takes(stream.topic) for route in refused) for stream in halted):
            return Outcome.REFUSED
    if error is not None:
        return Outcome.HALTED if isinstance(error, Misconfigured | Unavailable | Halted) else Outcome.BROKEN
    if halted:
        return Outcome.HALTED
    return Outcome.STOPPED if stopping else Outcome.FINISHED


def _gravity(error: LandfastError) -> int:
    return 2 if isinstance(error, Broken) else 0 if isinstance(error, Misconfigured) else 1
