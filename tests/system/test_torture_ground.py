"""The place of a torture is what was asked for, and says where it is not."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType

from landfast.cli.torture import cluster
from landfast.cli.torture.ground import Wanted, ground
from landfast.errors import Misconfigured, Unavailable
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import admin
from landfast.testing.stores import BUCKET, VersityGateway
from landfast.testing.tcp_proxy import Holds, Line, TcpProxy
from landfast.testing.wait import wait_until

pytestmark = pytest.mark.system

BROKERS_SESSION_SECONDS = 6.0


def _await(kafka: RealKafka, kind: ResourceType, name: str, expected: dict[str, str]) -> None:
    """Wait until the brokers say this: what was altered is seen a moment later."""
    resource, client = ConfigResource(kind, name), admin(kafka.servers)

    def said() -> bool:
        with suppress(KafkaException):
            found = client.describe_configs([resource])[resource].result(30)
            return {key: found[key].value for key in expected} == expected
        return False

    wait_until(said, 60.0)


def _newer(kafka: RealKafka, folder: Path, name: str, **more: str) -> Wanted:
    options = {"group.protocol": "consumer", **{key.replace("_", "."): value for key, value in more.items()}}
    return Wanted(name, kafka.servers, str(folder), options)


def test_nothing_of_a_topic_goes_before_it_is_judged(kafka: RealKafka, tmp_path: Path) -> None:
    """Whatever the brokers keep by default, the topics of a torture keep everything."""
    with ground(Wanted("landfast-torture-kept", kafka.servers, str(tmp_path)), print) as place:
        for topic in place.settings.source.topics:
            _await(kafka, ResourceType.TOPIC, topic, {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"})


def test_the_session_of_the_newer_protocol_is_the_groups(kafka: RealKafka, tmp_path: Path) -> None:
    """It is asked of the brokers for this group alone, and taken back at the end; without a wish it is theirs."""
    with ground(_newer(kafka, tmp_path, "landfast-torture-session", session_timeout_ms="2000"), print) as place:
        assert place.session_seconds == 2.0
    _await(kafka, ResourceType.GROUP, place.name, {"consumer.session.timeout.ms": "6000"})
    with ground(_newer(kafka, tmp_path, "landfast-torture-plain"), print) as place:
        assert place.session_seconds == BROKERS_SESSION_SECONDS


def test_a_session_that_the_brokers_refuse_is_told(kafka: RealKafka, tmp_path: Path) -> None:
    """The torture goes on with the brokers' own, and says so: the report must not claim what was only wished."""
    told: list[str] = []
    with ground(_newer(kafka, tmp_path, "landfast-torture-short", session_timeout_ms="50"), told.append) as place:
        assert place.session_seconds == BROKERS_SESSION_SECONDS
    assert [line.partition(" (")[0] for line in told] == ["The brokers do not let the group have a session of 0.05 s"]
    with pytest.raises(Misconfigured, match=r"session\.timeout\.ms"), ground(_newer(kafka, tmp_path, "x", session_timeout_ms="2s"), print):
        pass
    assert not list(tmp_path.iterdir())


def test_a_bucket_that_is_not_there_is_named_before_anything_is_made(store: VersityGateway, tmp_path: Path) -> None:
    """A wrong path ends it at once, and not after an hour."""
    wanted = Wanted("landfast-torture-nowhere", None, "s3://no-such-bucket/below", storage_options=store.storage_options)
    with pytest.raises(Unavailable, match=r"writing below s3://no-such-bucket/below") as caught, ground(wanted, print):
        pass
    assert caught.value.code == "BUCKET_MISSING"
    assert not list(tmp_path.iterdir())


def test_brokers_that_fall_silent_are_told_as_that(kafka: RealKafka, line: TcpProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Topics that nobody answers for end it with a code and a next step; what could not be deleted then is named."""
    told: list[str] = []
    with cluster.connected({"bootstrap.servers": kafka.line_servers}, kafka.line_servers) as client:
        monkeypatch.setattr(cluster, "ANSWER_SECONDS_MAX", 0.3)
        line.be(Line(holds=Holds.BOTH))
        with (
            pytest.raises(Unavailable, match=r"no broker has answered within 0\.3 s") as caught,
            cluster.topics(client, ["landfast-torture-silent"], 1, "landfast-torture-silent", told.append),
        ):
            pass
        assert caught.value.code == "SOURCE_DOWN"
        assert told == ["These could not be deleted, delete them yourself: landfast-torture-silent, landfast-torture-silent (_TIMED_OUT)"]
        with cluster.session_of(client, "landfast-torture-silent", None, print) as session_seconds:
            assert session_seconds == 45.0


def test_what_is_kept_is_named_with_its_table(store: VersityGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in a store lies elsewhere than the logs; who keeps it is told where both are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    wanted = Wanted("landfast-torture-kept-there", None, f"s3://{BUCKET}/kept", storage_options=store.storage_options, keep=True)
    with ground(wanted, print) as place:
        table = f"the table s3://{BUCKET}/kept/{wanted.name}/table with its dead letters beside it"
        assert place.whereabouts == f"{place.folder}, {table}, topics and group {wanted.name}"
    assert place.folder.is_dir()
    with ground(Wanted("landfast-torture-here", None, str(tmp_path)), print) as place:
        assert place.whereabouts == f"{place.folder}, topics and group landfast-torture-here"
