"""Every error code that Kafka and librdkafka know has one verdict of ours."""

from __future__ import annotations

import re

import pytest
from confluent_kafka import KafkaError, KafkaException

from landfast.codes import CODES
from landfast.config.faults import sections
from landfast.errors import Broken, ErrorClass, Misconfigured, Unavailable
from landfast.model import Stream
from landfast.sources import kafka_errors
from landfast.sources.kafka_errors import TABLE, Act, Verdict, raised_at_start, verdict

CODES_OF_THE_DRIVER = {
    name: getattr(KafkaError, name) for name in dir(KafkaError) if name.isupper() and isinstance(getattr(KafkaError, name), int)
}
STREAM = Stream("t", "id", 0)


@pytest.mark.parametrize("name", sorted(CODES_OF_THE_DRIVER.keys() - {"NO_ERROR"}))
def test_b14_every_error_code_is_mapped(name: str) -> None:
    """No code is left to chance: it is retried, halts its stream, or stops the run, under a code that is explained."""
    found = verdict(KafkaError(CODES_OF_THE_DRIVER[name]))
    assert found is TABLE[CODES_OF_THE_DRIVER[name]]
    assert isinstance(found.act, Act)
    assert found.code in CODES


def test_a_fatal_error_stops_whatever_its_code() -> None:
    """What the driver calls fatal ends the run."""
    fatal = KafkaError(KafkaError._TRANSPORT, "x", fatal=True)  # noqa: SLF001 — the driver's own name for it
    assert verdict(fatal).act is Act.STOP
    assert isinstance(kafka_errors.fatal(fatal), Broken)


@pytest.mark.parametrize(("retriable", "act"), [(True, Act.RETRY), (False, Act.STOP)])
def test_a_code_from_the_future_is_judged_by_what_it_says_of_itself(retriable: bool, act: Act) -> None:
    """A code that this table does not know yet is retried only if the error says that this is safe."""
    assert verdict(KafkaError(32_000, "new", retriable=retriable)).act is act


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("SASL_AUTHENTICATION_FAILED", Misconfigured, "SOURCE_AUTH"),
        ("TOPIC_AUTHORIZATION_FAILED", Misconfigured, "SOURCE_AUTH"),
        ("_AUTHENTICATION", Misconfigured, "SOURCE_AUTH"),
        ("_SSL", Misconfigured, "SOURCE_AUTH"),
        ("UNKNOWN_TOPIC_OR_PART", Misconfigured, "TOPIC_MISSING"),
        ("_INVALID_ARG", Misconfigured, "CONFIG_INVALID"),
        ("INVALID_GROUP_ID", Misconfigured, "SOURCE_FATAL"),
        ("_TRANSPORT", Unavailable, "SOURCE_DOWN"),
        ("_TIMED_OUT", Unavailable, "SOURCE_DOWN"),
        ("COORDINATOR_NOT_AVAILABLE", Unavailable, "SOURCE_DOWN"),
    ],
)
def test_errors_before_the_first_read_say_what_kind_they_are(name: str, kind: type, code: str) -> None:
    """Wrong settings are refused; a broker that is down is unavailable, and may be tried again."""
    error = raised_at_start(KafkaException(KafkaError(CODES_OF_THE_DRIVER[name], "words")), "asking")
    assert type(error) is kind
    assert error.code == code
    assert "asking" in error.message


def test_halts_name_the_exact_range() -> None:
    """What is gone is said to the offset, as a closed range for people and with where the log stands."""
    assert "offsets 7 to 14 of t[0]" in kafka_errors.expired(STREAM, 7, 15).message
    assert "ends at 5" in kafka_errors.truncated(STREAM, 9, 5).message
    assert "offset 3" in kafka_errors.stuck(STREAM, 3, 9, 300).message
    assert "other" in kafka_errors.replaced(STREAM, "other").message
    assert kafka_errors.refused(STREAM, 3, KafkaError(KafkaError._BAD_MSG)).code == "BATCH_CORRUPT"  # noqa: SLF001 — as above
    assert kafka_errors.refused(STREAM, 3, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)).code == "SOURCE_AUTH"
    halts = [kafka_errors.expired(STREAM, 7, 15), kafka_errors.gone(STREAM, 5), kafka_errors.replaced(STREAM, "x")]
    assert all(halt.next_step and halt.code in CODES for halt in halts)


def test_verdicts_are_values() -> None:
    """Two equal verdicts are one."""
    assert Verdict(Act.HALT, "STUCK_AT", ErrorClass.DATA) == Verdict(Act.HALT, "STUCK_AT", ErrorClass.DATA)


def test_a_halt_names_a_way_out_that_there_is() -> None:
    """What an operator is told to set is a setting; no position can be moved by hand, so nobody is told to."""
    assert '[source.accept_expired] write "t[0]@id" = 9' in kafka_errors.expired(STREAM, 5, 9).next_step
    assert "sink.path" in kafka_errors.truncated(STREAM, 9, 5).next_step
    assert 'sink.accept_topic_ids = ["new-id"]' in kafka_errors.replaced(STREAM, "new-id").next_step
    named = {name for code in CODES.values() for name in re.findall(r"`(?:sink|source|engine)\.(\w+)`", code.next_step)}
    assert {"path", "accept_topic_ids"} <= named
    assert named <= {name for _, model in sections() for name in model.model_fields}
    assert not [name for name, code in CODES.items() if "position forward" in code.next_step]
