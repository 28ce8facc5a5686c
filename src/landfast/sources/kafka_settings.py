"""How to read from Kafka: the settings, and the client configuration that follows from them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from landfast.errors import Misconfigured
from landfast.sources.kafka_losses import AcceptedLosses
from landfast.sources.kafka_option_table import CONSUMER_ONLY, KNOWN, whole_number

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How a Kafka source reads. Checked when the source is made; nothing is connected before `open`.

    servers                     bootstrap servers, `host:port`, separated by commas
    group                       the consumer group: it only shares out partitions
    topics                      names; or
    topic_pattern               a Python regular expression that is searched for in topic names; internal topics never match
    start                       earliest, latest, or milliseconds since the epoch: only for streams the sink has never seen
    accept_expired              what the log has lost below these offsets is accepted as lost
    protocol                    classic (cooperative-sticky) or consumer (KIP-848)
    instance_id                 static membership; unique among the living members
    instance_seconds_max        consumer: how long to wait for the group to release that name, which it holds until a session has ended
    options                     librdkafka settings by their own names, secrets resolved; never shown
    session_seconds             classic: how long the group waits for a member that went without a word; with protocol = consumer that is
                                a setting of the group on the broker
    poll_interval_seconds_max   the group gives our partitions away when `poll` has not been called for so long
    poll_bytes_max              about how many bytes of values one poll may bring
    request_seconds_max         how long to wait for one answer of a broker
    hold_seconds_max            a stream that is held for longer is paused, and what was fetched of it is fetched again later
    revoke_seconds              the deadline given with `lost` when streams are revoked
    stall_seconds               a stream with lag that brings nothing for so long is halted
    topic_check_seconds         how often topics are looked at while nothing is read: ids, new matches of the pattern
    confirm_seconds             how often, at most, topic ids are checked while records arrive
    gone_seconds                a topic that no broker knows for so long is gone; a starting broker may miss it for a moment
    notice_seconds              the same notice is repeated no more often than this
    topic_ids                   checked; or ignored, for brokers that have none: a re-created topic is then not noticed
    offsets                     of the group: a hint for other tools; or kept, where they are the only memory of how far we got, and whoever
                                keeps them moves them by `GroupOffsets`
    """

    servers: str
    group: str
    topics: tuple[str, ...] = ()
    topic_pattern: str | None = None
    start: Literal["earliest", "latest"] | int = "earliest"
    accept_expired: AcceptedLosses = field(default_factory=AcceptedLosses)
    protocol: Literal["classic", "consumer"] = "classic"
    instance_id: str | None = None
    instance_seconds_max: float = 90.0
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    session_seconds: float = 10.0
    poll_interval_seconds_max: float = 300.0
    poll_bytes_max: int = 16 * MEBIBYTE
    request_seconds_max: float = 10.0
    hold_seconds_max: float = 2.0
    revoke_seconds: float = 60.0
    stall_seconds: float = 300.0
    topic_check_seconds: float = 10.0
    confirm_seconds: float = 0.1
    gone_seconds: float = 5.0
    notice_seconds: float = 10.0
    topic_ids: Literal["checked", "ignored"] = "checked"
    offsets: Literal["hint", "kept"] = "hint"


_RECEIVE_BYTES_MIN = 100_000_000

# What the source's own settings name; the second word is that setting.
_OWN_SETTINGS: Mapping[str, str] = {
    "bootstrap.servers": "servers",
    "metadata.broker.list": "servers",
    "group.id": "group",
    "group.instance.id": "instance_id",
    "group.protocol": "protocol",
    "max.poll.interval.ms": "poll_interval_seconds_max",
}

# What the promise rests on: the only value that each may have, and what another would do.
_PROMISES: Mapping[str, tuple[str, str]] = {
    "enable.auto.commit": ("false", "the group's offsets would run ahead of what has landed"),
    "enable.auto.offset.store": ("false", "the group's offsets would run ahead of what has landed"),
    "auto.commit.interval.ms": ("0", "there is no auto commit"),
    "auto.offset.reset": ("error", "records would be skipped or repeated without a word"),
    "isolation.level": ("read_committed", "records of aborted transactions would land"),
    "enable.partition.eof": ("true", "a bounded run would never see its end"),
    "check.crcs": ("true", "a damaged record would land"),
    "partition.assignment.strategy": ("cooperative-sticky", "partitions would be taken away all at once"),
    "allow.auto.create.topics": ("false", "a misspelt topic would come into being"),
}

