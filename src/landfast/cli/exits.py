"""Exit codes: what each means, and which one an error or a run ends with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from landfast.core.report import EXIT_BROKEN, EXIT_HALTED, EXIT_SETTINGS, RunReport, exit_code_of
from landfast.errors import LandfastError

WELL = 0
FOUND = 1
SETTINGS = EXIT_SETTINGS
HALTED = EXIT_HALTED
BROKEN = EXIT_BROKEN
FORCED = 130

EXITS: Mapping[int, str] = MappingProxyType(
    {
        WELL: "All is well. A run that was stopped has landed everything it had read. `verify` may have proved in part: every offset is in "
        "its place, but the values of some rows are another writer's word, or some of the log is gone that `--source` was to compare; or "
        "nothing has landed yet. Its JSON tells that in `outcome`.",
        FOUND: "`verify`, `check`, `torture` or `runs --table` found something, or `dead-letters replay` or `discard` "
        "left letters as they were; it is on the screen.",
        SETTINGS: "The settings or the command line are wrong, or what they name is not there. Nothing was read or written; "
        "where it concerns the table of one route among several, nothing of that route, and the others ran.",
        HALTED: "A lane halted, retries ended, or a stop gave up on what had not landed yet. Nothing is lost.",
        BROKEN: "Broken: an invariant did not hold, or a table is damaged. It stopped the run; where it concerns one route among several, "
        "that route, and the others ran.",
        FORCED: "A second signal ended the run at once. Nothing is lost.",
    }
)


def of_error(error: LandfastError) -> int:
    """The exit code of an error."""
    return exit_code_of(error)


def of_report(report: RunReport) -> int:
    """The exit code of a run."""
    return report.exit_code
