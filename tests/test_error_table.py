"""What every exception of every driver means stands in one table, and a release that brings another one is noticed here."""

from __future__ import annotations

import errno
import importlib
import os
import pickle
import pkgutil
import re
import sys
import warnings
from contextlib import suppress
from types import ModuleType

import pytest
from confluent_kafka import KafkaError, KafkaException
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError
from obstore.exceptions import GenericError

import landfast
from landfast import Classification, ErrorClass, classify
from landfast.codes import CODES
from landfast.error_table import table
from landfast.errors import (
    CLASS_OF_CODE,
    Broken,
    Conflict,
    Halted,
    LandfastError,
    Misconfigured,
    Rejected,
    Unavailable,
    class_of,
)
from landfast.sinks.delta.errors import translated
from landfast.sinks.delta.fates import CLASSES, NUMBERS, RULES, fate_of
from landfast.sources.kafka_errors import EXCEPTIONS, TABLE
from tests.sinks.delta_trouble import PanicException

NOT_SPOKEN = (
    *("pyarrow.flight", "pyarrow._flight", "pyarrow.feather", "pyarrow._feather", "pyarrow.interchange", "pyarrow.vendored"),
    *("pyarrow.tests", "pyarrow.conftest", "confluent_kafka.kafkatest"),
)
"""Protocols and formats that nothing here speaks, and what drivers bring along to test themselves."""