_HTTPS = re.compile(r"https://[^/\s]+", re.IGNORECASE)
_GRAVEST_FIRST = ("CONFIG_UNSAFE", "CONFIG_UNKNOWN", "CONFIG_INVALID")

# The newer protocol has these on the broker, per group.
_CLASSIC_ONLY = ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy")


def checked_options(settings: KafkaSettings) -> dict[str, str]:
    """The passed options, each known, well-formed and safe.

    Raises:
        Misconfigured: CONFIG_UNSAFE, CONFIG_UNKNOWN or CONFIG_INVALID, with every option that is wrong by its name and never its value if
            that is text. The code and the next step are those of the gravest.
    """
    faults = [fault for name, value in settings.options.items() if (fault := _fault(settings, name, value)) is not None]
    faults += _without_token(settings.options)
    if faults:
        faults.sort(key=lambda fault: _GRAVEST_FIRST.index(fault.code))
        words = "; ".join(fault.message for fault in faults)
        raise Misconfigured(faults[0].code, words, next_step=" ".join(dict.fromkeys(fault.next_step for fault in faults)))
    return dict(settings.options)


def _fault(settings: KafkaSettings, name: str, value: str) -> Misconfigured | None:
    """What is wrong with one option. The client tells capitals apart; whoever writes a name in capitals means the same setting."""
    unsafe = _unsafe(name, value)
    if unsafe is not None:
        return unsafe
    kind = KNOWN.get(name)
    if kind is None and name not in _PROMISES:
        return _unknown(name)
    if kind is not None and not kind.accepts(value):
        return Misconfigured("CONFIG_INVALID", f"source.options.{name} must be {kind}", next_step="Correct its value.")
    if settings.protocol == "consumer" and name in _CLASSIC_ONLY:
        message = f"source.options.{name}: with protocol = consumer this is a setting of the group on the broker"
        return Misconfigured("CONFIG_INVALID", message, next_step="Remove it, or set it for the group by kafka-configs.")
    return None


def _without_token(options: Mapping[str, str]) -> list[Misconfigured]:
    """The fault of a login by token where nothing brings a token: the client would wait for one in silence, for ever."""
    mechanism = options.get("sasl.mechanism", options.get("sasl.mechanisms", ""))
    unsigned = options.get("enable.sasl.oauthbearer.unsecure.jwt", "").lower() == "true"
    metadata = options.get("sasl.oauthbearer.metadata.authentication.type", "none").lower() != "none"
    if mechanism.upper() != "OAUTHBEARER" or unsigned or metadata or options.get("sasl.oauthbearer.method", "").lower() == "oidc":
        return []
    message = "source.options.sasl.mechanism: OAUTHBEARER needs something that brings tokens"
    step = 'Set "sasl.oauthbearer.method" = "oidc", with the token endpoint and the client\'s id and secret.'
    return [Misconfigured("CONFIG_INVALID", message, next_step=step)]


def _unsafe(name: str, value: str) -> Misconfigured | None:
    meant = name.lower()
    if meant in _OWN_SETTINGS:
        message = f"source.options.{name} is given by the setting source.{_OWN_SETTINGS[meant]}"
        return Misconfigured("CONFIG_UNSAFE", message, next_step="Remove it from the options.")
    if meant in _PROMISES and value.lower() != _PROMISES[meant][0]:
        only, otherwise = _PROMISES[meant]
        return Misconfigured("CONFIG_UNSAFE", f"source.options.{name} can only be {only}: {otherwise}", next_step="Remove it.")
    if meant == "receive.message.max.bytes" and (bytes_max := whole_number(value)) is not None and bytes_max < _RECEIVE_BYTES_MIN:
        message = f"source.options.{name} below {_RECEIVE_BYTES_MIN}: a larger batch would stop its partition for ever, in silence"
        return Misconfigured("CONFIG_UNSAFE", message, next_step="Remove it; use fetch.max.bytes to save memory.")
    if meant == "sasl.oauthbearer.token.endpoint.url" and not _HTTPS.match(value):
        message = f"source.options.{name}: the client's secret would go over a connection that anybody can read, or to no server at all"
        return Misconfigured("CONFIG_UNSAFE", message, next_step="Give an address that begins with https://.")
    return None


def _unknown(name: str) -> Misconfigured:
    near = difflib.get_close_matches(name.lower(), [*KNOWN, *_PROMISES], n=1, cutoff=0.6)
    guess = f", the nearest known one is {near[0]}" if near else ""
    message = f"source.options.{name}: librdkafka has no such consumer setting{guess}"
    return Misconfigured("CONFIG_UNKNOWN", message, next_step="Correct the name.")


