"""What each error code of Kafka and librdkafka means for us, in one table."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from confluent_kafka import ConcurrentModificationException, IllegalStateException, KafkaError, KafkaException
from confluent_kafka.error import (
    ConsumeError,
    KeyDeserializationError,
    KeySerializationError,
    ProduceError,
    ValueDeserializationError,
    ValueSerializationError,
)
from confluent_kafka.serialization import SerializationError

from landfast.errors import Broken, ErrorClass, KnownError, LandfastError, Misconfigured, Unavailable
from landfast.model import Halt, Position, Stream
from landfast.sources.kafka_losses import line_of


class Act(enum.Enum):
    """What follows from an error.

    RETRY   nothing is lost and the client tries again by itself; the operator hears of it
    HALT    the stream cannot go on, others can
    STOP    the client cannot go on
    """

    RETRY = "retry"
    HALT = "halt"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an error, its stable code, and what kind of thing it is."""

    act: Act
    code: str
    error_class: ErrorClass


_RETRY = Verdict(Act.RETRY, "BROKER_UNREACHABLE", ErrorClass.TRANSIENT)
_SLOWER = Verdict(Act.RETRY, "BROKER_UNREACHABLE", ErrorClass.THROTTLED)
_UNSURE = Verdict(Act.RETRY, "BROKER_UNREACHABLE", ErrorClass.UNKNOWN)
_AUTH = Verdict(Act.HALT, "SOURCE_AUTH", ErrorClass.AUTH)
_GONE = Verdict(Act.RETRY, "TOPIC_GONE", ErrorClass.TRANSIENT)
_CORRUPT = Verdict(Act.HALT, "BATCH_CORRUPT", ErrorClass.DATA)
_RESET = Verdict(Act.HALT, "DATA_EXPIRED", ErrorClass.PERMANENT)
_STUCK = Verdict(Act.HALT, "STUCK_AT", ErrorClass.DATA)
_FATAL = Verdict(Act.STOP, "SOURCE_FATAL", ErrorClass.PERMANENT)
_FENCED = Verdict(Act.STOP, "SOURCE_FATAL", ErrorClass.CONFLICT)

# By verdict, so that each code stands in exactly one place. TOPIC_GONE is a retry here: a starting broker may not know a topic yet,
# and the topic-id check decides. An offset out of range is compared with the log's bounds before it gets its code.
_BY_VERDICT: Mapping[Verdict, str] = {
    _AUTH: """
        CLUSTER_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_EXPIRED
        DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED GROUP_AUTHORIZATION_FAILED
        ILLEGAL_SASL_STATE INVALID_PRINCIPAL_TYPE PRINCIPAL_DESERIALIZATION_FAILURE SASL_AUTHENTICATION_FAILED SECURITY_DISABLED
        TOPIC_AUTHORIZATION_FAILED TRANSACTIONAL_ID_AUTHORIZATION_FAILED UNACCEPTABLE_CREDENTIAL UNSUPPORTED_SASL_MECHANISM
        _AUTHENTICATION _SSL
    """,
    _GONE: "INCONSISTENT_TOPIC_ID UNKNOWN_TOPIC_ID UNKNOWN_TOPIC_OR_PART _UNKNOWN_PARTITION _UNKNOWN_TOPIC",
    _CORRUPT: "INVALID_MSG INVALID_RECORD UNSUPPORTED_COMPRESSION_TYPE _BAD_COMPRESSION _BAD_MSG",
    _RESET: "OFFSET_OUT_OF_RANGE _AUTO_OFFSET_RESET _LOG_TRUNCATION _NO_OFFSET",
    _STUCK: "INVALID_MSG_SIZE MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE _UNDERFLOW",
    _FATAL: """
        GROUP_MAX_SIZE_REACHED INCONSISTENT_GROUP_PROTOCOL INVALID_CONFIG INVALID_GROUP_ID INVALID_REGULAR_EXPRESSION
        INVALID_REQUEST INVALID_SESSION_TIMEOUT TOPIC_EXCEPTION UNSUPPORTED_ASSIGNOR UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_VERSION
        _CONFLICT _CRIT_SYS_RESOURCE _DESTROY _EXISTING_SUBSCRIPTION _FATAL _FS _INVALID_ARG _INVALID_TYPE _NOT_CONFIGURED
        _NOT_IMPLEMENTED _READ_ONLY _UNKNOWN_PROTOCOL _UNSUPPORTED_FEATURE
    """,
    _FENCED: "FENCED_INSTANCE_ID UNRELEASED_INSTANCE_ID _FENCED",
    _SLOWER: "THROTTLING_QUOTA_EXCEEDED",
    _UNSURE: "UNKNOWN",
    _RETRY: """
        BROKER_NOT_AVAILABLE COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE FENCED_LEADER_EPOCH
        FENCED_MEMBER_EPOCH FETCH_SESSION_ID_NOT_FOUND GROUP_ID_NOT_FOUND ILLEGAL_GENERATION INVALID_FETCH_SESSION_EPOCH
        KAFKA_STORAGE_ERROR LEADER_NOT_AVAILABLE LISTENER_NOT_FOUND LOG_DIR_NOT_FOUND MEMBER_ID_REQUIRED NETWORK_EXCEPTION
        NOT_CONTROLLER NOT_COORDINATOR NOT_LEADER_FOR_PARTITION OFFSET_NOT_AVAILABLE PREFERRED_LEADER_NOT_AVAILABLE
        REBALANCE_IN_PROGRESS REBOOTSTRAP_REQUIRED REPLICA_NOT_AVAILABLE REQUEST_TIMED_OUT STALE_BROKER_EPOCH STALE_CTRL_EPOCH
        STALE_MEMBER_EPOCH UNKNOWN_CONTROLLER_ID UNKNOWN_LEADER_EPOCH UNKNOWN_MEMBER_ID
        UNSTABLE_OFFSET_COMMIT
        _ALL_BROKERS_DOWN _ASSIGNMENT_LOST _ASSIGN_PARTITIONS _DESTROY_BROKER _FAIL _INTR _IN_PROGRESS _MAX_POLL_EXCEEDED _NODE_UPDATE
        _NOENT _NOOP _OUTDATED _PARTIAL _PARTITION_EOF _PREV_IN_PROGRESS _QUEUE_FULL _RESOLVE _RETRY _REVOKE_PARTITIONS _STATE _TIMED_OUT
        _TIMED_OUT_QUEUE _TRANSPORT _UNKNOWN_BROKER _UNKNOWN_GROUP _WAIT_CACHE _WAIT_COORD
    """,
}

