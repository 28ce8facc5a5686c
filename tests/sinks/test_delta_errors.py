"""Every text that deltalake, a store or the system is known to use has a meaning, and none of them leaks."""

from __future__ import annotations

import pytest
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from obstore.exceptions import GenericError, UnauthenticatedError

from landfast.codes import CODES
from landfast.errors import Broken, Conflict, LandfastError, Misconfigured, Unavailable
from landfast.sinks.delta.errors import looked, mapped, translated
from landfast.sinks.delta.fates import RULES, Fate, fate_of
from tests.sinks.delta_trouble import PanicException

KNOWN: list[tuple[BaseException, Fate]] = [
    (CommitFailedError("Failed to commit transaction: Concurrent transaction failed."), Fate.INTERFERENCE),
    (CommitFailedError("Failed to commit transaction: 15"), Fate.INTERFERENCE),
    (CommitFailedError("Failed to commit transaction: Metadata changed since last commit."), Fate.INTERFERENCE),
    (CommitFailedError("Failed to commit transaction: Protocol changed since last commit: required read/write 1/3"), Fate.INTERFERENCE),
    (CommitFailedError("a concurrent transaction deleted data this operation read"), Fate.INTERFERENCE),
    (DeltaError("Invalid table version: 7"), Fate.INTERFERENCE),
    (DeltaError("Generic error: A Delta Lake table already exists at that location."), Fate.INTERFERENCE),
    (DeltaError("Schema error: Cannot merge types long and string"), Fate.INTERFERENCE),
    (CommitFailedError("Unsupported table features required: [RowTracking]"), Fate.UNSUPPORTED),
    (CommitFailedError("The transaction includes Remove action with data change but Delta table is append-only"), Fate.UNSUPPORTED),
    (DeltaError("Kernel error: Expected contiguous commit files, but found gap"), Fate.DAMAGED),
    (DeltaError("Kernel error: Json error: Truncated record"), Fate.DAMAGED),
    (DeltaError("Kernel error: Parquet error: Invalid Parquet file. Corrupt footer"), Fate.DAMAGED),
    (
        OSError("Generic LocalFileSystem error \x1b[31m↳\x1b[0m Unable to copy data to file: No space left on device (os error 28)"),
        Fate.DISK,
    ),
    (OSError(28, "No space left on device"), Fate.DISK),
    (OSError("The operation lacked the necessary privileges to complete for path x: 403 Forbidden"), Fate.AUTH),
    (PermissionError(13, "Permission denied"), Fate.AUTH),
    (OSError("Read-only file system (os error 30)"), Fate.AUTH),
    (OSError("Generic S3 error: after 10 retries: 503 Service Unavailable"), Fate.THROTTLED),
    (OSError("Generic S3 error: 429 Too Many Requests"), Fate.THROTTLED),
    (OSError("Generic S3 error: error sending request: operation timed out"), Fate.TRANSIENT),
    (OSError("tcp connect error: Connection refused (os error 111)"), Fate.TRANSIENT),
    (OSError("dns error: failed to lookup address"), Fate.TRANSIENT),
    (OSError("Generic S3 error: 500 Internal Server Error"), Fate.TRANSIENT),
    (GenericError("Error performing PUT http://store:1/lake/403/x in 401.5ms - HTTP error: error sending request"), Fate.TRANSIENT),
    (
        GenericError('Error performing PUT http://store:1/x in 2ms - 403 Forbidden: \n\nDebug source:\n elapsed: 429.1µs, path: "a/429/b"'),
        Fate.AUTH,
    ),
    (OSError("Generic S3 error: after 1 retry, elapsed: 429.118µs: 403 Forbidden"), Fate.AUTH),
    (GenericError("Error performing PUT http://169.254.169.254/latest/api/token in 3.4s - HTTP error: timed out"), Fate.NO_CREDENTIALS),
    (GenericError("Generic S3 error: PUT http://169.254.169.254/latest/api/token - 403 Forbidden: denied"), Fate.NO_CREDENTIALS),
    (OSError("Kernel error -> Operation not supported\n ↳ an error occurred while loading credentials"), Fate.NO_CREDENTIALS),
    (FileNotFoundError("Object at location x not found: 404 Not Found: <Error><Code>NoSuchBucket</Code>"), Fate.NO_BUCKET),
    (OSError("Generic S3 error\n ↳ 404 Not Found\n ↳ <Message>The specified bucket does not exist.</Message>"), Fate.NO_BUCKET),
    (NotADirectoryError(20, "Not a directory"), Fate.NO_FOLDER),
    (FileExistsError(17, "File exists"), Fate.NO_FOLDER),
    (TableNotFoundError('Error: Os { code: 20, kind: NotADirectory, message: "Not a directory" }'), Fate.NO_FOLDER),
    (UnauthenticatedError("The operation lacked valid authentication credentials for path x/y: 401 Unauthorized"), Fate.AUTH),
    (FileNotFoundError("Object at location x/403/y not found: Error performing GET https://a/403 in 1ms: 404 Not Found"), Fate.MISSING),
    (OSError("Too many open files (os error 24)"), Fate.DESCRIPTORS),
    (OSError(24, "Too many open files"), Fate.DESCRIPTORS),
    (PanicException("Forked process detected"), Fate.TRANSIENT),
    (TableNotFoundError("no log files"), Fate.MISSING),
    (FileNotFoundError("Object at location x not found"), Fate.MISSING),
    (PanicException("called `Option::unwrap()` on a `None` value"), Fate.UNKNOWN),
    (RuntimeError("nobody has seen this before"), Fate.UNKNOWN),
]