def _import_all(package: ModuleType) -> None:
    """Import the modules of a driver; some want libraries that are not installed."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not found.name.startswith(NOT_SPOKEN):
            with suppress(ImportError):
                module = importlib.import_module(found.name)
                if found.ispkg:
                    _import_all(module)


def _exceptions(root: str) -> set[type[BaseException]]:
    """Every public exception that a driver defines."""
    homes = {root, "_internal", "cimpl"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _import_all(importlib.import_module(root))
    # What a driver in Rust makes of its own accord lies in no folder, and is here all the same.
    modules = [
        module for name, module in list(sys.modules.items()) if f"{name}.".startswith(f"{root}.") and not name.startswith(NOT_SPOKEN)
    ]
    found = {item for module in modules for item in vars(module).values() if isinstance(item, type)}
    return {
        kind
        for kind in found
        if issubclass(kind, BaseException)
        and not issubclass(kind, Warning)
        and not kind.__name__.startswith("_")
        and kind.__module__.partition(".")[0] in homes
    }


@pytest.mark.parametrize(("driver", "least"), [("deltalake", 5), ("obstore", 11), ("pyarrow", 10), ("confluent_kafka", 9)])
def test_every_exception_of_a_driver_is_in_the_table(driver: str, least: int) -> None:
    """Not by what it inherits, but by its own name: a new class is a decision, and this test asks for it."""
    found = _exceptions(driver)
    assert len(found) >= least, "the search has gone blind"
    assert not {kind.__name__ for kind in found} - {kind.__name__ for kind in {**CLASSES, **EXCEPTIONS}}
    named = {(one.driver, one.name) for one in table()}
    assert {(driver, kind.__name__) for kind in found} <= named


def test_every_code_of_the_kafka_client_is_in_the_table() -> None:
    """All but the one that says that nothing went wrong."""
    codes = {name for name in dir(KafkaError) if name.isupper() and isinstance(getattr(KafkaError, name), int)}
    named = {one.name for one in table() if one.driver == "confluent_kafka"}
    assert {f"KafkaError.{name}" for name in codes - {"NO_ERROR"}} <= named
    assert len(TABLE) == len(codes) - 1


@pytest.mark.parametrize("kind", CLASSES)
def test_an_exception_that_says_nothing_is_what_its_class_says(kind: type[BaseException]) -> None:
    """The line of a class is what becomes of its exceptions: no text and no number decides otherwise."""
    assert fate_of(kind("")) is CLASSES[kind]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_of_the_system_means_the_same_from_python_and_from_rust(number: int) -> None:
    """Python gives it as a field, deltalake and obstore in their texts; the words beside it say nothing else."""
    for error in (OSError(number, os.strerror(number)), OSError(f"x (os error {number})"), DeltaError(f"x (os error {number})")):
        assert fate_of(error) is NUMBERS[number]
    assert f"{errno.errorcode[number]}" in {one.name for one in table()}


def test_a_number_that_says_nothing_is_unknown() -> None:
    """A disk that fails may come back or not."""
    assert classify(OSError(errno.EIO, "Input/output error")).error_class is ErrorClass.UNKNOWN


def test_every_line_of_the_table_is_whole_and_stands_there_once() -> None:
    """A class, a reason, what is done; a code that is explained; and unknown is never said to be dropped."""
    lines = table()
    assert len({(one.driver, one.name) for one in lines}) == len(lines)
    for one in lines:
        assert one.error_class in ErrorClass
        assert one.reason
        assert one.then
        assert one.code in CODES or (one.driver == "landfast" and not one.code), one
        assert "drop" not in one.then
    assert {one.error_class for one in lines} == set(ErrorClass)
    assert {f"text: {rule.pattern}" for rule in RULES} <= {one.name for one in lines}


REAL = [
    (CommitFailedError("Failed to commit transaction: Concurrent transaction failed."), "conflict"),
    (CommitFailedError("Metadata changed since last commit."), "conflict"),
    (CommitFailedError("Transaction failed: a concurrent transaction deleted data this operation read"), "conflict"),
    (CommitFailedError("Unsupported table features required: [RowTracking]"), "permanent"),
    (CommitFailedError("in words that nobody has seen"), "unknown"),
    (DeltaError("Invalid table version: 7"), "conflict"),
    (DeltaError("Kernel error: Expected contiguous commit files, but found gap"), "permanent"),
    (
        DeltaError("Failed to parse parquet: External: Generic LocalFileSystem error: No space left (os error 28)"),
        "transient",
    ),
    (DeltaError("Failed to parse parquet: External: Generic S3 error: Unable to open: Read-only file system (os error 30)"), "auth"),
    (DeltaError("Failed to parse parquet: External: Unable to open file x#1: Too many open files (os error 24)"), "transient"),
    (OSError("Generic S3 error \x1b[31m↳\x1b[0m after 3 retries: 503 Service Unavailable"), "throttled"),
    (OSError("The operation lacked the necessary privileges to complete for path a: 403 Forbidden"), "auth"),
    (OSError("Generic S3 error: error sending request: operation timed out"), "transient"),
    (OSError("tcp connect error: Connection refused (os error 111)"), "transient"),
    (SchemaMismatchError("Data does not match the schema or partitions of the table"), "schema"),
    (Exception("Cast error: Failed to cast a to Int64"), "unknown"),
    (PanicException("Forked process detected"), "transient"),
    (PanicException("called `Option::unwrap()` on a `None` value"), "unknown"),
    (GenericError("Error performing PUT http://store:1/lake/x in 4ms - 404 Not Found: <Code>NoSuchBucket</Code>"), "permanent"),
    (MemoryError(), "transient"),
    (KafkaException(KafkaError(KafkaError._TRANSPORT)), "transient"),  # noqa: SLF001 — the driver's own name for it
    (KafkaException(KafkaError(KafkaError.THROTTLING_QUOTA_EXCEEDED)), "throttled"),
    (KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), "auth"),
    (KafkaException(KafkaError(KafkaError.FENCED_INSTANCE_ID)), "conflict"),
    (KafkaException(KafkaError(KafkaError.INVALID_MSG)), "data"),
    (KafkaException(KafkaError(KafkaError.UNKNOWN)), "unknown"),
    (KafkaException("no error inside"), "unknown"),
]


@pytest.mark.parametrize(("error", "name"), REAL, ids=lambda value: str(value)[:60])
def test_what_drivers_really_say_is_classified(error: BaseException, name: str) -> None:
    """The texts are those that the drivers were seen to use; what becomes of them in a pipeline is of the same class."""
    found = classify(error)
    assert found.error_class == name
    assert found.code in CODES
    if not isinstance(error, KafkaException):
        ours = translated(error, "committing")
        assert (class_of(ours), ours.code, isinstance(ours, Unavailable)) == (found.error_class, found.code, found.retried)


@pytest.mark.parametrize(
    ("error", "name", "retried"),
    [
        (Conflict("PIPELINE_CONFLICT", "m"), "conflict", True),
        (Rejected("ROWS_REFUSED", "m", refusals=()), "data", False),
        (Halted("DLQ_RATE", "m"), "permanent", False),
        (Broken("UNEXPECTED", "m"), "unknown", False),
        (Misconfigured("SCHEMA_INVALID", "m"), "schema", False),
        (Misconfigured("CONFIG_INVALID", "m"), "permanent", False),
        (Unavailable("DISK_FULL", "m", kind="disk"), "transient", True),
        (Unavailable("SINK_THROTTLED", "m", kind="throttled"), "throttled", True),
        (Unavailable("SINK_DOWN", "m", kind="a kind of somebody's own sink"), "unknown", True),
        (Unavailable("A_CODE_OF_SOMEBODYS_OWN_SINK", "m", kind="auth"), "auth", True),
        (LandfastError("INVARIANT_BROKEN", "of no branch"), "permanent", False),
    ],
)
def test_an_error_of_ours_has_the_class_of_its_branch(error: LandfastError, name: str, *, retried: bool) -> None:
    """Its code stays; whoever writes a sink may use kinds of their own, which are unknown and tried again."""
    found = classify(error)
    assert (found.error_class, found.code, found.retried) == (name, error.code, retried)
    assert found.reason == (
        CODES[error.code].meaning if error.code in CODES else "an error of Landfast under a code that is not one of its own"
    )


class Stranger(Exception):
    """An exception of somebody's own program."""


