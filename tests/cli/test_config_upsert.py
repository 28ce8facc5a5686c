"""Settings of a table with one row per key: what cannot work is refused before anything is read, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from landfast.config import from_mapping
from landfast.errors import Misconfigured
from landfast.sinks.delta import UpsertSettings
from landfast.wiring import delta_settings
from tests.cli.test_config_is_refused_whole import whole

COLUMNS = {"id": "int64 not null", "at": "timestamp", "gone": "boolean", "name": "string"}
UPSERT: dict[str, Any] = {"mode": "upsert", "key": ["id"]}

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("no_key", {"sink": {"mode": "upsert"}}, "sink.key: is missing"),
    ("unknown_mode", {"sink": {"mode": "merge"}}, "sink.mode: unknown value; known are append, upsert"),
    ("key_twice", {"sink": {"mode": "upsert", "key": ["id", "id"]}}, "sink.key: id is there twice"),
    ("key_is_no_column", {"sink": {"mode": "upsert", "key": ["ident"]}}, "sink.key: ident is not among decode.columns"),
    ("key_is_the_time", {"sink": {"mode": "upsert", "key": ["_timestamp"]}}, "sink.key: _timestamp is not among decode.columns"),
    ("order_is_no_column", {"sink": {**UPSERT, "order_by": "updated"}}, "sink.order_by: updated is not among decode.columns"),
    ("marker_is_no_column", {"sink": {**UPSERT, "delete_when": "dead"}}, "sink.delete_when: dead is not among decode.columns"),
    ("marker_is_the_time", {"sink": {**UPSERT, "delete_when": "_timestamp"}}, "sink.delete_when: has to name a boolean column"),
    ("key_without_effect", {"sink": {"key": ["id"]}}, "sink.key: has an effect only with mode"),
    ("order_without_effect", {"sink": {"order_by": "at"}}, "sink.order_by: has an effect only with mode"),
    ("marker_without_effect", {"sink": {"delete_when": "gone"}}, "sink.delete_when: has an effect only with mode"),
    ("deletes_where_each_is_a_row", {"decode": {"tombstones": "delete"}}, 'decode.tombstones: "delete" needs sink.mode'),
    (
        "deletes_have_no_order",
        {"sink": {**UPSERT, "order_by": "at"}, "decode": {"tombstones": "delete"}},
        'decode.tombstones: "delete" needs an order that a record without a value has',
    ),
    (
        "deletes_have_no_values",
        {"sink": UPSERT, "decode": {"tombstones": "delete", "columns": {**COLUMNS, "name": "string NOT  NULL"}}},
        "decode.columns.name: must not be `not null`",
    ),
    (
        "bytes_delete_by_their_key",
        {"sink": {"mode": "upsert", "key": ["value"]}, "decode": {"format": "raw", "tombstones": "delete", "columns": {}}},
        'sink.key: must be ["key"]',
    ),
    ("a_new_topic_begins_at_zero", {"sink": {**UPSERT, "accept_topic_ids": ["Zk9hT2sVQ0a7bNf3xY1mLw"]}}, "sink.accept_topic_ids: needs"),
]


def settings_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    return whole(**{**changes, "decode": {"columns": COLUMNS, **changes.get("decode", {})}})


@pytest.mark.parametrize(("changes", "words"), [pytest.param(*case[1:], id=case[0]) for case in WRONG])
def test_what_cannot_work_is_refused(changes: Mapping[str, Any], words: str) -> None:
    """With the setting that is at fault."""
    with pytest.raises(Misconfigured) as caught:
        from_mapping(settings_of(changes))
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"sink": UPSERT}, UpsertSettings(("id",))),
        ({"sink": {**UPSERT, "order_by": "at", "delete_when": "gone"}}, UpsertSettings(("id",), "at", "gone")),
        ({"sink": {**UPSERT, "order_by": "_timestamp"}, "decode": {"tombstones": "delete"}}, UpsertSettings(("id",), "_timestamp")),
        ({"sink": {**UPSERT, "order_by": "at", "accept_topic_ids": ["Zk9hT2sVQ0a7bNf3xY1mLw"]}}, UpsertSettings(("id",), "at")),
        (
            {"sink": {"mode": "upsert", "key": ["key"]}, "decode": {"format": "raw", "tombstones": "delete", "columns": {}}},
            UpsertSettings(("key",)),
        ),
    ],
)
def test_what_can_work_reaches_the_sink(changes: Mapping[str, Any], expected: UpsertSettings | None) -> None:
    """As it stands in the file."""
    assert delta_settings(from_mapping(settings_of(changes)).routes[0]).upsert == expected
