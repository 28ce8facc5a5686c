"""What keeps a table fast and small: checkpoints, compaction, the sweep of what nobody names, the clean-up of the log.

Runs on the committer's thread, between commits, within a budget of time. None of it moves a position, and no failure of it touches what
was promised: it is told as an event, and tried again later.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from landfast.errors import LandfastError
from landfast.events import Maintained, Notice
from landfast.ports import Clock, Observer
from landfast.sinks.delta.errors import is_foreign, translated
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.names import LOG
from landfast.sinks.delta.files.paths import spans_path
from landfast.sinks.delta.files.staged import StagedNames
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.digests import digests_of
from landfast.sinks.delta.log.entries import hinted_checkpoint
from landfast.sinks.delta.settings import MIB, DeltaSettings
from landfast.sinks.delta.table.features import reading_problems
from landfast.sinks.delta.table.place import open_handle
from landfast.sinks.delta.upkeep.checkpoint import write_checkpoint
from landfast.sinks.delta.upkeep.compaction import GROUP_FILES_MAX, Limits, compact, due
from landfast.sinks.delta.upkeep.roll_up import roll_up
from landfast.sinks.delta.upkeep.sweep import Sweep

DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class MaintenanceSettings:
    """What is done, and how often.

    checkpoint_commits           commits of the table between two checkpoints
    cleanup_interval_seconds     time between two clean-ups of the log; the table's own retention says what may go; infinite: never
    compaction_interval_seconds  time between two looks for small files, unless commits are many; infinite: never
    file_bytes_small             files below this are compacted
    compaction_files_min         where there are so many of them in one partition
    compaction_bytes_max         stored bytes that one commit of a compaction replaces
    row_group_bytes_max          decoded rows that a compaction holds in memory
    sweep_interval_seconds       time between two sweeps
    sweep_grace_seconds          a file is swept only when it has been unnamed, or replaced, for longer than this by the clock on the wall,
    sweep_seen_seconds           and when this process has itself seen it so for longer than this, by a clock that nobody sets
    """

    checkpoint_commits: int = 50
    cleanup_interval_seconds: float = DAY_SECONDS
    compaction_interval_seconds: float = 60.0
    file_bytes_small: int = 32 * MIB
    compaction_files_min: int = 8
    compaction_bytes_max: int = 64 * MIB
    row_group_bytes_max: int = 64 * MIB
    sweep_interval_seconds: float = DAY_SECONDS
    sweep_grace_seconds: float = 7 * DAY_SECONDS
    sweep_seen_seconds: float = 3600.0


class Maintenance:
    """Upkeep of one table: the `Keeper` of a sink. One per table and process; called from one thread.

    Several processes may maintain one table: each act is idempotent or refused to all but one.
    """

    def __init__(
        self,
        settings: MaintenanceSettings,
        table: DeltaSettings,
        clock: Clock,
        observer: Observer,
        *,
        flow: str = "",
        disk: Disk | None = None,
        opener: Callable[[DeltaSettings], DeltaTable] = open_handle,
    ) -> None:
        self._settings = settings
        self._table = table
        self._clock = clock
        self._observer = observer
        self._flow = flow
        self._disk = disk or Disk()
        self._opener = opener
        self._files: Files = files_of(table.path, table.storage_options, self._disk)
        self._checkpoint_version: int | None = None
        now = clock.monotonic()
        # What is due the table itself tells, not the age of this process: many a process lives for a few commits only.
        self._cleanup_due: float | None = None
        self._compaction_due = math.inf if settings.compaction_interval_seconds == math.inf else now
        self._compaction_version_due = 0
        self._sweep_due = now
        self._sweep = Sweep(table.path, self._files, grace_seconds=settings.sweep_grace_seconds, seen_seconds=settings.sweep_seen_seconds)
        self._refused: set[frozenset[str]] = set()
        self._keeper_of_spans: Maintenance | None = None

    def spare(self, staged: StagedNames) -> None:
        """Leave these files alone for as long as they are among them: somebody is about to commit them."""
        self._sweep.spare(staged)

    def after_commits(self, version: int, commits: int, budget_seconds: float) -> bool:
        """Do what is due after the commit of this version; whether anything was done, or failed.

        An act that has begun is finished, and none begins after the budget. A fault of the table or its store is a `Notice` with the
        code MAINTENANCE_FAILED.

        Raises:
            Broken: an fsync failed.
        """
        began = self._clock.monotonic()
        acts: tuple[tuple[str, Callable[[int, float], bool]], ...] = (
            ("writing a checkpoint", self._checkpoint),
            ("compacting small files", self._compact),
            ("sweeping files that nobody names", self._remove_orphans),
            ("cleaning up the log", self._clean_log),
        )
        stop_at = began + budget_seconds
        acted = False
        for name, act in acts:
            if self._clock.monotonic() > stop_at:
                break
            try:
                acted = act(version, stop_at) or acted
            except BaseException as error:
                # No promise rests on upkeep, so whatever the driver raises is told and outlived; a panic of its is no Exception.
                # What is not the driver's, like an interrupt, is none of ours to catch.
                if _harmless(error):
                    self._tell_failure(name, error)
                    acted = True
                    continue
                raise
        return acted

    def _checkpoint(self, version: int, _stop_at: float) -> bool:
        if self._checkpoint_version is None or version - self._checkpoint_version >= self._settings.checkpoint_commits:
            # Another process may have written one meanwhile.
            hinted = hinted_checkpoint(self._files)
            self._checkpoint_version = -1 if hinted is None else hinted
        if version - self._checkpoint_version < self._settings.checkpoint_commits:
            return False
        began = self._clock.monotonic()
        handle = self._opener(self._table)
        write_checkpoint(self._table.path, self._disk, handle)
        self._checkpoint_version = handle.version()
        self._tell("checkpoint", 1, 0, began)
        return True

    def _compact(self, version: int, stop_at: float) -> bool:
        # Each file of the table makes each commit slower: where commits are many and small, their number says when it is time.
        many = version >= self._compaction_version_due and self._compaction_due != math.inf
        if self._clock.monotonic() < self._compaction_due and not many:
            return False
        self._compaction_version_due = version + GROUP_FILES_MAX
        fresh = self._opener(self._table)
        self._files.sync_log(range(version + 1, fresh.version() + 1))
        # Rows that no reader sees any more, deleted in a vector beside their file, would come back with a new file.
        done = not any(reading_problems(fresh)) and self._join_files(fresh, stop_at)
        self._compaction_due = self._clock.monotonic() + self._settings.compaction_interval_seconds
        return done

    def _join_files(self, fresh: DeltaTable, stop_at: float) -> bool:
        done = False
        settings = self._settings
        limits = Limits(
            settings.file_bytes_small, settings.compaction_files_min, settings.compaction_bytes_max, settings.row_group_bytes_max
        )
        groups = due(fresh, limits)
        digests = digests_of(self._files, fresh.version(), [file.path for group in groups for file in group]) if groups else {}
        for group in takewhile(lambda _: self._clock.monotonic() <= stop_at, groups):
            names = frozenset(file.path for file in group)
            if names in self._refused:
                continue  # it would fail again, and cost as much
            began = self._clock.monotonic()
            try:
                written = compact(fresh, self._files, group, digests, self._table, limits, self._clock.now())
            except BaseException as error:
                # As in `after_commits`; what stands in the way of one group need not stand in the way of the next.
                if _harmless(error):
                    self._refused.add(names)
                    self._tell_failure("compacting small files", error)
                    continue
                raise
            if written is not None:
                done = True
                self._tell("compaction", len(group), sum(file.nbytes for file in group), began)
        return done

    def _remove_orphans(self, _version: int, _stop_at: float) -> bool:
        began = self._clock.monotonic()
        if began < self._sweep_due:
            return False
        swept = self._sweep.swept(self._opener(self._table), began)
        wait_seconds = self._settings.sweep_interval_seconds
        if swept.waiting:
            wait_seconds = min(wait_seconds, self._settings.sweep_seen_seconds)
        self._sweep_due = began + wait_seconds
        if swept.files:
            self._tell("sweep", swept.files, swept.nbytes, began)
        return False

    def _clean_log(self, _version: int, stop_at: float) -> bool:
        """Let deltalake remove log entries beyond the table's retention, after their spans are safe elsewhere."""
        began = self._clock.monotonic()
        if self._cleanup_due is None:
            self._cleanup_due = began + self._seconds_to_clean_up()
        if began < self._cleanup_due:
            return False
        self._cleanup_due = began + self._settings.cleanup_interval_seconds
        fresh = self._opener(self._table)
        roll_up(fresh, self._table.path, self._table.storage_options, self._clock.now(), self._disk)
        before = len(self._files.names(LOG))
        fresh.cleanup_metadata()
        self._tell("clean-up", before - len(self._files.names(LOG)), 0, began)
        self._tidy_spans(stop_at)
        return True

    def _seconds_to_clean_up(self) -> float:
        """How long until the next clean-up, counted from the last one, whoever did it, or from the table's creation."""
        interval = self._settings.cleanup_interval_seconds
        if interval == math.inf:
            return interval
        try:
            last = self._opener(replace(self._table, path=spans_path(self._table.path))).history(1)[0].get("timestamp")
        except TableNotFoundError:
            last = self._opener(self._table).metadata().created_time
        return max(0.0, (last or 0) / 1000 + interval - self._clock.now())

    def _tidy_spans(self, stop_at: float) -> None:
        """The spans table gets a file and a commit with each clean-up, and the same upkeep, but for a clean-up of its own."""
        settings = replace(self._settings, cleanup_interval_seconds=math.inf, compaction_interval_seconds=0)
        spans = replace(self._table, path=spans_path(self._table.path), partition_by=(), upsert=None)
        if self._keeper_of_spans is None:
            self._keeper_of_spans = Maintenance(
                settings, spans, self._clock, self._observer, flow=self._flow, disk=self._disk, opener=self._opener
            )
        self._keeper_of_spans.after_commits(self._opener(spans).version(), 1, stop_at - self._clock.monotonic())

    def _tell(self, act: str, files: int, nbytes: int, began: float) -> None:
        self._observer.notice(Maintained(self._flow, act, files, nbytes, self._clock.monotonic() - began))

    def _tell_failure(self, name: str, error: BaseException) -> None:
        told: LandfastError = translated(error, name)
        self._observer.notice(Notice(self._flow, "MAINTENANCE_FAILED", f"{told.code}: {told.message}"))


def _harmless(error: BaseException) -> bool:
    """Whether the run may go on: not after a failed fsync, since then nothing on this disk can be trusted any more."""
    return is_foreign(error) and not (isinstance(error, LandfastError) and error.code == "FSYNC_FAILED")
