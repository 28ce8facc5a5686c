"""A table is opened while others commit: a listing of its log that shows a hole is no damage, and a hole is."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from landfast.sinks.delta.log.snapshot import snapshot
from landfast.testing.wait import wait_until

OLD_ENTRIES = 3000
"""So many that listing them takes a while."""

WRITER = """
    import json, os, sys, time
    log, version = sys.argv[1], int(sys.argv[2])
    for version in range(version, version + 6000):
        time.sleep(0.0005)  # As fast as several workers; without a pause nobody could read what was put.
        with open(f"{log}/.draft", "w") as draft:
            draft.write(json.dumps({"txn": {"appId": "x", "version": version}}) + chr(10))
        os.rename(f"{log}/.draft", f"{log}/{version:020d}.json")
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a table with many entries, of which a checkpoint holds all."""
    table = str(tmp_path / "table")
    write_deltalake(table, pa.table({"n": [1]}))
    folder = Path(table) / "_delta_log"
    for version in range(1, OLD_ENTRIES):
        (folder / f"{version:020d}.json").write_text(json.dumps({"txn": {"appId": "x", "version": version}}) + "\n", encoding="utf-8")
    DeltaTable(table).create_checkpoint()
    return folder


def test_a_listing_with_a_hole_is_no_damage_where_the_entry_is_there(log: Path) -> None:
    """Beside a writer that commits without a pause each open succeeds, at a version that is not older than those before."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(log), str(OLD_ENTRIES)]
    with subprocess.Popen(command) as writer:
        try:
            wait_until((log / f"{OLD_ENTRIES:020d}.json").exists, 30.0)
            seen = [snapshot(str(log.parent), {}).version() for _ in range(12)]
        finally:
            writer.kill()
    assert seen == sorted(seen)
    assert seen[-1] >= OLD_ENTRIES


def test_an_entry_that_is_not_there_stays_damage(log: Path) -> None:
    """A hole that is one is told, and nothing is opened before it."""
    for version in (OLD_ENTRIES, OLD_ENTRIES + 2):
        (log / f"{version:020d}.json").write_text(json.dumps({"txn": {"appId": "x", "version": version}}) + "\n", encoding="utf-8")
    with pytest.raises(DeltaError, match="found gap"):
        snapshot(str(log.parent), {})
    (log / f"{OLD_ENTRIES + 2:020d}.json").rename(log / f"{OLD_ENTRIES + 1:020d}.json")
    assert snapshot(str(log.parent), {}).version() == OLD_ENTRIES + 1
