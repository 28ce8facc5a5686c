"""Records that are made to cost more than they weigh: each is refused at its limit, in bounded memory, and its neighbours land."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from landfast.decode.json import SCREENED_RECORDS_MIN, SINGLY_RECORDS_MAX, JsonDecoder
from landfast.decode.json_rules import JsonLimits
from landfast.decode.schema import parse_columns
from landfast.testing.kafka import EmbeddedKafka
from landfast.testing.kafka_records import Record, produce
from tests.cli.command import coordinates, pipeline_file
from tests.cli.table import ask
from tests.decode.decode_cases import chunk_of, verdicts

MIB = 1 << 20
COLUMNS = {"a": "int64", "f": "float64", "d": "decimal(38,9)", "text": "string", "known": "array<int64>"}

BOMBS: Mapping[str, tuple[str, str, int]] = {
    "arrays-100000-deep": ('b\'{"z":\' + b"[" * 100_000 + b"]" * 100_000 + b"}"', "too_deep", 64),
    "objects-100000-deep": ('b\'{"a":\' * 100_000 + b"1" + b"}" * 100_000', "too_deep", 64),
    "brackets-without-end": ('b"[" * (60 * MIB)', "too_large", 64),
    "million-digits": ('b\'{"a":\' + b"9" * 1_000_000 + b"}"', "out_of_range", 64),
    "million-digits-float": ('b\'{"f":\' + b"9" * 1_000_000 + b"}"', "out_of_range", 64),
    "million-digits-decimal": ('b\'{"d":0.\' + b"9" * 1_000_000 + b"}"', "bad_decimal", 64),
    "exponent-of-a-million": ('b\'{"d":1e\' + b"9" * 1_000_000 + b"}"', "out_of_range", 64),
    "million-keys": ('b"{" + b",".join(b\'"k%d":1\' % i for i in range(1_000_000)) + b"}"', "too_large", 64),
    "keys-that-collide-in-weak-hashes": ('b"{" + b",".join(b\'"%064d":1\' % (i << 61) for i in range(150_000)) + b"}"', "row", 192),
    "million-elements": ('b\'{"known":[\' + b",".join([b"1"] * 1_000_000) + b"]}"', "too_large", 64),
    "string-of-100-mb": ('b\'{"text":"\' + b"x" * (100 * MIB) + b\'"}\'', "too_large", 64),
    "string-of-60-mb": ('b\'{"text":"\' + b"x" * (60 * MIB) + b\'"}\'', "row", 512),
    "escapes-of-60-mb": ('b\'{"text":"\' + rb"\\u0041" * (10 * MIB) + b\'"}\'', "row", 512),
}
"""Each bomb as Python text, its verdict, and the megabytes that judging it may take beside itself."""

_CHILD = """
import json, resource, sys
from landfast.decode.json import JsonDecoder
from landfast.decode.schema import parse_columns
from tests.decode.decode_cases import chunk_of
MIB = 1 << 20
columns = json.loads(sys.argv[2])
good = b'{"a":1,"text":"x"}'
JsonDecoder(parse_columns(columns)).decode(chunk_of([good] * 100))
bomb = eval(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decoded = JsonDecoder(parse_columns(columns)).decode(chunk_of([good] * 40 + [bomb] + [good] * 40))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"reasons": [one.reason for one in decoded.rejects], "rows": decoded.rows.num_rows, "kilobytes": after - before}))
"""


@pytest.mark.parametrize("name", BOMBS)
def test_d12_x2_a_bomb_is_refused_in_bounded_memory(name: str) -> None:
    """The peak memory of a process that judges it, beside what the bomb itself takes, stays below what the limits stand for."""
    text, verdict, megabytes_max = BOMBS[name]
    told = subprocess.run([sys.executable, "-c", _CHILD, text, json.dumps(COLUMNS)], capture_output=True, text=True, check=True)
    found = json.loads(told.stdout)
    assert (found["reasons"], found["rows"]) == (([], 81) if verdict == "row" else ([verdict], 80))
    assert found["kilobytes"] < megabytes_max * 1024


TIMED_COLUMNS = {**COLUMNS, "t": "timestamp", "b": "binary", "o": "struct<x: int64>"}
TIMED_BYTES = 500_000
SECONDS_ANYWAY = 0.1
SECONDS_PER_BYTE_MAX = 5e-6

SHAPES: Mapping[str, bytes] = {
    "brackets": b'{"z":' + b"[" * TIMED_BYTES,
    "objects": b'{"a":' * (TIMED_BYTES // 5),
    "objects in a column": b'{"o":{"x":' + b'{"x":' * (TIMED_BYTES // 5),
    "backslashes": b'{"text":"' + b"\\" * TIMED_BYTES,
    "escaped quotes": b'{"text":"' + b'\\"' * (TIMED_BYTES // 2),
    "quotes": b'"' * TIMED_BYTES,
    "quotes and colons": b"{" + b'"":' * (TIMED_BYTES // 3),
    "commas in a string": b'{"text":"' + b"," * TIMED_BYTES + b'"}',
    "spaces": b'{"a":1' + b" " * TIMED_BYTES + b"x}",
    "digits": b'{"a":' + b"9" * TIMED_BYTES + b"}",
    "digits of a float": b'{"f":' + b"9" * TIMED_BYTES + b"}",
    "digits of a decimal": b'{"d":' + b"9" * TIMED_BYTES + b"}",
    "zeros of a fraction": b'{"d":0.' + b"0" * TIMED_BYTES + b"}",
    "digits of an exponent": b'{"d":1e' + b"9" * TIMED_BYTES + b"}",
    "small exponents": b'{"text":"' + b"e-" * (TIMED_BYTES // 2) + b'"}',
    "unknown names": b"{" + b",".join(b'"%d":1' % number for number in range(TIMED_BYTES // 10)) + b"}",
    "one name again and again": b"{" + b'"a":1,' * (TIMED_BYTES // 6) + b'"a":1}',
    "halves of pairs": b'{"text":"' + b"\\ud83d" * (TIMED_BYTES // 6) + b'"}',
    "zeros of a time": b'{"t":"2024-01-02T03:04:05.' + b"0" * TIMED_BYTES + b'Z"}',
    "days": b'{"t":"' + b"2024-01-02T" * (TIMED_BYTES // 11) + b'"}',
    "base64": b'{"b":"' + b"YWJj" * (TIMED_BYTES // 4) + b'"}',
    "elements": b'{"known":[' + b"1," * (TIMED_BYTES // 2) + b"1]}",
    "newlines": b'{"a":1}' + b"\n" * TIMED_BYTES,
    "records": b'{"a":1}\n' * (TIMED_BYTES // 8),
    "bytes of no text": b'{"text":"' + b"\xff" * TIMED_BYTES + b'"}',
}
"""Half a megabyte each of what a parser, a pattern or a count might look at again and again."""


@pytest.mark.parametrize("shape", SHAPES)
def test_x2_the_time_of_a_record_is_bounded_by_its_bytes(shape: str) -> None:
    """Nothing is looked at more than a few times: what took the square of so many bytes would take minutes. The neighbours land."""
    values = [b'{"a":1}'] * SCREENED_RECORDS_MIN + [SHAPES[shape]]
    decoder = JsonDecoder(parse_columns(TIMED_COLUMNS))
    # Of this thread alone: a busy machine takes no more of it.
    began = time.thread_time()
    decoded = decoder.decode(chunk_of(values))
    assert time.thread_time() - began < SECONDS_ANYWAY + SECONDS_PER_BYTE_MAX * TIMED_BYTES
    assert decoded.rows.num_rows + len(decoded.rejects) == len(values)
    assert decoded.rows.num_rows >= SCREENED_RECORDS_MIN


LIMITS = JsonLimits(record_bytes=2_000, depth=20, parts=100)


def _nested(depth: int) -> bytes:
    return b'{"z":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def _elements(parts: int) -> bytes:
    # Two opening marks, and a comma between any two elements.
    return b'{"known":[' + b",".join([b"1"] * (parts - 1)) + b"]}" + b" " * parts


def _sized(nbytes: int) -> bytes:
    return b'{"text":"' + b"x" * (nbytes - len(b'{"text":""}')) + b'"}'


@pytest.mark.parametrize("neighbours", [0, SINGLY_RECORDS_MAX, 12 * SINGLY_RECORDS_MAX])
@pytest.mark.parametrize(
    ("made", "limit", "reason"),
    [(_nested, LIMITS.depth, "too_deep"), (_elements, LIMITS.parts, "too_large"), (_sized, LIMITS.record_bytes, "too_large")],
    ids=["depth", "parts", "bytes"],
)
def test_d13_x2_the_limit_lies_at_the_same_place_on_every_path(made: Any, limit: int, reason: str, neighbours: int) -> None:
    """One under and at the limit is a row, one over is refused, alone and among any number of others."""
    values = [made(limit - 1), made(limit), made(limit + 1), *[b'{"a":1}'] * neighbours]
    found = verdicts(JsonDecoder(parse_columns(COLUMNS), limits=LIMITS).decode(chunk_of(values)))
    assert [one if isinstance(one, str) else "row" for one in found[:3]] == ["row", "row", reason]
    assert len(found) == len(values)


@pytest.mark.parametrize(("number", "fits"), [(2**63 - 1, True), (2**63, False), (-(2**63), True), (-(2**63) - 1, False)])
def test_d13_x2_the_edge_of_an_integer_is_exact(number: int, fits: bool) -> None:
    """No integer is rounded, whichever side of the edge it is on."""
    (found,) = verdicts(JsonDecoder(parse_columns({"a": "int64"})).decode(chunk_of([b'{"a":%d}' % number])))
    assert found == ({"a": number} if fits else "out_of_range")


_RUN = """
import resource, sys
from typer.testing import CliRunner
from landfast.cli.app import app
ended = CliRunner().invoke(app, ["run", sys.argv[1], "--until-end", "--json"])
print(ended.stdout.strip())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(ended.exit_code)
"""
UNPACKED = {"lz4": 48 * MIB, "snappy": 48 * MIB, "gzip": 48 * MIB, "zstd": 104 * MIB}
"""What one record of zeros in each of four partitions is when it is unpacked; packed, it is a few kilobytes."""


@pytest.mark.long
@pytest.mark.museum(19)
def test_x1_a_record_that_grows_a_thousandfold_becomes_a_letter_or_halts_its_partition(tmp_path: Path) -> None:
    """The client unpacks three of the four whole: larger than `record_bytes_max`, they are refused, at a few times their size in memory.

    With zstd it stops at 100 MB by itself: that partition halts, at that very offset, and the others land.
    """
    with EmbeddedKafka() as kafka:
        for partition, (compression, nbytes) in enumerate(UNPACKED.items()):
            hostile = {"compression.type": compression, "message.max.bytes": 1_000_000_000, "linger.ms": 0}
            values = (b'{"id":1}', bytes(nbytes), b'{"id":2}')
            for value in values:
                # One by one, so that each is a batch of its own.
                produce(kafka.servers, [Record("bombed", value, partition)], options=hostile)
        sections = {"decode": {"record_bytes_max": "16 MiB"}, "dead_letters": {"max_share": 1.0}, "batch": {"seconds": 1.0}}
        file = pipeline_file(tmp_path, kafka.servers, "bombed", source={"topic_ids": "ignored"}, **sections)
        told = subprocess.run([sys.executable, "-c", _RUN, str(file)], capture_output=True, text=True, check=False)
    report, kilobytes = told.stdout.splitlines()
    halts = [(one["partition"], one["code"], "at offset 1" in one["message"]) for one in json.loads(report)["halts"]]
    assert (told.returncode, halts) == (3, [(3, "BATCH_CORRUPT", True)])
    listed = ask("dead-letters", "list", file, "--json").data["letters"]
    assert sorted((one["partition"], one["offset"], one["reason"]) for one in listed) == [(lane, 1, "too_large") for lane in range(3)]
    landed = coordinates(tmp_path / "lake")
    assert [one for one in landed if one[1] < 3] == [("bombed", lane, offset) for lane in range(3) for offset in (0, 2)]
    # What was read before the halt may have landed, or is still to land; nothing behind it has.
    assert {one for one in landed if one[1] == 3} <= {("bombed", 3, 0)}
    assert int(kilobytes) // 1024 < 256 + 5 * sum(UNPACKED.values()) // MIB
