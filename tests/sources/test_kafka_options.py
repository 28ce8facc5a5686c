"""Settings and options of the Kafka source: what is unknown, impossible or unsafe is refused before anything is connected."""

from __future__ import annotations

from typing import Any

import pytest

from landfast.config.options import Options
from landfast.errors import Misconfigured
from landfast.sources.kafka import KafkaSource
from landfast.sources.kafka_option_table import CONSUMER_ONLY, KNOWN
from landfast.sources.kafka_settings import KafkaSettings, admin_configuration, consumer_configuration, reader_configuration
from tests.sources.kafka_world import Noted, WallClock, refusal

SECRET = "hunter2-hunter2"


def made(**changes: Any) -> KafkaSettings:
    """Settings with one topic."""
    base: dict[str, Any] = {"servers": "127.0.0.1:1", "group": "g", "topics": ("t",)}
    return KafkaSettings(**(base | changes))


def refused(**changes: Any) -> Misconfigured:
    """The error with which a source refuses these settings."""
    error = refusal(lambda: KafkaSource(made(**changes), WallClock(), Noted()))
    assert isinstance(error, Misconfigured)
    return error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable.auto.commit", "true"),
        ("enable.auto.offset.store", "True"),
        ("auto.offset.reset", "latest"),
        ("isolation.level", "read_uncommitted"),
        ("enable.partition.eof", "false"),
        ("check.crcs", "false"),
        ("partition.assignment.strategy", "range"),
        ("allow.auto.create.topics", "true"),
        ("receive.message.max.bytes", "1000000"),
        ("group.id", "mine"),
        ("group.protocol", "consumer"),
        ("group.instance.id", "me"),
        ("bootstrap.servers", "elsewhere:9092"),
        ("metadata.broker.list", "elsewhere:9092"),
        ("max.poll.interval.ms", "1000"),
    ],
)
@pytest.mark.museum(3)
def test_an_option_that_would_break_the_promise_is_refused(name: str, value: str) -> None:
    """What the engine owns cannot be set to anything else, in any spelling of the value."""
    error = refused(options={name: value})
    assert error.code == "CONFIG_UNSAFE"
    assert name in error.message
    assert error.next_step


def test_all_options_that_are_wrong_are_named_at_once() -> None:
    """One round of corrections is enough; what is unsafe comes first."""
    error = refused(options={"fetch.max.byte": "1", "check.crcs": "false", "log_level": "8", "auto.offset.reset": "latest"})
    assert error.code == "CONFIG_UNSAFE"
    named = ("check.crcs", "auto.offset.reset", "fetch.max.byte", "log_level")
    places = [error.message.index(f"source.options.{name}") for name in named]
    assert places == sorted(places)


@pytest.mark.parametrize(("name", "code"), [("ENABLE.AUTO.COMMIT", "CONFIG_UNSAFE"), ("Group.Id", "CONFIG_UNSAFE")])
def test_capitals_hide_nothing(name: str, code: str) -> None:
    """A name in capitals is judged by what it means."""
    error = refused(options={name: "true"})
    assert (error.code, name in error.message) == (code, True)


def test_an_option_in_capitals_is_shown_in_its_right_spelling() -> None:
    """The client tells capitals apart, so the right name is not theirs."""
    error = refused(options={"FETCH.MAX.BYTES": "5"})
    assert (error.code, "nearest known one is fetch.max.bytes" in error.message) == ("CONFIG_UNKNOWN", True)


def test_an_unknown_option_names_its_nearest_neighbour() -> None:
    """A misspelt option is an error that shows the right spelling."""
    error = refused(options={"fetch.max.byte": "1"})
    assert error.code == "CONFIG_UNKNOWN"
    assert "fetch.max.bytes" in error.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fetch.max.bytes", "many"),
        ("fetch.max.bytes", "-1"),
        ("log_level", "8"),
        ("security.protocol", "tls"),
        ("socket.keepalive.enable", "1"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: str) -> None:
    """Each option has a kind, and the refusal says which."""
    error = refused(options={name: value})
    assert error.code == "CONFIG_INVALID"
    assert str(KNOWN[name]) in error.message


@pytest.mark.parametrize("name", ["session.timeout.ms", "heartbeat.interval.ms"])
def test_what_the_newer_protocol_keeps_on_the_broker_is_refused(name: str) -> None:
    """With protocol = consumer the session is a setting of the group, and the refusal says so."""
    error = refused(protocol="consumer", options={name: "10000"})
    assert error.code == "CONFIG_INVALID"
    assert "broker" in error.message


@pytest.mark.parametrize(
    "changes",
    [
        {"topics": ()},
        {"topic_pattern": "^x"},
        {"topics": (), "topic_pattern": "("},
        {"start": "newest"},
    ],
)
def test_settings_at_odds_are_refused(changes: dict[str, Any]) -> None:
    """Topics or a pattern, one of the two, a pattern that compiles, a start that exists."""
    assert refused(**changes).code == "CONFIG_INVALID"


def test_a_secret_is_in_no_repr_and_no_notice() -> None:
    """Passwords among the options are shown nowhere, whatever the driver says."""
    chosen = made(options={"sasl.password": SECRET, "ssl.key.password": SECRET + "2", "client.id": "visible"})
    noted = Noted()
    source = KafkaSource(chosen, WallClock(), noted)
    source._notices.say("KAFKA_CLIENT", f"login with {SECRET}2 and {SECRET} as visible")  # noqa: SLF001 — what a driver might say
    assert SECRET not in repr(chosen) + repr(source) + repr(noted.events)
    assert "as visible" in repr(noted.events)


