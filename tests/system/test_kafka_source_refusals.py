"""What keeps a source from starting is said at once, with a code, the place and the next step; a broker that is down is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from landfast.errors import Misconfigured, Unavailable
from landfast.sources.kafka import KafkaSource
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_properties import BEARER_SCOPE
from landfast.testing.kafka_records import Record, add_scram_user, create_topic, produce
from landfast.testing.kafka_tls import make_certificate
from landfast.testing.wait import wait_until
from tests.sources.kafka_rights import grant, logs_in, sasl, token, withdraw
from tests.sources.kafka_world import Engine, Member, Noted, WallClock, member, refusal, settings, unique

pytestmark = pytest.mark.system


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
    """Wrong credentials are told as such, with names and with a pattern, and no message, event or repr holds the password."""
    topic = unique()
    create_topic(kafka.servers, topic)
    chosen = settings(kafka.sasl_servers, topic, options=sasl("wrong-password-1"), request_seconds_max=5.0)
    noted = Noted()
    error = refusal(lambda: KafkaSource(chosen, WallClock(), noted).open(Engine()))
    assert (type(error), error.code) == (Misconfigured, "SOURCE_AUTH")
    assert "wrong-password-1" not in f"{error} {noted.events} {chosen}"
    listing = settings(kafka.sasl_servers, topic_pattern=f"^{topic}", options=sasl("wrong-password-1"), request_seconds_max=2.0)
    error = refusal(lambda: KafkaSource(listing, WallClock(), noted).open(Engine()))
    assert (type(error), error.code) == (Misconfigured, "SOURCE_AUTH")


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


def _reading_by_right(kafka: RealKafka) -> tuple[str, Member]:
    """A topic with one record, and a member that has read it because it was granted to."""
    topic = unique()
    create_topic(kafka.servers, topic)
    produce(kafka.servers, [Record(topic, b"x", 0)])
    chosen = settings(kafka.sasl_servers, topic, options=sasl())
    grant(kafka.servers, "TOPIC", topic, "DESCRIBE", "READ")
    grant(kafka.servers, "GROUP", chosen.group, "READ")
    reader = member(chosen)
    reader.until(lambda: reader.end() == 1)
    return topic, reader


def test_a_right_that_is_taken_away_halts_the_stream(kafka: RealKafka) -> None:
    """A topic that may not be read any more is a halt with a code and the place, not silence."""
    topic, reader = _reading_by_right(kafka)
    stream = reader.stream()
    withdraw(kafka.servers, "TOPIC", topic, "READ")
    produce(kafka.servers, [Record(topic, b"y", 0)])
    reader.until(lambda: reader.halted)
    assert reader.halted[stream].code == "SOURCE_AUTH"
    assert reader.halted[stream].next_step
    reader.source.close()


def test_without_any_right_a_stream_does_not_wait_for_a_word_that_never_comes(kafka: RealKafka) -> None:
    """Where not even the topic's id may be asked for, nothing is ever confirmed: the stream is let go, or it would hold up all others."""
    topic, reader = _reading_by_right(kafka)
    stream = reader.stream()
    withdraw(kafka.servers, "TOPIC", topic, "READ")
    withdraw(kafka.servers, "TOPIC", topic, "DESCRIBE")
    produce(kafka.servers, [Record(topic, b"y", 0)])
    reader.until(lambda: stream in reader.doubted)
    assert reader.halted[stream].code == "SOURCE_AUTH"
    reader.source.close()


def test_rights_are_known_before_anything_is_read(kafka: RealKafka) -> None:
    """A look names every topic and the group for which READ is lacking, joins nothing, and is content once all is granted."""
    topic, other = unique(), unique()
    for name in (topic, other):
        create_topic(kafka.servers, name)
        grant(kafka.servers, "TOPIC", name, "DESCRIBE")
    chosen = settings(kafka.sasl_servers, topic, other, options=sasl())
    source = KafkaSource(chosen, WallClock(), Noted())
    error = refusal(source.preflight)
    assert (type(error), error.code) == (Misconfigured, "SOURCE_AUTH")
    assert all(named in error.message for named in (f"topic {topic}", f"topic {other}", f"group {chosen.group}"))
    assert "READ" in error.next_step
    grant(kafka.servers, "TOPIC", topic, "READ")
    grant(kafka.servers, "GROUP", chosen.group, "READ")
    error = refusal(source.preflight)
    assert (topic in error.message, other in error.message, chosen.group in error.message) == (False, True, False)
    grant(kafka.servers, "TOPIC", other, "READ")
    source.preflight()
    KafkaSource(settings(kafka.servers, topic), WallClock(), Noted()).preflight()


