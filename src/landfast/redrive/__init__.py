"""The dead letters of a pipeline: looked at, edited, replayed into the table, or discarded. Each of them is resolved once.

    from landfast import LetterFilter, Redrive

    redrive = Redrive.from_file("pipeline.toml")
    report = redrive.replay(where=LetterFilter(reason="not_json"), fix=lambda letter: letter.value.replace(b"'", b'"'))

A replay may be repeated, killed anywhere, or run twice at once, beside a running pipeline: each letter lands once.
"""

from __future__ import annotations

from landfast.redrive.export import ExportFormat
from landfast.redrive.redrive import Redrive
from landfast.redrive.values import DeadLetter, DiscardReport, ReplayReport, StillOpen
from landfast.sinks.delta.proof.letters import LetterFilter

__all__ = ["DeadLetter", "DiscardReport", "ExportFormat", "LetterFilter", "Redrive", "ReplayReport", "StillOpen"]
