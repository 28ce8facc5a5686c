"""Whatever lies where the table should be: a look ends with a code and a next step, never with a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from landfast.testing.kafka import RealKafka
from tests.cli.command import landfast, pipeline_file

NOBODY = "127.0.0.1:1"


def _nothing(_path: Path) -> None:
    """There is nothing."""


def _strange_table(path: Path) -> None:
    write_deltalake(str(path), pa.table({"id": [1]}))


def _file(path: Path) -> None:
    path.write_text("a file")


def _other_files(path: Path) -> None:
    path.mkdir()
    (path / "diary.txt").write_text("dear diary")


CASES: list[tuple[Callable[[Path], None], str, str, str]] = [
    (_nothing, "lake", "verify", "TABLE_MISSING"),
    (_nothing, "lake", "runs", "TABLE_MISSING"),
    (_strange_table, "lake", "verify", "FOREIGN_PIPELINE"),
    (_file, "lake", "verify", "NOT_A_TABLE"),
    (_file, "lake", "runs", "NOT_A_TABLE"),
    (_file, "lake", "dead-letters list", "NOT_A_TABLE"),
    (_file, "lake/x", "verify", "NOT_A_TABLE"),
    (_file, "lake/x", "runs", "NOT_A_TABLE"),
    (_file, "lake/x", "dead-letters list", "NOT_A_TABLE"),
    (_other_files, "lake", "verify", "TABLE_MISSING"),
    (_other_files, "lake", "runs", "TABLE_MISSING"),
]


@pytest.mark.parametrize(("lay", "path", "command", "code"), CASES)
def test_a_look_at_something_else_ends_in_a_code(tmp_path: Path, lay: Callable[[Path], None], path: str, command: str, code: str) -> None:
    """Exit 2, the code, what next, and nothing of the driver."""
    lay(tmp_path / "lake")
    ended = landfast(*command.split(), pipeline_file(tmp_path, NOBODY, "t", sink={"path": path}))
    assert (ended.code, ended.err.split(":")[0]) == (2, code)
    assert "\n  next: " in ended.err
    assert "Traceback" not in ended.err


def test_a_store_that_is_down_shows_no_password(tmp_path: Path) -> None:
    """A password in the endpoint is in no output of a look at a store that does not answer."""
    options = {
        "aws_endpoint_url": "http://user:canary-77af@127.0.0.1:1",
        "aws_allow_http": "true",
        "aws_access_key_id": "someone",
        "aws_secret_access_key": "canary-77af",
        "aws_region": "us-east-1",
        "max_retries": "0",
    }
    file = pipeline_file(tmp_path, NOBODY, "t", sink={"path": "s3://lake/t", "storage_options": options})
    for command in ("verify", "runs", "dead-letters list"):
        ended = landfast(*command.split(), file)
        assert (ended.code, ended.err.split(":")[0]) == (3, "SINK_DOWN")
        assert "canary-77af" not in ended.out + ended.err
        assert "Traceback" not in ended.err


@pytest.mark.system
def test_status_names_a_file_in_the_way(kafka: RealKafka, tmp_path: Path) -> None:
    """`status` shows what stands in the way as a problem, and goes on to show what it can."""
    _file(tmp_path / "lake")
    ended = landfast("status", pipeline_file(tmp_path, kafka.servers, "t"))
    assert "NOT_A_TABLE" in ended.out + ended.err
    assert "Traceback" not in ended.err