# Codes that belong to producers, transactions, share groups, streams groups, voters and administration. A reader that meets one does
# not understand what is going on, and stops; the class is for people who meet them with a client of their own.
_FOREIGN: Mapping[ErrorClass, str] = {
    ErrorClass.CONFLICT: """
        CONCURRENT_TRANSACTIONS FENCED_STATE_EPOCH INVALID_PRODUCER_EPOCH INVALID_UPDATE_VERSION PRODUCER_FENCED
        REASSIGNMENT_IN_PROGRESS STREAMS_TOPOLOGY_FENCED TOPIC_ALREADY_EXISTS TRANSACTION_COORDINATOR_FENCED
    """,
    ErrorClass.DATA: """
        INVALID_TIMESTAMP OFFSET_METADATA_TOO_LARGE TELEMETRY_TOO_LARGE
        _KEY_DESERIALIZATION _KEY_SERIALIZATION _VALUE_DESERIALIZATION _VALUE_SERIALIZATION
    """,
    ErrorClass.TRANSIENT: """
        NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND OPERATION_NOT_ATTEMPTED TRANSACTION_ABORTABLE
        _ISR_INSUFF _MSG_TIMED_OUT _PURGE_INFLIGHT _PURGE_QUEUE
    """,
    ErrorClass.PERMANENT: """
        DUPLICATE_RESOURCE DUPLICATE_SEQUENCE_NUMBER DUPLICATE_VOTER ELECTION_NOT_NEEDED FEATURE_UPDATE_FAILED
        GROUP_SUBSCRIBED_TO_TOPIC INCONSISTENT_VOTER_SET INVALID_COMMIT_OFFSET_SIZE INVALID_PARTITIONS INVALID_PRODUCER_ID_MAPPING
        INVALID_RECORD_STATE INVALID_REGISTRATION INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_REQUIRED_ACKS
        INVALID_SHARE_SESSION_EPOCH INVALID_TRANSACTION_TIMEOUT INVALID_TXN_STATE INVALID_VOTER_KEY MISMATCHED_ENDPOINT_TYPE
        NON_EMPTY_GROUP NO_REASSIGNMENT_IN_PROGRESS OUT_OF_ORDER_SEQUENCE_NUMBER POLICY_VIOLATION RESOURCE_NOT_FOUND
        SHARE_SESSION_LIMIT_REACHED SHARE_SESSION_NOT_FOUND STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH
        TOPIC_DELETION_DISABLED UNKNOWN_PRODUCER_ID UNKNOWN_SUBSCRIPTION_ID UNSUPPORTED_ENDPOINT_TYPE VOTER_NOT_FOUND
        _APPLICATION _GAPLESS_GUARANTEE _INCONSISTENT _INVALID_DIFFERENT_RECORD
    """,
}

