"""What keeps a source from starting is said at once, with a code, the place and the next step; a broker that is down is waited for."""

from __future__ import annotations

import pytest

from landfast.errors import Misconfigured, Unavailable
from landfast.sources.kafka import KafkaSource
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, admin, create_topic, produce
from tests.conftest import KAFKA_USERS
from tests.sources.kafka_world import Engine, Noted, WallClock, member, refusal, settings, unique

pytestmark = pytest.mark.system

USER, PASSWORD = next(iter(KAFKA_USERS.items()))


def sasl(password: str = PASSWORD) -> dict[str, str]:
    """Options of the broker's one user."""
    return {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": USER, "sasl.password": password}


def grant(servers: str, kind: str, name: str, *operations: str) -> None:
    """Let the user do this."""
    from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

    bindings = [
        AclBinding(
            ResourceType[kind], name, ResourcePatternType.LITERAL, f"User:{USER}", "*", AclOperation[operation], AclPermissionType.ALLOW
        )
        for operation in operations
    ]
    client = admin(servers)
    for done in client.create_acls(bindings).values():
        done.result(30)


def test_a_missing_topic_is_refused_by_name(kafka: RealKafka) -> None:
    """Of several topics the missing one is named; nothing is read of the others."""
    here, missing = unique(), unique("missing")
    create_topic(kafka.servers, here)
    error = refusal(lambda: member(settings(kafka.servers, here, missing)))
    assert isinstance(error, Misconfigured)
    assert (error.code, missing in error.message, here in error.message) == ("TOPIC_MISSING", True, False)
    assert error.next_step
    source = KafkaSource(settings(kafka.servers, here, missing), WallClock(), Noted())
    assert refusal(source.bounds).code == "TOPIC_MISSING"


def test_a_pattern_that_matches_nothing_is_refused(kafka: RealKafka) -> None:
    """Nothing to read is no quiet success."""
    error = refusal(lambda: member(settings(kafka.servers, topic_pattern=f"^{unique('nothing')}")))
    assert (type(error), error.code) == (Misconfigured, "TOPIC_MISSING")


def test_a_broker_that_is_down_is_unavailable_and_open_may_be_called_again() -> None:
    """Nobody listens: `open` says so within its time, keeps no half-open state, and says so again."""
    source = KafkaSource(settings("127.0.0.1:1", "any", request_seconds_max=1.0), WallClock(), Noted())
    for _ in range(2):
        error = refusal(lambda: source.open(Engine()))
        assert (type(error), error.code) == (Unavailable, "SOURCE_DOWN")
    assert refusal(source.bounds).code == "SOURCE_DOWN"
    source.close()


def test_a_wrong_password_is_refused_and_never_shown(kafka: RealKafka) -> None:
    """Wrong credentials are told as such, and no message, event or repr holds the password."""
    topic = unique()
    create_topic(kafka.servers, topic)
    chosen = settings(kafka.sasl_servers, topic, options=sasl("wrong-password-1"), request_seconds_max=5.0)
    noted = Noted()
    error = refusal(lambda: KafkaSource(chosen, WallClock(), noted).open(Engine()))
    assert (type(error), error.code) == (Misconfigured, "SOURCE_AUTH")
    assert "wrong-password-1" not in f"{error} {noted.events} {chosen}"


def test_a_topic_that_may_not_be_seen_is_refused(kafka: RealKafka) -> None:
    """Kafka tells strangers that a topic does not exist: the refusal names it, and what to grant."""
    topic = unique()
    create_topic(kafka.servers, topic)
    error = refusal(lambda: member(settings(kafka.sasl_servers, topic, options=sasl())))
    assert isinstance(error, Misconfigured)
    assert error.code in {"SOURCE_AUTH", "TOPIC_MISSING"}
    assert topic in error.message
    assert error.next_step


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_that_may_not_be_joined_is_refused_and_goes_once_it_may(protocol: str, kafka: RealKafka) -> None:
    """Reading a topic takes a right on the group too: without it the source says so; with both it reads."""
    topic = unique()
    create_topic(kafka.servers, topic)
    produce(kafka.servers, [Record(topic, b"x", 0)])
    grant(kafka.servers, "TOPIC", topic, "DESCRIBE", "READ")
    chosen = settings(kafka.sasl_servers, topic, options=sasl(), protocol=protocol)
    stranger = member(chosen)
    error = refusal(lambda: stranger.until(lambda: stranger.chunks))
    assert (type(error), error.code) == (Misconfigured, "SOURCE_AUTH")
    stranger.source.close()
    grant(kafka.servers, "GROUP", chosen.group, "READ")
    reader = member(chosen)
    reader.until(lambda: reader.offsets() == [0])
    reader.source.close()


def test_a_right_that_is_taken_away_halts_the_stream(kafka: RealKafka) -> None:
    """A topic that may not be read any more is a halt with a code, not silence."""
    topic = unique()
    create_topic(kafka.servers, topic)
    produce(kafka.servers, [Record(topic, b"x", 0)])
    chosen = settings(kafka.sasl_servers, topic, options=sasl())
    grant(kafka.servers, "TOPIC", topic, "DESCRIBE")
    grant(kafka.servers, "GROUP", chosen.group, "READ")
    reader = member(chosen)
    reader.until(lambda: reader.halted or reader.noted.codes() & {"SOURCE_AUTH"})
    assert reader.chunks == []
    reader.source.close()
