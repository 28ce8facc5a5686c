"""Every path of the JSON decoder gives every document of the corpus the verdict that the corpus demands."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from landfast.decode.json import PIECE_RECORDS_MIN, SINGLY_RECORDS_MAX
from landfast.decode.json_fast import FastReader, is_readable
from landfast.decode.json_rules import REASONS, JsonLimits, Refused
from landfast.decode.json_slow import Reference
from landfast.decode.schema import parse_columns
from tests.decode.decode_cases import Case, decode_all, load_corpus, neighbour, verdicts

CASES = load_corpus()
FILES = sorted({case.name.split("/")[0] for case in CASES})
EVERY_FILE = pytest.mark.parametrize("cases", [[case for case in CASES if case.name.split("/")[0] == name] for name in FILES], ids=FILES)


def wanted(case: Case) -> Any:
    return case.reason if case.row is None else case.row


def test_the_corpus_is_rich() -> None:
    """The corpus holds hundreds of cases, each once, and one for every reason that a document can give."""
    assert len(CASES) >= 600
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.reason for case in CASES if case.reason} == set(REASONS) - {"too_large", "tombstone"}


@EVERY_FILE
def test_a_document_alone_gets_its_verdict(cases: list[Case]) -> None:
    """A record in a chunk of its own gets the verdict of the corpus."""
    found = {case.name: verdicts(decode_all(case.columns, [case.document], case.unknown_fields)) for case in cases}
    assert found == {case.name: [wanted(case)] for case in cases}


@EVERY_FILE
def test_the_reference_gives_the_verdict(cases: list[Case]) -> None:
    """The slow path, asked directly, accepts and refuses as the corpus says."""
    assert {case.name: reason_of_reference(case) for case in cases} == {case.name: case.reason for case in cases}


def reason_of_reference(case: Case) -> str | None:
    reference = Reference(parse_columns(case.columns), refuse_unknown=case.unknown_fields == "dead", limits=JsonLimits())
    try:
        reference.row(case.document)
    except Refused as refused:
        return refused.reason
    return None


@EVERY_FILE
def test_the_fast_path_accepts_nothing_that_is_refused(cases: list[Case]) -> None:
    """The fast path, asked directly, never takes a record that the corpus refuses or whose unknown fields must be kept."""
    accepted = {case.name for case in cases if is_accepted_fast(case)}
    assert not accepted & {case.name for case in cases if case.row is None or "_rescued" in case.row}


def is_accepted_fast(case: Case) -> bool:
    schema = parse_columns(case.columns)
    if not is_readable(schema, 64):
        return False
    piece = FastReader(schema, JsonLimits()).read([case.document])
    return piece is not None and (piece.suspects is None or not piece.suspects[0].as_py())


def test_the_fast_path_accepts_most_of_what_is_good() -> None:
    """The fast path is not the slow path in disguise: it takes most good documents without maps and unknown fields."""
    good = [case for case in CASES if case.row is not None and "_rescued" not in case.row and is_readable(parse_columns(case.columns), 64)]
    assert sum(map(is_accepted_fast, good)) > 0.8 * len(good)


@EVERY_FILE
@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 1), (0, SINGLY_RECORDS_MAX), (SINGLY_RECORDS_MAX, 0), (PIECE_RECORDS_MIN, 40)])
def test_neighbours_change_no_verdict(cases: list[Case], before: int, after: int) -> None:
    """A record gets the same verdict wherever it stands among good ones, and they stay good."""
    for case in cases:
        good = neighbour(case.columns)
        (good_row,) = verdicts(decode_all(case.columns, [good]))
        found = verdicts(decode_all(case.columns, [good] * before + [case.document] + [good] * after, case.unknown_fields))
        assert found == [good_row] * before + [wanted(case)] + [good_row] * after, case.name


def test_all_cases_of_a_schema_together_get_their_verdicts() -> None:
    """Bad, odd and good records of one schema in one chunk do not influence each other."""
    together: dict[Any, list[Case]] = defaultdict(list)
    for case in CASES:
        together[tuple(case.columns.items()), case.unknown_fields].append(case)
    for cases in together.values():
        for ordered in (cases, cases[::-1]):
            documents = [case.document for case in ordered]
            assert verdicts(decode_all(cases[0].columns, documents, cases[0].unknown_fields)) == [wanted(case) for case in ordered]


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("decimal(10,2)", "true", "takes decimal(10,2); the record has a boolean"),
        ("float32", '"x"', "takes float32; the record has a string"),
        ("float64", '"x"', "takes float64; the record has a string"),
        ("timestamp", '"2026-01-31T00:00:00"', "the record has one without a zone"),
        ("timestamp_ntz", '"2026-01-31T00:00:00Z"', "the record has one with a zone"),
        ("timestamp", '"2026-01-31T00:00:00.1234567Z"', "the record has one finer than microseconds"),
        ("timestamp", '"yesterday"', "the record has another string"),
    ],
)
def test_a_refusal_speaks_of_types_as_the_settings_do(kind: str, value: str, words: str) -> None:
    """What a column takes is written as in `[decode.columns]`, and a time that is nearly right is told from one that is none."""
    decoded = decode_all(parse_columns({"c": kind}), [b'{"c":' + value.encode() + b"}"])
    (refused,) = decoded.rejects
    assert words in refused.message