_THEN: Mapping[Act, str] = {
    Act.RETRY: "the client tries again by itself",
    Act.HALT: "the partition halts, others go on",
    Act.STOP: "the run ends",
}
# What an exception says that holds no Kafka error. The first class that it is an instance of decides.
_UNREADABLE = (Verdict(Act.STOP, "UNEXPECTED", ErrorClass.DATA), "a key or a value that its serializer cannot take")
_MISUSED = Verdict(Act.STOP, "UNEXPECTED", ErrorClass.PERMANENT)
_BARE = (Verdict(Act.STOP, "SOURCE_DOWN", ErrorClass.UNKNOWN), "the Kafka error inside decides; without one nothing is known")
EXCEPTIONS: Mapping[type[BaseException], tuple[Verdict, str]] = {
    KeyDeserializationError: _UNREADABLE,
    KeySerializationError: _UNREADABLE,
    ValueDeserializationError: _UNREADABLE,
    ValueSerializationError: _UNREADABLE,
    SerializationError: _UNREADABLE,
    ConcurrentModificationException: (_MISUSED, "two threads used one consumer at once"),
    IllegalStateException: (_MISUSED, "a client was used in a state that does not allow it"),
    ConsumeError: _BARE,
    ProduceError: _BARE,
    KafkaException: _BARE,
}


def _table() -> dict[int, Verdict]:
    named = [(name, verdict) for verdict, names in _BY_VERDICT.items() for name in names.split()]
    named += [(name, Verdict(Act.STOP, "SOURCE_FATAL", kind)) for kind, names in _FOREIGN.items() for name in names.split()]
    return {getattr(KafkaError, name): verdict for name, verdict in named if hasattr(KafkaError, name)}


TABLE: Mapping[int, Verdict] = MappingProxyType(_table())


def known_errors() -> list[KnownError]:
    """The driver's part of the table of errors: its exceptions, then its codes."""
    classes = [_line(kind.__name__, one, reason) for kind, (one, reason) in EXCEPTIONS.items()]
    errors = sorted((KafkaError(code) for code in TABLE), key=lambda error: error.name())
    return classes + [known_code(error) for error in errors]


def known_code(error: KafkaError) -> KnownError:
    """The line of one Kafka error."""
    # The driver's own words for the code: those of one error may hold addresses.
    return _line(f"KafkaError.{error.name()}", verdict(error), KafkaError(error.code()).str())


def _line(name: str, judged: Verdict, reason: str) -> KnownError:
    return KnownError("confluent_kafka", name, judged.error_class, judged.code, reason, judged.act is Act.RETRY, _THEN[judged.act])


def known_error(error: BaseException) -> KnownError | None:
    """The line of an exception of this driver; None where it is another's."""
    inside = kafka_error(error)
    if inside is not None:
        return known_code(inside)
    for kind, (one, reason) in EXCEPTIONS.items():
        if isinstance(error, kind):
            return _line(type(error).__name__, one, reason)
    return None


def verdict(error: KafkaError) -> Verdict:
    """What follows from an error. A code that is newer than our table is judged by what the error says of itself."""
    if error.fatal():
        return _FATAL
    known = TABLE.get(error.code())
    if known is None:
        return _UNSURE if error.retriable() else _FATAL
    return known


def verdict_in_place_of_a_record(error: KafkaError) -> Verdict:
    """What follows from an error that came where a record should be.

    Behind a batch that fails its checksum the client reads on in the middle of it: the version that it then does not know, at an offset
    that is none, are bytes of damaged records, and concern their partition alone.
    """
    if error.code() == KafkaError._NOT_IMPLEMENTED and not error.fatal():  # noqa: SLF001 — the driver's own name for it
        return _CORRUPT
    return verdict(error)


def stops(error: KafkaError) -> bool:
    """Whether nothing of what an error speaks of may be read behind it."""
    return verdict_in_place_of_a_record(error).act is not Act.RETRY


def kafka_error(error: BaseException) -> KafkaError | None:
    """The Kafka error inside an exception of the driver, or None."""
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        return error.args[0]
    return None


def raised_at_start(error: BaseException, doing: str) -> LandfastError:
    """What an exception of the driver before the first read becomes."""
    inside = kafka_error(error)
    if inside is None:
        return Unavailable("SOURCE_DOWN", f"{doing}: {type(error).__name__}: {error}", kind=ErrorClass.UNKNOWN)
    judged = verdict(inside)
    words = f"{doing}: {inside.name()}: {inside.str()}"
    if inside.code() == KafkaError._SSL:  # noqa: SLF001 — the driver's own name for it
        step = "Correct `ssl.ca.location` or `servers`: the broker's certificate must be one that we trust, for the address we use."
        return Misconfigured("SOURCE_AUTH", words, next_step=step)
    if judged.code == "SOURCE_AUTH":
        step = "Correct the credentials, or grant describe and read on the topics and the group."
        return Misconfigured("SOURCE_AUTH", words, next_step=step)
    if judged.code == "TOPIC_GONE":
        return Misconfigured("TOPIC_MISSING", words, next_step="Create the topic, or correct its name.")
    if inside.code() == KafkaError._INVALID_ARG:  # noqa: SLF001 — the driver's own name for it
        return Misconfigured("CONFIG_INVALID", words, next_step="Correct source.options.")
    if judged.act is Act.STOP:
        return Misconfigured("SOURCE_FATAL", words)
    return Unavailable("SOURCE_DOWN", words, kind=judged.error_class, next_step="Start the brokers, or correct `servers`.")