def unguarded(options: Mapping[str, str]) -> str:
    """What a connection with these options does not guard although it looks as if it did, in words; empty where nothing is left open."""
    protocol = options.get("security.protocol", "plaintext").lower()
    mechanism = options.get("sasl.mechanism", options.get("sasl.mechanisms", "")).upper()
    words = []
    if protocol == "sasl_plaintext" and mechanism in {"PLAIN", "OAUTHBEARER"}:
        words.append("the login goes over a connection that anybody on the way can read (security.protocol)")
    if protocol in {"ssl", "sasl_ssl"} and options.get("enable.ssl.certificate.verification", "true").lower() == "false":
        words.append("any certificate is taken for the broker's (enable.ssl.certificate.verification)")
    if protocol in {"ssl", "sasl_ssl"} and options.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        words.append("a certificate of another name is taken for the broker's (ssl.endpoint.identification.algorithm)")
    return "; ".join(words)


def check_settings(settings: KafkaSettings) -> None:
    """Refuse settings that cannot work.

    Raises:
        Misconfigured: with what is wrong.
    """
    if bool(settings.topics) == (settings.topic_pattern is not None):
        raise Misconfigured("CONFIG_INVALID", "the source names either topics or a topic_pattern, one of the two")
    if settings.topic_pattern is not None:
        try:
            re.compile(settings.topic_pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise Misconfigured("CONFIG_INVALID", f"source.topic_pattern is not a regular expression: {error}") from error
    if settings.start not in {"earliest", "latest"} and not isinstance(settings.start, int):
        raise Misconfigured("CONFIG_INVALID", "source.start is earliest, latest or a time")
    checked_options(settings)


def consumer_configuration(settings: KafkaSettings) -> dict[str, Any]:
    """What the consumer of a group is made with."""
    base: dict[str, Any] = {
        "fetch.queue.backoff.ms": "10",  # The default of a second starves large polls to a quarter of the rate.
        "queued.min.messages": "10000",  # One queue for all partitions: its length is the wait of a quiet one.
        "queued.max.messages.kbytes": "32768",
        "topic.metadata.refresh.interval.ms": "10000",  # Partitions that are added are found by this.
        "reconnect.backoff.max.ms": "2000",  # A broker that is back is found soon.
        "socket.keepalive.enable": "true",
        **checked_options(settings),
        "bootstrap.servers": settings.servers,
        "group.id": settings.group,
        "group.protocol": settings.protocol,
        "max.poll.interval.ms": str(int(settings.poll_interval_seconds_max * 1000)),
        **{name: only for name, (only, _) in _PROMISES.items()},
    }
    if settings.instance_id is not None:
        base["group.instance.id"] = settings.instance_id
    if settings.protocol == "consumer":
        for name in _CLASSIC_ONLY:
            base.pop(name, None)
    else:
        # librdkafka refuses a poll interval below the session timeout, and a session needs a few heartbeats to live.
        session = int(base.get("session.timeout.ms", 1000 * min(settings.session_seconds, settings.poll_interval_seconds_max)))
        base = {"heartbeat.interval.ms": str(max(1, session // 3))} | base | {"session.timeout.ms": str(session)}
    return base


def session_seconds_of(settings: KafkaSettings) -> float:
    """How long the group waits for a member, by the settings and `options`; with the newer protocol the brokers say it."""
    milliseconds = consumer_configuration(settings).get("session.timeout.ms")
    return settings.session_seconds if milliseconds is None else int(milliseconds) / 1000


def reader_configuration(settings: KafkaSettings) -> dict[str, Any]:
    """What a consumer is made with that reads again without joining the group."""
    alone = replace(settings, protocol="classic", instance_id=None)
    # librdkafka demands a name even where no group is ever joined.
    return consumer_configuration(alone) | {"group.id": f"{settings.group}-reader"}


def admin_configuration(settings: KafkaSettings) -> dict[str, Any]:
    """What the client that asks about topics and offsets is made with."""
    passed = {name: value for name, value in checked_options(settings).items() if name not in CONSUMER_ONLY | {"auto.offset.reset"}}
    return {
        "reconnect.backoff.max.ms": "2000",
        "socket.keepalive.enable": "true",
        **passed,
        "bootstrap.servers": settings.servers,
    }
