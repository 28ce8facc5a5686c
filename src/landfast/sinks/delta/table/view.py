"""A table as of one version: what a handle told of an earlier one, and what the log's entries have moved since."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

from deltalake import DeltaTable

from landfast.sinks.delta.log.entries import Entry


class Transactions:
    """Every transaction version that is known of the table, as of one of its versions. Safe to share between threads.

    A handle reads the log again for each question, from the store: a commit of a hundred streams would ask four hundred times. The log's
    entries never change, so what a handle says of a version is what an earlier one said and what the entries since then carry.
    """

    def __init__(self, version: int) -> None:
        self._lock = threading.Lock()
        self._version = version
        self._known: dict[str, int | None] = {}

    def at(self, version: int) -> Mapping[str, int | None]:
        """What is known of this version of the table."""
        with self._lock:
            return dict(self._known) if version == self._version else {}

    def start_anew(self, version: int) -> None:
        """Forget everything: what was known is not of the log that there is now."""
        with self._lock:
            self._known.clear()
            self._version = version

    def learn(self, version: int, app_id: str, found: int | None) -> None:
        """Keep what a handle has said of this version."""
        with self._lock:
            if version == self._version:
                self._known[app_id] = found

    def advance(self, entries: Sequence[Entry], tip: int) -> None:
        """Go on to version `tip`, by the entries that lead there. Where one is missing, everything is asked for again."""
        with self._lock:
            for entry in entries:
                if entry.version == self._version + 1:
                    self._known |= entry.transactions
                    self._version = entry.version
            if self._version < tip:
                self._known.clear()
                self._version = tip


class View:
    """The transaction versions of a table at `version`. For one thread; others may have moved the table on meanwhile.

    end   the fingerprint of the log at this version: as long as the log has it, what comes next is the entry after it
    worn  it is of no use any more: another has to be opened
    """

    def __init__(self, handle: DeltaTable, transactions: Transactions, end: str) -> None:
        self.handle = handle
        self.version = handle.version()
        self.end = end
        self.worn = False
        self._transactions = transactions
        self._known = dict(transactions.at(self.version))

    def answers(self, app_ids: Iterable[str]) -> bool:
        """Whether it can be asked for these. A handle that the log has gone on from is not asked any more: its files may be gone."""
        return self.handle.version() == self.version or all(app_id in self._known for app_id in app_ids)

    def transaction_version(self, app_id: str) -> int | None:
        """The transaction version of an application id at this version; None where it has none."""
        if app_id not in self._known:
            # No entry since the handle's version carries it, so the handle's answer is still true.
            self._known[app_id] = self.handle.transaction_version(app_id)
            self._transactions.learn(self.version, app_id, self._known[app_id])
        return self._known[app_id]

    def advance(self, entry: Entry) -> None:
        """Go on by the next entry of the log."""
        self._known |= entry.transactions
        self.version, self.end = entry.version, entry.fingerprint
