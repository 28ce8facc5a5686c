"""The records of the demo: measurements of sensors, one in a hundred of them broken on purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator

from landfast.testing.kafka_records import Record

TOPIC = "sensors"
PARTITIONS = 4
COLUMNS = {
    "event_id": "string not null",
    "ts": "timestamp",
    "sensor": "string",
    "site": "string",
    "voltage": "float64",
    "current": "float64",
    "celsius": "float64",
    "count": "int64",
    "ok": "boolean",
    "note": "string",
}
_BROKEN_EVERY = 100


def sensor_records(first: int, end: int) -> Iterator[Record]:
    """Records `first` to `end`, the same each time, in turn to each partition."""
    for number in range(first, end):
        event_id = f"event-{number:08d}"
        body = {
            "event_id": event_id,
            "ts": f"2026-01-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.{number % 1000:03d}Z",
            "sensor": f"sensor-{number % 977:04d}",
            "site": f"hall-{number % 7}",
            "voltage": 230 + number % 50 / 10,
            "current": number % 160 / 8,
            "celsius": 20 + number % 90 / 4,
            "count": number,
            "ok": number % 13 != 0,
            "note": f"measured by device {number % 977:04d}, calibrated",
        }
        whole = json.dumps(body, separators=(",", ":")).encode()
        # Off the partitions' rhythm, so that each of them gets its share.
        is_broken = number % _BROKEN_EVERY == number // _BROKEN_EVERY % _BROKEN_EVERY
        value = _broken(number // _BROKEN_EVERY, whole) if is_broken else whole
        yield Record(TOPIC, value, number % PARTITIONS, fate="dead" if is_broken else "row", id=event_id)


def _broken(kind: int, whole: bytes) -> bytes:
    """What producers really send: cut off, of the wrong type, without its key, not a number, a key twice, not even text."""
    ways = (
        whole[: len(whole) // 2],
        whole.replace(b'"count":', b'"count":"many","was":'),
        whole.replace(b'"event_id"', b'"eventid"'),
        whole.replace(b'"ok":', b'"voltage":NaN,"ok":'),
        whole.replace(b'"site":', b'"sensor":"again","site":'),
        b"\xff\xfe\x00" + whole,
    )
    return ways[kind % len(ways)]
