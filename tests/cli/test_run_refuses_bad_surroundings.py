"""Whatever is wrong with what the settings point to: a clear error that names the place, before the first read, and nothing done."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from landfast import Misconfigured, Pipeline
from landfast.testing.kafka import RealKafka
from tests.cli.command import Ended, coordinates, fill, good, landfast, pipeline_file, rows

pytestmark = pytest.mark.system
_numbers = itertools.count()


@pytest.fixture
def topic(kafka: RealKafka) -> str:
    """A topic of its own with three good records."""
    name = f"refused-{next(_numbers)}"
    fill(kafka.servers, name, good(3))
    return name


def refused(ended: Ended, exit_code: int, code: str) -> str:
    """The words of the one error that ended the run; the output names it like a person would want it, without a traceback."""
    assert ended.code == exit_code, ended.err
    assert "Traceback" not in ended.err
    lines = ended.err.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith(f"{code}: "))
    assert [line.split(":")[0].strip() for line in lines[first + 1 :] if line.startswith("  ")][-3:] == ["safe", "next", "more"]
    return "\n".join(lines[first:])


def test_a_missing_topic(kafka: RealKafka, tmp_path: Path) -> None:
    """A topic that does not exist is refused by its name, and no table is made for it."""
    ended = landfast("run", pipeline_file(tmp_path, kafka.servers, "never-made"))
    assert "never-made" in refused(ended, 2, "TOPIC_MISSING")
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.toml"]
    assert "broken" not in ended.out + ended.err


def test_a_pattern_that_matches_a_topic_without_a_route(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """With routes, a topic that the pattern finds and no route takes is refused at the start."""
    file = tmp_path / "p.toml"
    file.write_text(
        f"""
        name = "p"
        [source]
        servers = "{kafka.servers}"
        topic_pattern = "^{topic}$"
        [[routes]]
        name = "other"
        topic_pattern = "^other$"
        sink = {{ path = "other" }}
        decode = {{ format = "raw" }}
        """,
        encoding="utf-8",
    )
    assert f"the topic {topic} is taken by no route" in refused(landfast("run", file), 2, "CONFIG_INVALID")


def test_a_broker_that_is_down_is_waited_for_and_given_up(tmp_path: Path) -> None:
    """Nobody listens: the run says that it waits, gives up after the set time with exit 3, and has done nothing."""
    file = pipeline_file(tmp_path, "127.0.0.1:1", "anything", source={"request_seconds_max": 1.0}, engine={"open_wait_seconds": 3.0})
    ended = landfast("run", file)
    assert "127.0.0.1:1" in refused(ended, 3, "SOURCE_DOWN")
    assert "retry_scheduled code=SOURCE_DOWN" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.toml"]


def test_a_table_of_another_schema(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """A table whose columns are of other types is refused with the column, and stays as it is."""
    columns = {"id": "string", "name": "string"}
    assert landfast("run", pipeline_file(tmp_path, kafka.servers, topic, decode={"columns": columns}), "--until-end").code == 0
    words = refused(landfast("run", pipeline_file(tmp_path, kafka.servers, topic), "--until-end"), 2, "SCHEMA_CONFLICT")
    assert "column id is string in the table and int64 here" in words
    assert f"  where: route {topic} → {tmp_path / 'lake'}\n" in words
    assert rows(tmp_path / "lake").schema.field("id").type == "string"


def test_a_folder_that_is_no_table(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """A folder with other files in it is not taken for an empty place."""
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "diary.txt").write_text("dear diary", encoding="utf-8")
    refused(landfast("run", pipeline_file(tmp_path, kafka.servers, topic), "--until-end"), 2, "NOT_A_TABLE")
    assert [path.name for path in (tmp_path / "lake").iterdir()] == ["diary.txt"]


@pytest.mark.parametrize(("path", "code"), [("/proc/landfast/table", "PREFLIGHT_FAILED"), ("pipeline.toml/table", "NOT_A_TABLE")])
def test_u14_a_path_that_cannot_be_written(kafka: RealKafka, tmp_path: Path, topic: str, path: str, code: str) -> None:
    """A place that refuses files, also those of an administrator, is found out before the first read."""
    refused(landfast("run", pipeline_file(tmp_path, kafka.servers, topic, sink={"path": path}), "--until-end"), 2, code)


def test_a_read_only_folder(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """A folder without the right to write is found out before the first read."""
    if os.geteuid() == 0:
        # Rights do not bind an administrator: the test above stands for this one then.
        return
    (tmp_path / "closed").mkdir(mode=0o500)
    refused(landfast("run", pipeline_file(tmp_path, kafka.servers, topic, sink={"path": "closed/t"}), "--until-end"), 2, "SINK_AUTH")


def test_u4_the_table_of_another_pipeline(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """Two pipelines do not share a table by accident."""
    assert landfast("run", pipeline_file(tmp_path, kafka.servers, topic), "--until-end").code == 0
    other = f"{topic}-other"
    fill(kafka.servers, other, good(2))
    words = refused(landfast("run", pipeline_file(tmp_path, kafka.servers, other), "--until-end"), 2, "FOREIGN_PIPELINE")
    assert topic in words
    assert len(coordinates(tmp_path / "lake")) == 3


def test_a_table_without_columns_anywhere(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """Without columns in the settings and without a table, the way out is `landfast init`."""
    ended = landfast("run", pipeline_file(tmp_path, kafka.servers, topic, decode={"columns": None}))
    refused(ended, 2, "TABLE_MISSING")
    assert "landfast init" in ended.err


def test_a_column_type_that_does_not_exist(kafka: RealKafka, tmp_path: Path, topic: str) -> None:
    """A misspelt type is refused with the column and the nearest type."""
    file = pipeline_file(tmp_path, kafka.servers, topic, decode={"columns": {"id": "int46"}})
    words = refused(landfast("run", file), 2, "SCHEMA_INVALID")
    assert "decode.columns.id: " in words
    assert "int" in words.split("did you mean", 1)[1]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"enable.auto.commit": "true"}, "CONFIG_UNSAFE"),
        ({"auto.offset.reset": "latest"}, "CONFIG_UNSAFE"),
        ({"isolation.level": "read_uncommitted"}, "CONFIG_UNSAFE"),
        ({"fetch.max.bites": "5"}, "CONFIG_UNKNOWN"),
        ({"sasl.password": "env:NOT_SET_ANYWHERE"}, "CONFIG_SECRET"),
    ],
)
def test_u7_options_that_break_the_promise(tmp_path: Path, options: dict[str, str], code: str) -> None:
    """Driver options that would break the promise, are unknown, or refer to nothing are refused before anything is connected."""
    with pytest.raises(Misconfigured) as caught:
        Pipeline.from_file(pipeline_file(tmp_path, "127.0.0.1:1", "t", source={"options": options})).run()
    assert caught.value.code == code
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.toml"]


def test_d1_garbage_and_huge_records_land_as_letters(kafka: RealKafka, tmp_path: Path) -> None:
    """Binary garbage, deep nesting and records beyond the limit are dead letters, byte for byte; the good ones land."""
    name = f"refused-{next(_numbers)}"
    bad = [b"\x00\xff\xfe", b"[" * 5000, b'{"id": 1, "name": "' + b"x" * 900_000 + b'"}', b"", b'{"id": NaN}']
    fill(kafka.servers, name, [*good(10), *bad])
    file = pipeline_file(tmp_path, kafka.servers, name, decode={"record_bytes_max": "64 KiB"})
    ended = landfast("run", file, "--until-end", "--json")
    assert (ended.code, ended.report["totals"]["written"], ended.report["totals"]["dead"]) == (0, 10, 5)
    assert rows(tmp_path / "lake__dead_letters").column("value").to_pylist() == bad
