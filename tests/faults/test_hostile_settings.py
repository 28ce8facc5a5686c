"""Settings that want to do harm: each is refused in words, whatever the parser below would have made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from landfast.config import Options, from_mapping, load
from landfast.errors import Misconfigured
from landfast.sources.kafka_settings import KafkaSettings, check_settings

DEEP = 100_000


def settings_text(source: str = "", path: str = "table", top: str = "") -> str:
    return f'{top}name = "p"\n[source]\nservers = "h:1"\ntopics = ["t"]\n{source}\n[sink]\npath = "{path}"\n'


def patterned(pattern: str) -> str:
    return settings_text(f"topic_pattern = '{pattern}'").replace('topics = ["t"]\n', "")


REFUSED: Mapping[str, tuple[str, str, str]] = {
    "arrays-in-arrays": ("a = " + "[" * DEEP, "CONFIG_INVALID", "nested deeper"),
    "tables-in-tables": ("a = " + "{a=" * DEEP, "CONFIG_INVALID", "nested deeper"),
    "a-table-of-dots": ("[" + ".".join("a" * 10_000) + "]\nb = 1", "CONFIG_INVALID", "nested deeper"),
    "an-option-of-dots": (settings_text("[source.options]\n" + ".".join("a" * 3000) + " = 1"), "CONFIG_INVALID", "nested deeper"),
    "a-number-without-end": (settings_text(f"poll_bytes_max = {'1' * 100_000}"), "CONFIG_UNREADABLE", "too many digits"),
    "a-hexadecimal-without-end": (settings_text(f"poll_bytes_max = 0x{'1' * 100_000}"), "CONFIG_INVALID", "must be at most"),
    "an-option-without-end": (settings_text(f'[source.options]\n"fetch.min.bytes" = 0x{"1" * 100_000}'), "CONFIG_INVALID", "digits"),
    "a-size-beyond-floats": (settings_text(f'poll_bytes_max = "{"9" * 400} B"'), "CONFIG_INVALID", "must be at most"),
    "a-repetition-without-end": (patterned("a{99999999999999999999}"), "CONFIG_INVALID", "regular expression"),
    "half-an-address": (settings_text(path="s3://user:pw@[abc/table"), "CONFIG_INVALID", "is no URI"),
    "an-address-that-folds": (settings_text(path="s3://user:pw@\\u2100/table"), "CONFIG_INVALID", "is no URI"),
    "a-path-with-nul": (settings_text(path="table\\u0000.txt"), "CONFIG_INVALID", "NUL"),
    "a-home-with-nul": (settings_text(path="~\\u0000root/table"), "CONFIG_INVALID", "home"),
    "an-option-with-nul": (settings_text('[source.options]\n"client.id" = "a\\u0000b"'), "CONFIG_INVALID", "NUL"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_x6_a_hostile_file_is_refused_in_words(tmp_path: Path, name: str) -> None:
    """Depth, digits, sizes, addresses and NUL end in one error with a code, not in the exception of a parser."""
    text, code, words = REFUSED[name]
    file = tmp_path / "pipeline.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured, match=words) as caught:
        load(file, {})
    assert caught.value.code == code
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LANDFAST_SOURCE__\u00b2", "1"),
        (f"LANDFAST_ROUTES__{'9' * 5000}__NAME", "1"),
        ("LANDFAST_" + "__".join(["A"] * 5000), "1"),
        ("LANDFAST_BATCH__ROWS", "[" * DEEP),
        ("LANDFAST_BATCH__ROWS", "1" * 5000),
        ("LANDFAST_SINK__PATH", "table\udcff"),
        ("LANDFAST_BATCH__R\udcff", "1"),
        ("LANDFAST_SOURCE__OPTIONS__client.id", "a\udcff"),
    ],
    ids=["superscript", "index", "depth", "brackets", "digits", "path-bytes", "name-bytes", "option-bytes"],
)
def test_x6_a_hostile_variable_is_refused_in_words(tmp_path: Path, variable: str, value: str) -> None:
    """What a variable is called and what it holds is text of others too."""
    file = tmp_path / "pipeline.toml"
    file.write_text(settings_text(), encoding="utf-8")
    with pytest.raises(Misconfigured):
        load(file, {variable: value})


def test_x6_a_mapping_may_be_hostile_as_well() -> None:
    """Settings from Python are looked at before they are copied."""
    inner: dict[str, object] = {}
    for _ in range(DEEP):
        inner = {"a": inner}
    with pytest.raises(Misconfigured, match="nested deeper"):
        from_mapping({"name": "p", "source": inner})


def test_x6_a_name_that_no_file_has_is_refused() -> None:
    """The command line takes any text for a file's name."""
    with pytest.raises(Misconfigured, match="no file has such a name"):
        load("pipe\0line.toml", {})


@pytest.mark.parametrize("value", ["1" * 5000, "\u00b2", "-" + "9" * 30, "0x10", "1e3", ""])
def test_x6_an_option_that_is_no_number_is_refused(value: str) -> None:
    """Digits that Python knows and no driver, and more of them than any number has."""
    with pytest.raises(Misconfigured, match="whole number"):
        check_settings(KafkaSettings("h:1", "g", ("t",), options={"receive.message.max.bytes": value}))


def test_x6_a_pattern_that_cannot_be_compiled_is_refused() -> None:
    """Also where the source is made without the settings file."""
    with pytest.raises(Misconfigured, match="regular expression"):
        check_settings(KafkaSettings("h:1", "g", topic_pattern="a{99999999999999999999}"))


def test_x6_a_secret_that_a_driver_would_cut_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password ends at a NUL for a driver written in C, so that half of it would be sent: it is refused, and not shown."""
    file = tmp_path / "password"
    file.write_bytes(b"canary-half\x00canary-rest")
    monkeypatch.setenv("CANARY", "canary-\udcff")
    for reference in (f"file:{file}", "env:CANARY"):
        with pytest.raises(Misconfigured) as caught:
            Options({"sasl.password": reference}).resolve("source.options")
        assert caught.value.code == "CONFIG_SECRET"
        assert "canary-" not in str(caught.value)


def test_x7_an_address_that_cannot_be_taken_apart_is_hidden_whole() -> None:
    """Where the password stands in it cannot be told, so nothing of it is shown."""
    assert Options({"proxy_url": "http://user:canary@[proxy"}).masked() == {"proxy_url": "http://***"}