def test_a_login_by_token_passes_through_and_its_secrets_stay_hidden() -> None:
    """What OAUTHBEARER and OIDC need reaches every client, and neither client secret nor key nor claims are shown anywhere."""
    secrets = {
        "sasl.oauthbearer.client.secret": "canary-1",
        "sasl.oauthbearer.client.credentials.client.secret": "canary-2",
        "sasl.oauthbearer.assertion.private.key.passphrase": "canary-3",
        "sasl.oauthbearer.assertion.private.key.pem": "canary-4",
        "sasl.oauthbearer.config": "principal=canary-5",
    }
    plain = {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "landfast",
        "sasl.oauthbearer.scope": "kafka",
        "sasl.oauthbearer.token.endpoint.url": "https://login.example.com/token",
        "enable.sasl.oauthbearer.unsecure.jwt": "false",
    }
    chosen = made(options=plain | secrets)
    noted = Noted()
    source = KafkaSource(chosen, WallClock(), noted)
    for configuration in (consumer_configuration(chosen), reader_configuration(chosen), admin_configuration(chosen)):
        assert configuration.items() >= (plain | secrets).items()
    source._notices.say("KAFKA_CLIENT", f"login with {' and '.join(secrets.values())}")  # noqa: SLF001 — what a driver might say
    shown = repr(chosen) + repr(source) + repr(noted.events) + repr(Options(plain | secrets).masked())
    assert not [secret for secret in secrets.values() if secret in shown]
    assert set(Options(plain | secrets).secrets(plain | secrets)) >= set(secrets.values())


@pytest.mark.parametrize("mechanism", ["sasl.mechanism", "sasl.mechanisms"])
@pytest.mark.parametrize(
    ("more", "brings_tokens"),
    [
        ({}, False),
        ({"sasl.oauthbearer.method": "default", "sasl.oauthbearer.config": "principal=x"}, False),
        ({"enable.sasl.oauthbearer.unsecure.jwt": "false"}, False),
        ({"enable.sasl.oauthbearer.unsecure.jwt": "true"}, True),
        ({"sasl.oauthbearer.method": "oidc"}, True),
        ({"sasl.oauthbearer.metadata.authentication.type": "azure_imds"}, True),
    ],
)
def test_a_login_by_token_needs_something_that_brings_one(mechanism: str, more: dict[str, str], brings_tokens: bool) -> None:
    """Without it the client would wait in silence, and the brokers would be said to be down."""
    chosen = made(options={mechanism: "OAUTHBEARER", **more})
    if brings_tokens:
        KafkaSource(chosen, WallClock(), Noted())
    else:
        error = refusal(lambda: KafkaSource(chosen, WallClock(), Noted()))
        assert (error.code, "OAUTHBEARER" in error.message, "oidc" in error.next_step) == ("CONFIG_INVALID", True, True)


def test_the_same_notice_is_not_repeated_at_once() -> None:
    """Twenty errors a second are one notice in `notice_seconds`; another code is heard all the same."""
    noted = Noted()
    source = KafkaSource(made(notice_seconds=3600.0), WallClock(), noted)
    for _ in range(20):
        source._notices.say("BROKER_UNREACHABLE", "down", about="-195")  # noqa: SLF001 — as the driver's callback does
    source._notices.say("SOURCE_AUTH", "no")  # noqa: SLF001 — as above
    assert [event.code for event in noted.events] == ["BROKER_UNREACHABLE", "SOURCE_AUTH"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("options", [{}, {"fetch.max.bytes": "16777216", "queued.min.messages": "500", "check.crcs": "true"}])
def test_the_driver_takes_every_configuration_that_is_made(protocol: Any, options: dict[str, str]) -> None:
    """Group member, re-reader and admin client can be made of the same settings, and the promises are in them."""
    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient

    chosen = made(protocol=protocol, options=options, instance_id="me", poll_interval_seconds_max=10.0)
    configuration = consumer_configuration(chosen)
    assert configuration["isolation.level"] == "read_committed"
    assert configuration["auto.offset.reset"] == "error"
    assert configuration["enable.auto.commit"] == "false"
    for client in (configuration, reader_configuration(chosen)):
        Consumer(client | {"log_level": 0}).close()
    AdminClient(admin_configuration(chosen) | {"log_level": 0})


def test_the_session_is_ours_to_set_where_it_is_the_members() -> None:
    """Ten seconds unless told otherwise, three heartbeats to it, never above the poll interval; the newer protocol has none."""

    def session(**changes: Any) -> tuple[str | None, str | None]:
        configuration = consumer_configuration(made(**changes))
        return configuration.get("session.timeout.ms"), configuration.get("heartbeat.interval.ms")

    assert session() == ("10000", "3333")
    assert session(session_seconds=45.0) == ("45000", "15000")
    assert session(session_seconds=45.0, poll_interval_seconds_max=12.0) == ("12000", "4000")
    assert session(session_seconds=45.0, options={"session.timeout.ms": "6000"}) == ("6000", "2000")
    assert session(protocol="consumer") == (None, None)


def test_every_known_option_is_known_to_the_driver() -> None:
    """The table of options holds no name that librdkafka would refuse."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    unknown = []
    for name in sorted({*KNOWN, *CONSUMER_ONLY}):
        try:
            AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0, name: "\x00"})
        except (KafkaException, ValueError) as error:
            if "No such configuration property" in str(error):
                unknown.append(name)
    assert unknown == []
