"""`landfast init`: a commented settings file from a sample of the topic, ready to be checked and run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from landfast.cli.app import app
from landfast.cli.init import document, printable, quoted
from landfast.config import from_mapping, load
from landfast.decode.proposal import survey
from landfast.errors import Misconfigured
from landfast.testing.kafka import RealKafka
from tests.cli.command import fill, landfast, rows


@pytest.mark.system
def test_a_topic_becomes_a_pipeline_that_runs(kafka: RealKafka, tmp_path: Path) -> None:
    """Sampled, written, checked and run, without a change by hand."""
    values = [json.dumps({"id": index, "at": "2026-01-31T00:00:00Z", "odd.name": [1.5]}).encode() for index in range(20)]
    fill(kafka.servers, "proposed", values)
    file = tmp_path / "p.toml"
    ended = landfast("init", "--servers", kafka.servers, "--topic", "proposed", "--path", "lake", "--output", file)
    assert ended.code == 0, ended.err
    assert "20 sampled records" in ended.out
    assert load(file, {}).routes[0].decode.columns == {"id": "int64", "at": "timestamp", "odd.name": "array<float64>"}
    assert landfast("check", file).code == 0
    assert landfast("run", file, "--until-end").code == 0
    assert rows(tmp_path / "lake").column("id").to_pylist() == list(range(20))


def refusal(*arguments: object) -> Misconfigured:
    """The error with which `init` refuses; nobody can be asked."""
    error = CliRunner().invoke(app, ["init", *(str(argument) for argument in arguments)]).exception
    assert isinstance(error, Misconfigured)
    return error


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    """Somebody's settings are worth more than ours."""
    file = tmp_path / "p.toml"
    file.write_text("mine", encoding="utf-8")
    assert "is there already" in refusal("--servers", "127.0.0.1:1", "--topic", "t", "--path", "x", "--output", file).message
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_place_that_takes_no_file_is_found_before_anything_is_asked(tmp_path: Path) -> None:
    """A folder that is not there, or a file in its place, is named; the broker, which does not answer, was not waited for."""
    for output in (tmp_path / "none" / "p.toml", tmp_path / "plain" / "p.toml"):
        (tmp_path / "plain").write_text("", encoding="utf-8")
        assert refusal("--output", output).message == f"--output: {output} has no folder to be in"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--topic", "t"], "--servers is missing"),
        (["--servers", "h:1"], "--topic is missing"),
        (["--servers", "h:1", "--topic", "t"], "--path is missing"),
        (["--servers", "h:1", "--topic", "a b", "--path", "x"], "not a topic name"),
        (["--servers", "h:1", "--topic", "t", "--path", "x", "--option", "nonsense"], "must be KEY=VALUE"),
        (["--servers", "h:1", "--topic", "t", "--path", "x", "--option", "sasl.password=hunter2"], "sasl.password would stand in the file"),
        (["--servers", "h:1", "--topic", "t", "--path", "x", "--option", "auto.offset.reset=latest"], "can only be error"),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path: Path, arguments: list[str], words: str) -> None:
    """Where nobody can be asked, the missing flag is named; nothing is written."""
    assert words in refusal("--output", tmp_path / "p.toml", *arguments).message
    assert not list(tmp_path.iterdir())


BODY = {"name": "n", "source": {"servers": "h:1", "topics": ["t"], "options": {"sasl.password": "env:SECRET"}}, "sink": {"path": "lake/t"}}


@pytest.mark.parametrize(
    "sampled", [[], [b"garbage", b"\xff"], [b"{}"], [b'{"a": 1}', b'{"a": "x", "b": null, "c\\nd": true, "\\u202ee": 1, "f\\"] = g": 1}']]
)
def test_every_document_is_a_settings_file(tmp_path: Path, sampled: list[bytes]) -> None:
    """Whatever was sampled, what is written loads, and a name in the data cannot break out of its line."""
    file = tmp_path / "p.toml"
    file.write_text(document(BODY, survey(sampled), len(sampled)), encoding="utf-8")
    settings = load(file, {})
    assert settings.source.options == from_mapping(BODY).source.options
    assert settings.routes[0].decode.format == ("json" if not sampled or b'"a"' in sampled[0] else "raw")


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    """Fields without a type stand in the file as comments with the reason."""
    text = document(BODY, survey([b'{"a": 1, "b": null}', b'{"a": "x"}', b'{"c": 1}', b"no"]), 4)
    assert "# left out: a: the samples differ" in text
    assert "# left out: b: only null was seen" in text
    assert "not_json 1 could not be read" in text


def test_a_bad_sample_is_mentioned_beside_its_column() -> None:
    """The column stands there, with what it would refuse."""
    text = document(BODY, survey([b'{"v":1}'] * 99 + [b'{"v":"a lot"}']), 100)
    assert 'v = "int64"  # 1 of 100 samples does not fit and would be a dead letter\n' in text


def test_texts_are_quoted_as_toml_wants_them() -> None:
    """Quotes, backslashes and control characters are escaped; a comment stays on its line."""
    import tomllib

    text = 'a"b\\c\nd\x7f\x00é😀'
    assert tomllib.loads(f"x = {quoted(text)}")["x"] == text
    assert printable("a\nb\u202ec") == "a?b?c"


def test_the_file_warns_of_a_second_table_under_one_name() -> None:
    """The name is the group: two tables under one name would each get a part of the partitions."""
    (name,) = [text for text in document(BODY, survey([b'{"v":1}']), 1).splitlines() if text.startswith("name = ")]
    assert name.endswith("# the consumer group is called after it: two tables need two names, or each gets only a part")
