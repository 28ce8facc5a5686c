"""The independent count: what the producer knows was acknowledged, against what a plain reader of Parquet files finds.

It uses nothing of the engine or the sink: only the list of files in the table, read by pyarrow.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landfast.testing.kafka_records import Acknowledged

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Count:
    """What was found.

    lost       acknowledged records that are nowhere
    doubled    records beyond the first at one place, in table and dead letters together
    changed    records that are somewhere, but not what was sent, or where they do not belong
    """

    records: int
    rows: int
    letters: int
    lost: int
    doubled: int
    changed: int

    @property
    def well(self) -> bool:
        """Whether each record is in exactly one place, unchanged."""
        return not (self.lost or self.doubled or self.changed)


def count(sent: Sequence[Acknowledged], table: Path, letters: Path) -> Count:
    """Compare."""
    rows = [((row["_partition"], row["_offset"]), row["event_id"]) for row in _read(table, ("_partition", "_offset", "event_id"))]
    dead = [((row["partition"], row["offset"]), _sha(row["value"])) for row in _read(letters, ("partition", "offset", "value"))]
    return compared(sent, rows, dead)


def compared(sent: Iterable[Acknowledged], rows: Sequence[tuple[Place, str]], dead: Sequence[tuple[Place, str]]) -> Count:
    """Compare what was sent with the rows (place and id) and the dead letters (place and digest) that were found."""
    expected = {(record.partition, record.offset): ("row", record.id) if record.fate == "row" else ("dead", record.sha) for record in sent}
    found: Counter[tuple[Place, tuple[str, str | None]]] = Counter((place, ("row", event_id)) for place, event_id in rows)
    found.update((place, ("dead", sha)) for place, sha in dead)
    places: Counter[Place] = Counter()
    for (place, _), times in found.items():
        places[place] += times
    return Count(
        records=len(expected),
        rows=len(rows),
        letters=len(dead),
        lost=sum(place not in places for place in expected),
        doubled=sum(times - 1 for times in places.values()),
        changed=sum(expected.get(place) != what for place, what in found),
    )


def _sha(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def _read(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq
    from deltalake import DeltaTable

    for file in DeltaTable(str(path)).file_uris():
        yield from pq.read_table(file.removeprefix("file://"), columns=list(columns)).to_pylist()
