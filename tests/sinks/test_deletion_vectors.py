"""Rows that another tool deleted in a vector beside their file: nothing is proved over them, and nothing brings them back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.errors import Misconfigured
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.proof.verify import verify_table
from tests.sinks.delta_proof import LANE, land, made
from tests.sinks.delta_world import DeltaWorld
from tests.sinks.test_maintenance import EAGER, SteppingClock, acts, upkeep

# Six rows, written inline: an example of the Delta protocol.
VECTOR = {
    "storageType": "i",
    "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
    "sizeInBytes": 44,
    "cardinality": 6,
}
PROTOCOL = {
    "minReaderVersion": 3,
    "minWriterVersion": 7,
    "readerFeatures": ["deletionVectors"],
    "writerFeatures": ["deletionVectors"],
}


def deleted_by_another_tool(world: DeltaWorld) -> None:
    """Land two files; another writer deletes rows of the second without writing it anew."""
    sink = world.sink()
    land(sink, made(LANE, range(10), 10, first=True))
    land(sink, made(LANE, range(10, 20), 20))
    version = DeltaTable(world.path).version()
    log = Path(world.path) / "_delta_log"
    actions = [json.loads(line) for line in (log / f"{version:020d}.json").read_text().splitlines()]
    add = next(action["add"] for action in actions if "add" in action)
    remove = {"path": add["path"], "deletionTimestamp": add["modificationTime"], "dataChange": True}
    lines = [
        {"commitInfo": {"operation": "DELETE", "operationParameters": {}}},
        {"protocol": PROTOCOL},
        {"remove": remove},
        {"add": {**add, "deletionVector": VECTOR}},
    ]
    (log / f"{version + 1:020d}.json").write_text("\n".join(map(json.dumps, lines)) + "\n")


def test_nothing_is_proved_of_files_that_do_not_tell_the_rows(world: DeltaWorld) -> None:
    """Readers do not see the deleted rows, and the files still hold them: the proof is refused, not given."""
    deleted_by_another_tool(world)
    with pytest.raises(Misconfigured) as caught:
        verify_table(world.path)
    assert caught.value.code == "PROTOCOL_UNSUPPORTED"
    assert "deletionVectors" in caught.value.message


def test_compaction_leaves_such_a_table_alone(world: DeltaWorld) -> None:
    """A new file made of the old ones' rows would bring the deleted ones back."""
    deleted_by_another_tool(world)
    before = [file.path for file in active_files(DeltaTable(world.path))]
    upkeep(world).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert "compaction" not in acts(world)
    assert [file.path for file in active_files(DeltaTable(world.path))] == before


def test_such_a_table_is_looked_at_when_it_is_time_and_not_with_every_commit(world: DeltaWorld) -> None:
    """To look costs opening the table anew, so a table that is left alone waits for its next turn; once it is mended, it is compacted."""
    deleted_by_another_tool(world)
    clock = SteppingClock()
    keeper = upkeep(world, replace(EAGER, compaction_interval_seconds=60.0), clock)
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    DeltaTable(world.path).restore(DeltaTable(world.path).version() - 1, protocol_downgrade_allowed=True)
    clock.seconds = 59.0
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert "compaction" not in acts(world)
    clock.seconds = 60.0
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert acts(world).count("compaction") == 1