class StrangerOfTheSystem(ConnectionResetError):
    """One of a library that builds on Python's."""


def test_a_stranger_is_unknown_whatever_it_says() -> None:
    """Nobody knows of what its text speaks. What it inherits from Python counts, and its number."""
    found = classify(Stranger("403 Forbidden, 404 Not Found, connection refused"))
    assert (found.error_class, found.code, found.retried) == ("unknown", "", True)
    assert classify(StrangerOfTheSystem("quota exceeded")).error_class is ErrorClass.TRANSIENT
    assert classify(StrangerOfTheSystem(errno.EACCES, "x")).error_class is ErrorClass.AUTH
    assert classify(KeyboardInterrupt()).error_class is ErrorClass.UNKNOWN


def test_an_error_of_a_callback_is_classified_as_its_exception() -> None:
    """The client hands errors to callbacks that are no exceptions."""
    inside = KafkaError(KafkaError.REQUEST_TIMED_OUT, "broker at 10.0.0.1 with a secret")
    assert classify(inside) == classify(KafkaException(inside))
    assert "secret" not in classify(inside).reason


def test_a_code_of_a_later_broker_is_what_it_says_of_itself() -> None:
    """Unknown and tried again if the error says that this is safe; otherwise the client cannot go on."""
    assert classify(KafkaError(32_000, "new", retriable=True)).error_class is ErrorClass.UNKNOWN
    assert classify(KafkaError(32_000, "new")).error_class is ErrorClass.PERMANENT


def test_a_classification_is_a_value_that_shows_nothing() -> None:
    """It can be compared, kept and sent; the exception's text is not in it."""
    found = classify(OSError("403 Forbidden https://bucket.example?sig=s3cr3t"))
    assert found == Classification(ErrorClass.AUTH, "SINK_AUTH", "the store refused access", retried=True)
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 — our own bytes
    assert landfast.classify is classify


def test_each_code_with_a_class_of_its_own_is_explained() -> None:
    """Otherwise nobody could look it up."""
    assert set(CLASS_OF_CODE) <= set(CODES)
    assert not [code for code in CODES if re.search(r"AUTH|SCHEMA", code) and code not in CLASS_OF_CODE]
