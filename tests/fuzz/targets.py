"""What is fuzzed: each target takes bytes and says in a word what became of them. Any exception is a defect.

The word matters only to the search: an input whose word is new is kept, and changed further.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.fuzz.of_records import columns_text, proposal, records
from tests.fuzz.of_settings import environment, settings_file
from tests.fuzz.of_tables import commit_record, dead_letter_id, log_entry
from tests.fuzz.of_texts import log_line

CORPUS = Path(__file__).resolve().parents[1] / "corpus" / "fuzz"
_TOKENS = json.loads((CORPUS / "tokens.json").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes any bytes. `tokens` are pieces that its inputs are made of: they let the search get behind the first look."""

    name: str
    run: Callable[[bytes], str]
    tokens: tuple[bytes, ...]


def _target(name: str, run: Callable[[bytes], str]) -> Target:
    # Each character of the file stands for one byte.
    return Target(name, run, tuple(token.encode("latin-1") for token in _TOKENS[name]))


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        target.name: target
        for target in (
            _target("settings", settings_file),
            _target("environment", environment),
            _target("records", records),
            _target("columns", columns_text),
            _target("proposal", proposal),
            _target("commit-record", commit_record),
            _target("log-entry", log_entry),
            _target("dead-letter-id", dead_letter_id),
            _target("log-line", log_line),
        )
    }
)