def fatal(error: KafkaError) -> Broken:
    """The error with which the source ends a run that cannot go on."""
    step = ""
    if is_fenced(error):
        step = "Look for another living member with the same instance_id."
    elif is_name_held(error):
        step = (
            "Look for another living member with the same instance_id. If there is none, its session is longer than "
            "source.instance_seconds_max: raise that, or wait and start again."
        )
    return Broken("SOURCE_FATAL", f"the Kafka client cannot go on: {error.name()}: {error.str()}", next_step=step)


def is_fenced(error: KafkaError) -> bool:
    """Whether another member has taken our name over."""
    return _speaks_of(error, KafkaError.FENCED_INSTANCE_ID)


def is_name_held(error: KafkaError) -> bool:
    """Whether the group refuses our name, since it holds it for another member."""
    return _speaks_of(error, KafkaError.UNRELEASED_INSTANCE_ID)


def _speaks_of(error: KafkaError, code: int) -> bool:
    # In place of a record the driver hands out one code for all that is fatal, and tells the cause in its own fixed words.
    return error.code() == code or (error.code() == KafkaError._FATAL and KafkaError(code).str() in error.str())  # noqa: SLF001 — its name


def expired(stream: Stream, position: Position, first: Position) -> Halt:
    """Retention went past the position."""
    message = (
        f"offsets {position} to {first - 1} of {stream} are gone from the log: the next to read was {position}, the log begins at {first}"
    )
    step = (
        "If nobody can bring that range back, accept its loss: under [source.accept_expired] write "
        f'"{line_of(stream)}" = {first}, and start again. Then give the topic a longer retention.'
    )
    return Halt("DATA_EXPIRED", message, step)


def loss_accepted(stream: Stream, position: Position, first: Position) -> str:
    """What the operator is told where a range that is gone is passed over, as the settings say."""
    return f"offsets {position} to {first - 1} of {stream} are gone from the log, and source.accept_expired accepts it: the next is {first}"


def read_from_first(stream: Stream, first: Position, end: Position) -> str:
    """What the operator is told where a stream without a position does not begin where `start` says."""
    return (
        f"{stream} is read from offset {first}, where its log begins, though it goes to {end} and source.start says otherwise: "
        "nothing of it has landed, other partitions of its topic have, so it counts as added while no worker ran"
    )


def truncated(stream: Stream, position: Position, end: Position) -> Halt:
    """The log ends below the position."""
    message = f"{stream} ends at {end}, and everything below {position} has been read: the log lost records or gave their offsets to others"
    step = (
        "Look for an unclean leader election or a restored broker before anything else is read. No setting goes on from there, since one "
        "offset would stand for two records: give the pipeline another sink.path."
    )
    return Halt("LOG_TRUNCATED", message, step)


def gone(stream: Stream, seconds: float) -> Halt:
    """No broker knows the topic any more."""
    return Halt(
        "TOPIC_GONE",
        f"no broker has known the topic {stream.topic} for {seconds:.0f} s",
        "Restore the topic, or take it out of the settings.",
    )


def replaced(stream: Stream, today: str) -> Halt:
    """The name belongs to another topic now."""
    message = (
        f"the topic {stream.topic} was {stream.incarnation} and is {today} now: deleted and created again, its offsets mean other records"
    )
    return Halt("TOPIC_REPLACED", message, f'If the new topic is wanted: sink.accept_topic_ids = ["{today}"].')


def stuck(stream: Stream, position: Position, end: Position, seconds: float) -> Halt:
    """Lag and no progress."""
    message = f"{stream} stands at offset {position} although the log goes to {end}: nothing arrived for {seconds:.0f} s"
    return Halt("STUCK_AT", message, "Look at the batch at that offset: too large for the client, damaged, or its broker cannot serve it.")


def refused(stream: Stream, position: Position, error: KafkaError) -> Halt:
    """A stream that an error stopped."""
    judged = verdict_in_place_of_a_record(error)
    step = "Grant read on the topic again." if judged.code == "SOURCE_AUTH" else "Check the broker's disk and its other replicas."
    return Halt(judged.code, f"{stream} at offset {position}: {error.name()}: {error.str()}", step)
