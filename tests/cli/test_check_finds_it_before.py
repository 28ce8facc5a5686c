"""`landfast check`: what can be known before the first read, and nothing is left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from landfast.testing.kafka import RealKafka
from tests.cli.command import fill, good, landfast, pipeline_file
from tests.sources.kafka_rights import grant, sasl

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def topic(kafka: RealKafka) -> str:
    """A topic with a few records."""
    fill(kafka.servers, "checked", good(3), partitions=2)
    return "checked"


def test_all_well_and_nothing_left(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """A sound pipeline: exit 0, the guarantee on the screen, no table, no folder, no file."""
    ended = landfast("check", pipeline_file(tmp_path, kafka.servers, topic))
    assert (ended.code, ended.err) == (0, "")
    assert "1 topic, 2 partitions" in ended.out
    assert "exactly-once: " in ended.out
    assert "Nothing found" in ended.out
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.toml"]


def test_check_is_repeatable_after_a_run(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """On a pipeline's own table check finds nothing, and moves neither table nor position."""
    file = pipeline_file(tmp_path, kafka.servers, topic, source={"group": "checked-again"})
    assert landfast("run", file, "--until-end").code == 0
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    assert landfast("check", file).code == 0
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    assert landfast("run", file, "--until-end", "--json").report["totals"]["read"] == 0


def test_letters_of_a_table_that_is_gone_are_found(kafka: RealKafka, tmp_path: Path) -> None:
    """With the data table dropped and its dead letters kept, check and run refuse alike, and nothing is buried again."""
    fill(kafka.servers, "checked-remains", [*good(3), b"no json"])
    file = pipeline_file(tmp_path, kafka.servers, "checked-remains")
    assert landfast("run", file, "--until-end").code == 0
    shutil.rmtree(tmp_path / "lake")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    for command, code in ((("check", file), 1), (("run", file, "--until-end"), 2)):
        ended = landfast(*command)
        assert ended.code == code
        assert "TABLE_MISSING: there is no table at " in ended.err
        assert "lake__dead_letters away, or set another sink.path." in ended.err
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_every_finding_is_named_at_once(kafka: RealKafka, tmp_path: Path) -> None:
    """A missing topic and a table of another schema are found in one go: exit 1, each with its code and next step."""
    write_deltalake(str(tmp_path / "lake"), pa.table({"id": ["text"]}))
    file = pipeline_file(tmp_path, kafka.servers, "not-there")
    ended = landfast("check", file)
    assert ended.code == 1
    for code in ("TOPIC_MISSING: ", "SCHEMA_CONFLICT: "):
        assert code in ended.err
    assert ended.err.count("  next: ") >= 2
    assert "findings" in ended.out
    found = json.loads(landfast("check", file, "--json").out)["findings"]
    assert {"TOPIC_MISSING", "SCHEMA_CONFLICT"} <= {finding["code"] for finding in found}


def test_a_place_that_cannot_be_written_is_found(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """The write probe finds a place that refuses files."""
    ended = landfast("check", pipeline_file(tmp_path, kafka.servers, topic, sink={"path": "pipeline.toml/table"}))
    assert ended.code == 1
    assert "NOT_A_TABLE: " in ended.err
    assert "pipeline.toml is a file" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.toml"]


def test_a_right_that_is_lacking_is_found(kafka: RealKafka, tmp_path: Path) -> None:
    """Topics that may be seen but not read, and a group that may not be joined, are known before the run."""
    topic = "checked-rights"
    fill(kafka.servers, topic, good(1))
    grant(kafka.servers, "TOPIC", topic, "DESCRIBE")
    file = pipeline_file(tmp_path, kafka.sasl_servers, topic, source={"options": sasl()})
    ended = landfast("check", file)
    assert ended.code == 1
    assert "SOURCE_AUTH: " in ended.err
    assert f"topic {topic}, group group-{topic}" in ended.err
    grant(kafka.servers, "TOPIC", topic, "READ")
    grant(kafka.servers, "GROUP", f"group-{topic}", "READ")
    assert landfast("check", file).code == 0


def test_a_folder_of_other_files_is_found(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """What `run` would refuse `check` finds: files of somebody else where the table is to be."""
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "diary.txt").write_text("dear diary", encoding="utf-8")
    ended = landfast("check", pipeline_file(tmp_path, kafka.servers, topic))
    assert ended.code == 1
    assert f"NOT_A_TABLE: {tmp_path / 'lake'} holds a file or folder, and no Delta table" in ended.err


def test_wrong_settings_are_no_finding_but_a_refusal(tmp_path: Path) -> None:
    """Wrong settings end `check` with 2, as they end `run`."""
    ended = landfast("check", pipeline_file(tmp_path, "127.0.0.1:1", "t", batch={"rowz": 1}))
    assert ended.code == 2
    assert "batch.rowz: unknown key; did you mean rows?" in ended.err


def test_the_effective_settings_are_shown_without_secrets(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """`check --json` prints the settings in force, defaults included, and no secret."""
    options = {"sasl.username": "u", "sasl.password": "canary-41d0"}
    file = pipeline_file(tmp_path, kafka.servers, topic, source={"options": options})
    ended = landfast("check", file, "--json")
    shown = json.loads(ended.out)["settings"]
    assert shown["engine"]["memory_bytes"] == 512 << 20
    assert shown["source"]["options"]["sasl.password"] == "***"
    assert "canary-41d0" not in ended.out + ended.err
