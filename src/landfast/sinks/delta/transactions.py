"""Transaction versions, as a handle would tell them, without asking it each time.

A handle reads the log again for each question, from the store: a commit of a hundred streams would ask four hundred times. The log's
entries never change, so what a handle says of a version is what an earlier one said and what the entries since then carry.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from deltalake import DeltaTable

from landfast.sinks.delta.log import Entry


class Transactions:
    """The transaction versions that were asked for, as of one version of the table. Safe to share between threads."""

    def __init__(self, version: int) -> None:
        self._lock = threading.Lock()
        self._version = version
        self._known: dict[str, int | None] = {}

    def of(self, handle: DeltaTable, app_id: str) -> int | None:
        """The transaction version of an application id in this handle's snapshot, whichever that is; None where it has none."""
        with self._lock:
            if handle.version() == self._version and app_id in self._known:
                return self._known[app_id]
        found = handle.transaction_version(app_id)
        with self._lock:
            if handle.version() == self._version:
                self._known[app_id] = found
        return found

    def advance(self, entries: Sequence[Entry], tip: int) -> None:
        """Go on to version `tip`, by the entries that lead there. Where one is missing, everything is asked for again."""
        with self._lock:
            for entry in entries:
                if entry.version == self._version + 1:
                    self._known |= {app_id: version for app_id, version in entry.transactions.items() if app_id in self._known}
                    self._version = entry.version
            if self._version < tip:
                self._known.clear()
                self._version = tip