@pytest.mark.parametrize(("error", "fate"), KNOWN, ids=lambda value: str(value)[:50])
def test_every_known_text_has_its_meaning(error: BaseException, fate: Fate) -> None:
    """The text decides, since the classes do not; whatever comes out has an explained code and a next step."""
    assert fate_of(error) is fate
    ours = translated(error, "committing")
    assert isinstance(ours, Broken if fate in (Fate.DAMAGED, Fate.UNSUPPORTED) else Unavailable)
    assert ours.code in CODES
    assert ours.next_step


def test_every_rule_is_met_by_a_known_text() -> None:
    """A rule that no known text reaches is a guess."""
    met = {fate_of(error) for error, _ in KNOWN}
    assert {rule.fate for rule in RULES} <= met


def test_nothing_of_the_original_text_is_passed_on() -> None:
    """It may hold a URL with credentials, or a preview of rows."""
    secret = "https://bucket.example?X-Amz-Signature=s3cr3t and row {'card': 4111}"
    ours = translated(OSError(f"403 Forbidden {secret}"), "committing")
    assert not any(part in f"{ours} {ours.message}" for part in ("s3cr3t", "4111", "example"))


SECRETS = (
    "at https://user:s3cr3t@store.example/lake?sig=s3cr3t",
    "with AWS_SECRET_ACCESS_KEY=s3cr3t and sas: s3cr3t",
    "for key GOOGIOSFODNN7S3CR3T99",
    "in row {'card': 4111222233334444, 'name': 's3cr3t'}",
    'near [s3cr3t] "s3cr3t" `s3cr3t` <Id>s3cr3t</Id',
    "value 4111222233334444",
    "quoted 's3cr3t without an end",
)


@pytest.mark.parametrize("secret", SECRETS)
def test_an_unknown_failure_says_what_the_store_said_without_secrets(secret: str) -> None:
    """People get the first line of the store's text, so that they can act; what could be a secret or a value is cut out of it."""
    ours = translated(OSError(f"\x1b[31mGeneric Frobnicator error\x1b[0m {secret}\nsecond line s3cr3t"), "committing")
    assert "Generic Frobnicator error" in ours.message
    assert not any(part in ours.message.lower() for part in ("s3cr3t", "4111", "\x1b", "second line"))
    assert ours.next_step


def test_an_unknown_failure_over_rows_shows_nothing_of_its_text() -> None:
    """What pyarrow or Python say of values is not passed on at all."""
    ours = translated(ValueError("Could not convert s3cr3t"), "committing")
    assert "s3cr3t" not in ours.message
    assert "ValueError" in ours.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotADirectoryError(20, "Not a directory"), "NOT_A_TABLE"),
        (OSError("an error occurred while loading credentials"), "SINK_AUTH"),
        (OSError("404 Not Found <Code>NoSuchBucket</Code>"), "BUCKET_MISSING"),
        (TableNotFoundError("no log files"), "TABLE_MISSING"),
        (OSError(36, "File name too long"), "CALL_REFUSED"),
    ],
)
def test_a_look_says_what_an_operator_has_to_change(error: BaseException, code: str) -> None:
    """Where waiting mends nothing a look says so: Misconfigured, with the code and a next step. An outage stays Unavailable."""
    with pytest.raises(Misconfigured) as caught, looked("looking"):
        raise error
    assert (caught.value.code, bool(caught.value.next_step)) == (code, True)
    with pytest.raises(Unavailable, match="did not answer"), looked("looking"):
        raise OSError("tcp connect error: Connection refused")


def test_a_panic_is_mapped_and_an_interrupt_is_not() -> None:
    """Rust panics are no Exceptions and still ours to map; a keyboard interrupt belongs to whoever pressed the key."""
    with pytest.raises(LandfastError), mapped("committing"):
        raise PanicException("index out of bounds")
    with pytest.raises(KeyboardInterrupt), mapped("committing"):
        raise KeyboardInterrupt
    with pytest.raises(Conflict), mapped("committing"):
        raise Conflict("PIPELINE_CONFLICT", "passed through")
