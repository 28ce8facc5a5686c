"""Several tables in one commit: what is meant is written down, then each table gets its share, then the whole is sealed.

The rows lie as files in all tables before the intent is written. So from the intent on nothing of the caller is needed any more: whoever
comes after a crash carries it out, and of several who do so at once each table takes one. Before the intent, nothing is to be seen.

A reader who wants all tables or none asks for the versions that are sealed.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

from landfast.errors import Conflict, LandfastError, Misconfigured
from landfast.ports import Clock
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.names import COMMITS
from landfast.sinks.delta.files.paths import at_end_of, shown
from landfast.sinks.delta.files.storage import files_of
from landfast.sinks.delta.log.snapshot import snapshot, snapshot_or_none
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.place import place_of
from landfast.sinks.delta.writing.attempts import Journal
from landfast.sinks.delta.writing.commit import Committer, Ways
from landfast.sinks.delta.writing.intent import Intent, Seal, intents, read_intent, read_seal, seal_of
from landfast.sinks.delta.writing.persistence import Persistence
from landfast.sinks.delta.writing.record import WriteRecord, writes_back
from landfast.sinks.delta.writing.values import DeltaWriteResult, DeltaWriteRetryPolicy, IdempotentWriteOptions


@dataclass(frozen=True, slots=True)
class Completion:
    """What became of a commit to several tables that had no seal. `missing` says what kept it from being carried out; empty if nothing."""

    app_id: str
    version: int
    tables: tuple[str, ...]
    missing: str


class Together:
    """Carries out commits to several tables. `first` is the path of the table that keeps their intents and seals."""

    def __init__(self, first: str, storage_options: Mapping[str, str], clock: Clock, policy: DeltaWriteRetryPolicy) -> None:
        self._path = first
        self._first = files_of(first, storage_options)
        self._storage_options = storage_options
        self._clock = clock
        self._policy = policy
        self._call = uuid.uuid4().hex

    def land(self, intent: Intent) -> dict[str, DeltaWriteResult]:
        """Write the intent down and carry it out; the result for each table, by its way from the first.

        Raises:
            Conflict: under this identity other rows were meant before, or a later number has landed in one of the tables.
            Unavailable: attempts or time are over. Once the intent is written, `complete` carries it out.
        """
        persistence = Persistence(self._policy, self._clock)
        (seal,) = persistence.tries("reading the seal of a commit", lambda _: (read_seal(self._first, intent),))
        if seal is None:
            return self._carry_out(persistence.tries("writing the intent of a commit", lambda _: self._put(intent)))
        _check_same(intent, seal.digests)
        return {
            way: DeltaWriteResult("already there", intent.identity, seal.versions.get(way), share.rows, 0, 0, 0, persistence.seconds)
            for way, share in intent.shares.items()
        }

    def complete(self, app_ids: Collection[str] | None = None) -> list[Completion]:
        """Carry out every intent without a seal; of these writers, or of all."""
        completed = []
        for intent in self.unsealed():
            if app_ids is not None and intent.identity.app_id not in app_ids:
                continue
            missing = ""
            try:
                self._carry_out(intent)
            except LandfastError as error:
                missing = str(error)
            completed.append(self._completion(intent, missing))
        return completed

    def left(self) -> list[Completion]:
        """Every intent without a seal, as it is."""
        return [self._completion(intent, "no seal says that it is in all of its tables") for intent in self.unsealed()]

    def unsealed(self) -> list[Intent]:
        """The intents that have no seal, oldest number first within each run."""
        with mapped("looking for commits to several tables"):
            unsealed, carried_out = intents(self._first)
            for name in carried_out:
                self._first.remove(name)
            return [found for name in unsealed if (found := read_intent(self._first, name)) is not None]

    def _completion(self, intent: Intent, missing: str) -> Completion:
        tables = tuple(shown(at_end_of(way, self._path)) for way in intent.shares)
        return Completion(intent.identity.app_id, intent.identity.version, tables, missing)

    def _put(self, intent: Intent) -> Intent:
        """The intent, or the one of this identity that is there already, if that means the same."""
        if self._first.put(intent.name, intent.to_json()):
            return intent
        kept = read_intent(self._first, intent.name)
        if kept is None:
            # Somebody has carried it out and taken it away since: its seal says what landed, and the tables do.
            return intent
        _check_same(intent, kept.digests)
        return kept

    def _carry_out(self, intent: Intent) -> dict[str, DeltaWriteResult]:
        results = {}
        persistence = Persistence(self._policy, self._clock)
        for way, prepared in intent.shares.items():
            place = place_of(DeltaSettings(at_end_of(way, self._path), self._storage_options))
            # Under the id of who carries it out, not of who meant it: each of several who do so at once is told what was its own doing.
            share = replace(prepared, call=self._call)
            journal = None if share.attempts is None else Journal(intent.identity, self._call, self._clock)
            with nullcontext() if journal is None else journal.kept(place.settings.path, self._storage_options):
                results[way] = Committer(place, self._clock, persistence, Ways(journal=journal)).land(share)
        versions = {way: result.table_version for way, result in results.items()}
        said = Seal(versions, intent.digests).to_json(int(self._clock.now() * 1000))
        persistence.tries("sealing a commit", lambda _: (self._first.put(intent.seal, said), True)[1])
        # It names every file of the commit, and there may be very many such commits.
        persistence.tries("taking the intent of a commit away", lambda _: self._removed(intent))
        return results

    def _removed(self, intent: Intent) -> bool:
        self._first.remove(intent.name)
        return True


def _check_same(intent: Intent, known: Mapping[str, str]) -> None:
    """See that what is meant is what was meant under this identity before."""
    if intent.digests != known:
        message = f"commit {intent.identity.version} of {intent.identity.app_id!r} was begun before, with other tables or other rows"
        raise Conflict("WRITE_DIFFERS", message, next_step="Write other rows under the next number. Nothing of this commit has landed.")


def first_tables(path: str, storage_options: Mapping[str, str]) -> list[str]:
    """The tables that keep the intents of the commits which this one has a share of, itself first."""
    with mapped("reading the table's log"):
        handle = snapshot_or_none(path, storage_options)
        if handle is None:
            return [path]
        records = (record for _, record in writes_back(files_of(path, storage_options), handle.version()))
        others = {at_end_of(record.sealing, path) for record in records if record.sealing not in ("", ".")}
    return [path, *sorted(others)]


@dataclass(frozen=True, slots=True)
class _Share:
    """What one table has of a commit to several: the version that it came with, which commit it was, and whether that is sealed."""

    version: int
    commit: tuple[str, str, int]
    is_sealed: bool


def sealed_versions(paths: Collection[str], storage_options: Mapping[str, str]) -> dict[str, int]:
    """For each table the newest version up to which every commit to several tables is sealed, as of one moment for all of them.

    A commit that is left out of one of these tables is left out of all, also where it is sealed and only stands behind one that is not.
    What other writers have committed up to there is in it. The seals are read before the tables, so a commit that is sealed meanwhile
    counts for none of them.

    Raises:
        Misconfigured: the first commit of a table is one that has no seal.
        Unavailable: a store does not answer.
    """
    with mapped("reading the seals"):
        files = {path: files_of(path, storage_options) for path in paths}
        seen = {path: snapshot(path, storage_options).version() for path in paths}
        writes = {path: [*writes_back(files[path], seen[path])] for path in paths}
        firsts = {at_end_of(record.sealing, path) for path, found in writes.items() for _, record in found if record.sealing}
        seals = {first: frozenset(files_of(first, storage_options).names(COMMITS)) for first in firsts}
        newest = {path: snapshot(path, storage_options).version() for path in paths}
        for path, found in writes.items():
            found.extend(writes_back(files[path], newest[path], seen[path] + 1))
    shares = {path: _shares(path, found, seals) for path, found in writes.items()}
    versions, left_out = dict(newest), {share.commit for held in shares.values() for share in held if not share.is_sealed}
    while True:
        for path, held in shares.items():
            versions[path] = min([newest[path], *(share.version - 1 for share in held if share.commit in left_out)])
        behind = {share.commit for path, held in shares.items() for share in held if share.version > versions[path]}
        if behind <= left_out:
            break
        left_out |= behind
    for path, version in versions.items():
        if version < 0:
            message = f"no version of the table at {shown(path)} is sealed"
            next_step = "Wait for the first commit, or complete it: `landfast.complete_commits`."
            raise Misconfigured("WRITE_INVALID", message, next_step=next_step)
    return versions


def _shares(path: str, writes: Iterable[tuple[int, WriteRecord]], seals: Mapping[str, frozenset[str]]) -> list[_Share]:
    found = []
    for version, record in writes:
        if record.sealing:
            first = at_end_of(record.sealing, path)
            seal = seal_of(IdempotentWriteOptions(record.app_id, record.version)).rpartition("/")[2]
            found.append(_Share(version, (first, record.app_id, record.version), seal in seals.get(first, frozenset())))
    return found