def test_a_login_by_scram_reads_and_a_wrong_one_is_refused(kafka: RealKafka) -> None:
    """SCRAM goes through the passed options: with the right password records arrive, with another one SOURCE_AUTH at once."""
    topic, user = unique(), unique("scram")
    create_topic(kafka.servers, topic)
    produce(kafka.servers, [Record(topic, b"x", 0)])
    add_scram_user(kafka.servers, user, "long-and-secret")
    chosen = settings(kafka.sasl_servers, topic, options=sasl("long-and-secret", user, "SCRAM-SHA-256"))
    wait_until(lambda: logs_in(chosen.servers, chosen.options), 30)
    grant(kafka.servers, "TOPIC", topic, "READ", user=user)
    grant(kafka.servers, "GROUP", chosen.group, "READ", user=user)
    reader = member(chosen)
    reader.until(lambda: reader.offsets() == [0])
    reader.source.close()
    wrong = settings(kafka.sasl_servers, topic, options=sasl("another-secret", user, "SCRAM-SHA-256"))
    error = refusal(lambda: member(wrong))
    assert (type(error), error.code) == (Misconfigured, "SOURCE_AUTH")
    assert "another-secret" not in str(error)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_login_by_token_reads_and_a_wrong_one_is_refused(protocol: str, kafka: RealKafka) -> None:
    """OAUTHBEARER goes through the passed options: a token that the broker accepts reads, another one is SOURCE_AUTH, and none is shown."""
    topic, user = unique(), unique("bearer")
    create_topic(kafka.servers, topic)
    produce(kafka.servers, [Record(topic, b"x", 0)])
    chosen = settings(kafka.sasl_servers, topic, options=token(BEARER_SCOPE, user), protocol=protocol)
    grant(kafka.servers, "TOPIC", topic, "READ", user=user)
    grant(kafka.servers, "GROUP", chosen.group, "READ", user=user)
    KafkaSource(chosen, WallClock(), Noted()).preflight()
    reader = member(chosen)
    reader.until(lambda: reader.offsets() == [0])
    reader.source.close()
    wrong = settings(kafka.sasl_servers, topic, options=token("canary-scope", user), protocol=protocol)
    noted = Noted()
    error = refusal(lambda: KafkaSource(wrong, WallClock(), noted).open(Engine()))
    assert (type(error), error.code) == (Misconfigured, "SOURCE_AUTH")
    assert error.next_step
    assert "canary-scope" not in f"{error} {noted.events} {wrong}"
    assert BEARER_SCOPE not in f"{chosen} {reader.noted.events}"


def test_n7_tls_reads_what_its_certificate_vouches_for_and_nothing_else(kafka: RealKafka, tmp_path: Path) -> None:
    """With the broker's authority records arrive; with another one nothing is read, and the error speaks of the certificate."""
    topic = unique()
    create_topic(kafka.servers, topic)
    produce(kafka.servers, [Record(topic, b"x", 0)])

    def trusting(authority: Path) -> dict[str, str]:
        return {"security.protocol": "ssl", "ssl.ca.location": str(authority)}

    reader = member(settings(kafka.tls_servers, topic, options=trusting(kafka.certificate.authority)))
    reader.until(lambda: reader.offsets() == [0])
    reader.source.close()
    stranger = make_certificate(tmp_path).authority
    error = refusal(lambda: member(settings(kafka.tls_servers, topic, options=trusting(stranger))))
    assert (type(error), error.code) == (Misconfigured, "SOURCE_AUTH")
    assert "certificate" in error.message
    assert "ssl.ca.location" in error.next_step
