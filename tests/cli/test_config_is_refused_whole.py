"""Settings that cannot be used are refused before anything is read, all faults at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from landfast.config import from_mapping, load
from landfast.errors import Misconfigured


def whole(**changes: Any) -> dict[str, Any]:
    """A sound document with some sections changed key by key; a section given as None is left out."""
    body: dict[str, Any] = {"name": "sensors", "source": {"servers": "h:1", "topics": ["t"]}, "sink": {"path": "lake/t"}}
    for name, change in changes.items():
        if change is None:
            del body[name]
        elif isinstance(change, Mapping):
            body[name] = {key: value for key, value in {**body.get(name, {}), **change}.items() if value is not None}
        else:
            body[name] = change
    return body


def refusal(body: Mapping[str, Any]) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        from_mapping(body)
    return caught.value


WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("unknown_key", {"source": {"topicz": ["t"]}}, "CONFIG_UNKNOWN", "source.topicz: unknown key; did you mean topics?"),
    ("unknown_section", {"snik": {}}, "CONFIG_UNKNOWN", "snik: unknown key; did you mean sink?"),
    (
        "key_in_the_wrong_section",
        {"sink": {"servers": "h:1"}},
        "CONFIG_UNKNOWN",
        "sink.servers: unknown key here; did you mean source.servers?",
    ),
    ("key_at_the_top", {"columns": {}}, "CONFIG_UNKNOWN", "columns: unknown key here; did you mean decode.columns?"),
    ("unlike_anything", {"batch": {"zzzz": 1}}, "CONFIG_UNKNOWN", "batch.zzzz: unknown key; known are bytes, rows, seconds"),
    ("deep_key", {"engine": {"retry": {"atempts": 1}}}, "CONFIG_UNKNOWN", "engine.retry.atempts: unknown key; did you mean attempts?"),
    ("unknown_value", {"source": {"start": "earlyest"}}, "CONFIG_UNKNOWN", "source.start: unknown value; did you mean earliest?"),
    ("unknown_kind", {"source": {"kind": "pulsar"}}, "CONFIG_UNKNOWN", "source.kind: unknown value; known are kafka"),
    ("value_of_another_kind", {"decode": {"format": 3}}, "CONFIG_UNKNOWN", "decode.format: unknown value; known are json, raw"),
    ("tombstones", {"decode": {"tombstones": "drop"}}, "CONFIG_UNKNOWN", "decode.tombstones: unknown value; known are skip, dead"),
    ("no_name", {"name": None}, "CONFIG_MISSING", "name: is missing"),
    ("name_of_a_wrong_kind", {"name": 3}, "CONFIG_INVALID", "name: must be a text"),
    ("name_with_a_space", {"name": "a b"}, "CONFIG_INVALID", "name: must match"),
    ("name_too_long", {"name": "a" * 101}, "CONFIG_INVALID", "name: must have at most 100 characters"),
    ("no_source", {"source": None}, "CONFIG_MISSING", "source: is missing"),
    ("section_is_a_number", {"source": 3}, "CONFIG_INVALID", "source: must be a section"),
    ("no_servers", {"source": {"servers": None}}, "CONFIG_MISSING", "source.servers: is missing"),
    ("port_too_high", {"source": {"servers": "h:1,h:99999"}}, "CONFIG_INVALID", "source.servers: server 2 is not host:port"),
    ("port_zero", {"source": {"servers": "h:0"}}, "CONFIG_INVALID", "source.servers: server 1 is not host:port"),
    ("port_is_a_word", {"source": {"servers": "h:kafka"}}, "CONFIG_INVALID", "source.servers: server 1 is not host:port"),
    ("no_server_at_all", {"source": {"servers": "not a server"}}, "CONFIG_INVALID", "source.servers: server 1 is not host:port"),
    ("empty_server", {"source": {"servers": "h:1,"}}, "CONFIG_INVALID", "source.servers: server 2 is not host:port"),
    ("bare_ipv6", {"source": {"servers": "::1:9092"}}, "CONFIG_INVALID", "IPv6 addresses stand in brackets"),
    ("server_with_a_password", {"source": {"servers": "u:p@h:1"}}, "CONFIG_INVALID", "source.servers: server 1 is not"),
    ("no_topics", {"source": {"topics": None}}, "CONFIG_MISSING", "source.topics: is missing: name the topics"),
    ("topics_as_text", {"source": {"topics": "t"}}, "CONFIG_INVALID", "source.topics: must be a list"),
    ("topics_and_pattern", {"source": {"topic_pattern": "^t"}}, "CONFIG_INVALID", "source.topic_pattern: give topics or topic_pattern"),
    ("topic_name", {"source": {"topics": ["a b"]}}, "CONFIG_INVALID", "source.topics: 'a b' is not a topic name"),
    ("topic_twice", {"source": {"topics": ["t", "t"]}}, "CONFIG_INVALID", "source.topics: t is there twice"),
    ("pattern", {"source": {"topics": None, "topic_pattern": "^("}}, "CONFIG_INVALID", "source.topic_pattern: is not a regular expression"),
    ("start_at_missing", {"source": {"start": "timestamp"}}, "CONFIG_MISSING", "source.start_at: is missing"),
    (
        "accepted_without_a_partition",
        {"source": {"accept_expired": {"t": 5}}},
        "CONFIG_INVALID",
        "source.accept_expired: 't' names no partition: write topic[partition]@id, such as sensors[0]@",
    ),
    ("accepted_without_an_id", {"source": {"accept_expired": {"t[0]@": 5}}}, "CONFIG_INVALID", "'t[0]@' names no partition"),
    (
        "accepted_of_another_topic",
        {"source": {"accept_expired": {"u[0]": 5}}},
        "CONFIG_INVALID",
        "source.accept_expired: the topic u of u[0] is none of those that are read",
    ),
    ("accepted_below_zero", {"source": {"accept_expired": {"t[0]": -1}}}, "CONFIG_INVALID", "must be at least 0"),
    ("accepted_as_text", {"source": {"accept_expired": {"t[0]": "5"}}}, "CONFIG_INVALID", "must be a whole number"),
    ("start_at_not_a_time", {"source": {"start_at": "now"}}, "CONFIG_INVALID", "source.start_at: must be a TOML date-time"),
    ("option_of_a_wrong_kind", {"source": {"options": {"a": [1]}}}, "CONFIG_INVALID", "source.options: a: an option is a text"),
    (
        "dotted_key_without_quotes",
        {"source": {"options": {"sasl": {"mechanism": "PLAIN", "oauthbearer": {"config": "x"}}}}},
        "CONFIG_INVALID",
        'source.options: quote a key that has dots, so that it is one key: "sasl.mechanism", "sasl.oauthbearer.config" = …',
    ),
    ("options_as_a_list", {"source": {"options": [1]}}, "CONFIG_INVALID", "source.options: must be a table"),
    ("no_sink", {"sink": None}, "CONFIG_MISSING", "sink.path: is missing"),
    (
        "unknown_store",
        {"sink": {"path": "s4://b/t"}},
        "CONFIG_INVALID",
        "sink.path: s4:// is no kind of store that is known; known are abfs://",
    ),
    ("web_address", {"sink": {"path": "https://h/t"}}, "CONFIG_INVALID", "sink.path: https:// is no kind of store that is known"),
    ("no_bucket", {"sink": {"path": "s3:///t"}}, "CONFIG_INVALID", "sink.path: names no bucket: s3://bucket/table"),
    ("one_slash", {"sink": {"path": "s3:/b/t"}}, "CONFIG_INVALID", "sink.path: is no URI: write s3:// with two slashes"),
    ("empty_path", {"sink": {"path": ""}}, "CONFIG_INVALID", "sink.path: must have at least 1 characters"),
    ("rows_zero", {"batch": {"rows": 0}}, "CONFIG_INVALID", "batch.rows: must be at least 1"),
    ("rows_as_text", {"batch": {"rows": "many"}}, "CONFIG_INVALID", "batch.rows: must be a whole number"),
    ("rows_true", {"batch": {"rows": True}}, "CONFIG_INVALID", "batch.rows: must be a whole number"),
    ("size", {"batch": {"bytes": "1 furlong"}}, "CONFIG_INVALID", "batch.bytes: a size is a number with a unit"),
    ("size_without_a_number", {"batch": {"bytes": "MiB"}}, "CONFIG_INVALID", "batch.bytes: a size is a number with a unit"),
    ("seconds", {"batch": {"seconds": 4000}}, "CONFIG_INVALID", "batch.seconds: must be at most 3600"),
    ("seconds_nan", {"batch": {"seconds": float("nan")}}, "CONFIG_INVALID", "batch.seconds: must be a finite number"),
    ("seconds_endless", {"batch": {"seconds": float("inf")}}, "CONFIG_INVALID", "batch.seconds: must be a finite number"),
    ("share_nan", {"dead_letters": {"max_share": float("nan")}}, "CONFIG_INVALID", "dead_letters.max_share: must be a finite number"),
    ("share", {"dead_letters": {"max_share": 1.5}}, "CONFIG_INVALID", "dead_letters.max_share: must be at most 1"),
    ("memory", {"engine": {"memory_bytes": "64 MiB"}}, "CONFIG_INVALID", "batch.bytes: must not be more than engine.memory_bytes"),
    (
        "first_wait",
        {"engine": {"retry": {"first_wait_seconds": 20}}},
        "CONFIG_INVALID",
        "engine.retry.first_wait_seconds: must not be longer",
    ),
    ("total", {"engine": {"retry": {"total_seconds": 1}}}, "CONFIG_INVALID", "engine.retry.wait_seconds_max: must not be longer"),
    (
        "maintenance",
        {"source": {"poll_interval_seconds_max": 10}, "engine": {"maintain_seconds": 6}},
        "CONFIG_INVALID",
        "engine.maintain_seconds: must not be longer",
    ),
    ("raw_with_columns", {"decode": {"format": "raw", "columns": {"a": "string"}}}, "CONFIG_INVALID", "decode.columns: must be empty"),
    ("column_kind", {"decode": {"columns": {"a": 1}}}, "CONFIG_INVALID", "decode.columns.a: must be a text"),
    (
        "partition",
        {"decode": {"columns": {"a": "string"}}, "sink": {"partition_by": ["b"]}},
        "CONFIG_INVALID",
        "sink.partition_by: b is not among decode.columns",
    ),
    ("partition_twice", {"sink": {"partition_by": ["b", "b"]}}, "CONFIG_INVALID", "sink.partition_by: b is there twice"),
    ("port", {"metrics": {"port": 70000}}, "CONFIG_INVALID", "metrics.port: must be at most 65535"),
]


@pytest.mark.parametrize(("changes", "code", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_setting_is_refused_with_its_place(changes: dict[str, Any], code: str, words: str) -> None:
    """Each wrong key or value is refused with its stable code, its place, and the nearest known name or the bound."""
    error = refusal(whole(**changes))
    assert error.code == code
    assert words in error.message
    assert error.next_step


def test_all_faults_are_named_at_once() -> None:
    """A file with many faults names them all, so that one round of corrections is enough."""
    error = refusal(whole(source={"topicz": 1, "start": "x"}, batch={"rows": 0}, sink={"path": None}))
    assert "4 faults" in error.message
    assert all(place in error.message for place in ("source.topicz", "source.start", "batch.rows", "sink.path"))


def test_all_broken_relations_are_named_at_once() -> None:
    """Settings that are sound alone and do not fit together are named together too."""
    error = refusal(whole(source={"topics": ["t", "t"]}, engine={"memory_bytes": "1 MiB", "retry": {"first_wait_seconds": 20}}))
    assert "3 faults" in error.message


def test_a_sound_file_keeps_every_value(tmp_path: Path) -> None:
    """The file of the documentation loads, with the values that it gives and defaults for the rest."""
    file = tmp_path / "pipeline.toml"
    file.write_text(
        """
        name = "sensors"
        [source]
        kind = "kafka"
        servers = "127.0.0.1:9092"
        topics = ["sensors"]
        group = "landfast-sensors"
        start = "earliest"
        options = { "fetch.wait.max.ms" = 50, "enable.ssl.certificate.verification" = false }
        [decode]
        format = "json"
        unknown_fields = "rescue"
        [decode.columns]
        event_id = "string not null"
        voltage = "float64"
        [sink]
        kind = "delta"
        path = "lake/sensors/"
        partition_by = ["event_id", "_topic"]
        storage_options = { }
        [batch]
        rows = 500000
        bytes = "64.5 MiB"
        seconds = 5
        [dead_letters]
        max_share = 0.05
        max_in_a_row = 1000
        [engine]
        memory_bytes = "1 GB"
        """,
        encoding="utf-8",
    )
    settings = load(file, {})
    (route,) = settings.routes
    assert (settings.name, settings.group, settings.source.topics) == ("sensors", "landfast-sensors", ("sensors",))
    assert settings.source.options.resolve("source.options") == {"fetch.wait.max.ms": "50", "enable.ssl.certificate.verification": "false"}
    assert (route.name, route.topics, route.decode.columns) == (
        "sensors",
        ("sensors",),
        {"event_id": "string not null", "voltage": "float64"},
    )
    assert route.sink.path == str(tmp_path.resolve() / "lake/sensors")
    assert (route.batch.bytes, route.batch.seconds, settings.engine.memory_bytes) == (67_633_152, 5.0, 10**9)
    assert settings.revoke_seconds == pytest.approx(60)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"name = ", "not TOML"),
        (b"# one\n# two \xe9\n", "not UTF-8 text: line 2, byte 7 of it"),
        (b"\xff\xfen\x00", "not UTF-8 text: line 1, byte 1 of it"),
        (b"#" * (1 << 20) + b"##", "larger than 1 MiB"),
    ],
    ids=["missing", "syntax", "encoding", "other encoding", "huge"],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A missing, broken, foreign or huge file is refused with its name and the reason."""
    file = tmp_path / "p.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Misconfigured, match=words) as caught:
        load(file, {})
    assert caught.value.code == "CONFIG_UNREADABLE"
    assert str(file) in caught.value.message


