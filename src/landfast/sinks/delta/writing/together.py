"""Several tables in one commit: what is meant is written down, then each table gets its share, then the whole is sealed.

The rows lie as files in all tables before the intent is written. So from the intent on nothing of the caller is needed any more: whoever
comes after a crash carries it out, and of several who do so at once each table takes one. Before the intent, nothing is to be seen.

A reader who wants all tables or none asks for the versions that are sealed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from landfast.errors import Conflict, LandfastError, Misconfigured
from landfast.ports import Clock
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.names import COMMITS
from landfast.sinks.delta.files.paths import shown
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.snapshot import snapshot
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.place import place_of
from landfast.sinks.delta.writing.commit import Committer
from landfast.sinks.delta.writing.intent import Intent, open_intents, read_intent, seal_of
from landfast.sinks.delta.writing.persistence import Persistence
from landfast.sinks.delta.writing.record import writes_back
from landfast.sinks.delta.writing.values import DeltaWriteResult, DeltaWriteRetryPolicy, IdempotentWriteOptions


@dataclass(frozen=True, slots=True)
class Completion:
    """What became of a commit to several tables that had no seal. `missing` says what kept it from being carried out; empty if nothing."""

    app_id: str
    version: int
    tables: tuple[str, ...]
    missing: str


class Together:
    """Carries out commits to several tables. `first` is the table that keeps their intents and seals."""

    def __init__(self, first: Files, storage_options: Mapping[str, str], clock: Clock, policy: DeltaWriteRetryPolicy) -> None:
        self._first = first
        self._storage_options = storage_options
        self._clock = clock
        self._policy = policy

    def land(self, intent: Intent) -> dict[str, DeltaWriteResult]:
        """Write the intent down and carry it out; the result for each table.

        Raises:
            Conflict: under this identity other rows were meant before.
            Unavailable: attempts or time are over. Once the intent is written, `complete` carries it out.
        """
        persistence = Persistence(self._policy, self._clock)
        kept = persistence.tries("writing the intent of a commit", lambda _: self._put(intent))
        results = self._carry_out(kept)
        return results if kept is intent else {path: _of_another_call(result) for path, result in results.items()}

    def complete(self, app_ids: Collection[str] | None = None) -> list[Completion]:
        """Carry out every intent without a seal; of these writers, or of all."""
        completed = []
        with mapped("looking for commits to several tables"):
            found = [read_intent(self._first, name) for name in open_intents(self._first)]
        for intent in found:
            if app_ids is not None and intent.identity.app_id not in app_ids:
                continue
            missing = ""
            try:
                self._carry_out(intent)
            except LandfastError as error:
                missing = str(error)
            completed.append(Completion(intent.identity.app_id, intent.identity.version, tuple(intent.shares), missing))
        return completed

    def _put(self, intent: Intent) -> Intent:
        """The intent, or the one of this identity that is there already, if that means the same."""
        if self._first.put(intent.name, intent.to_json()):
            return intent
        kept = read_intent(self._first, intent.name)
        meant, known = ({path: share.digest for path, share in one.shares.items()} for one in (intent, kept))
        if meant != known:
            message = f"commit {intent.identity.version} of {intent.identity.app_id!r} was begun before, with other tables or other rows"
            raise Conflict("WRITE_DIFFERS", message, next_step="Write other rows under the next number. Nothing of this commit has landed.")
        return kept

    def _carry_out(self, intent: Intent) -> dict[str, DeltaWriteResult]:
        results = {}
        persistence = Persistence(self._policy, self._clock)
        for path, prepared in intent.shares.items():
            place = place_of(DeltaSettings(path, self._storage_options))
            results[path] = Committer(place, self._clock, persistence).land(prepared)
        versions = {path: result.table_version for path, result in results.items()}
        said = json.dumps({"at": int(self._clock.now() * 1000), "versions": versions}).encode()
        persistence.tries("sealing a commit", lambda _: (self._first.put(intent.seal, said), True)[1])
        return results


def _of_another_call(result: DeltaWriteResult) -> DeltaWriteResult:
    """What a share comes to that another call has prepared: it is there already, unless this call has landed it."""
    return result if result.attempts else replace(result, outcome="already there", files=0, nbytes=0)


def sealed_versions(paths: Collection[str], storage_options: Mapping[str, str]) -> dict[str, int]:
    """For each table the newest version up to which every commit to several tables is sealed, as of one moment for all of them.

    What other writers have committed up to there is in it. The seals are read before the tables, so a commit that is sealed meanwhile
    counts for none of them.

    Raises:
        Misconfigured: the first commit of a table is one that has no seal.
        Unavailable: a store does not answer.
    """
    seals: dict[str, frozenset[str]] = {}
    with mapped("reading the seals"):
        for path in paths:
            for _, record in writes_back(files_of(path, storage_options), snapshot(path, storage_options).version()):
                if record.sealing and record.sealing not in seals:
                    names = files_of(record.sealing, storage_options).names(COMMITS)
                    seals[record.sealing] = frozenset(names)
        return {path: _sealed(path, storage_options, seals) for path in paths}


def _sealed(path: str, storage_options: Mapping[str, str], seals: Mapping[str, frozenset[str]]) -> int:
    newest = snapshot(path, storage_options).version()
    found = newest
    for version, record in writes_back(files_of(path, storage_options), newest):
        seal = seal_of(IdempotentWriteOptions(record.app_id, record.version)).rpartition("/")[2]
        if record.sealing and seal not in seals.get(record.sealing, frozenset()):
            found = version - 1
    if found < 0:
        message = f"no version of the table at {shown(path)} is sealed"
        raise Misconfigured("WRITE_INVALID", message, next_step="Wait for the first commit, or complete it: `landfast.complete_commits`.")
    return found