def test_a_byte_order_mark_is_no_statement(tmp_path: Path) -> None:
    """Editors that put a mark before the first line do no harm."""
    file = tmp_path / "p.toml"
    file.write_bytes(b"\xef\xbb\xbf" + b'name = "sensors"\nsource = { servers = "h:1", topics = ["t"] }\nsink = { path = "t" }\n')
    assert load(file, {}).name == "sensors"


@pytest.mark.parametrize(
    "servers", ["h:1", "broker-1.example.org:9092, 10.0.0.7:65535", "[::1]:9092", "[fe80::1%eth0]:9092", "SASL_SSL://h:1", "localhost"]
)
def test_servers_are_taken_in_every_form_that_the_client_knows(servers: str) -> None:
    """Names, addresses, IPv6 in brackets, with the protocol before or without a port."""
    assert from_mapping(whole(source={"servers": servers})).source.servers == servers


def test_the_digest_tells_settings_apart_and_ignores_secrets() -> None:
    """Two runs with the same settings have one digest, another setting gives another, and a changed password changes nothing."""
    first = from_mapping(whole(source={"options": {"sasl.password": "one"}}))
    assert first.digest() == from_mapping(whole(source={"options": {"sasl.password": "two"}})).digest()
    assert first.digest() != from_mapping(whole(source={"options": {"sasl.password": "one"}}, batch={"rows": 7})).digest()
    assert len(first.digest()) == 64


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a shell would expand is expanded; nobody gets a folder whose name is a tilde."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert from_mapping(whole(sink={"path": "~/lake/t"})).routes[0].sink.path == str(tmp_path / "lake/t")
    assert "no such home folder" in refusal(whole(sink={"path": "~nobody-of-this-name/t"})).message


@pytest.mark.parametrize(
    "path",
    [
        "file:///data/table",
        "S3://bucket/table",
        "/data/12:30/t",
        "s3://bucket/table",
        "/data/table",
        "abfss://c@account.dfs.core.windows.net/t",
    ],
)
def test_absolute_places_stay_as_they_are(path: str) -> None:
    """Only relative paths are relative to the file."""
    assert from_mapping(whole(sink={"path": path})).routes[0].sink.path == path
