"""The settings of what keeps a table fast and small."""

from __future__ import annotations

from pydantic import Field

from landfast.config.section import Section
from landfast.config.sizes import GIB, KIB, MIB, ByteSize


class MaintenanceSettings(Section):
    """What keeps the table fast and small: checkpoints, compaction, sweeps. It never moves a position."""

    checkpoint_commits: int = Field(default=50, ge=1, le=10_000, description="Commits between two checkpoints of the table's log.")
    cleanup_seconds: float = Field(
        default=86_400.0, ge=60, le=90 * 86_400, description="Between two clean-ups of the log; the table's own retention says what may go."
    )
    compaction_seconds: float = Field(default=60.0, ge=1, le=90 * 86_400, description="Between two looks for small files.")
    compaction_files_min: int = Field(
        default=8, ge=2, le=100_000, description="Small files in one partition from which on they are joined."
    )
    compaction_bytes_max: ByteSize = Field(default=64 * MIB, ge=MIB, le=16 * GIB, description="Stored bytes that one compaction replaces.")
    file_bytes_small: ByteSize = Field(default=32 * MIB, ge=KIB, le=4 * GIB, description="Files below this are small.")
    sweep_seconds: float = Field(default=86_400.0, ge=60, le=90 * 86_400, description="Between two sweeps of files that no commit names.")
    sweep_grace_seconds: float = Field(
        default=7 * 86_400.0,
        ge=3600,
        le=365 * 86_400,
        description="A file is swept when no commit has named it for longer than this, and for longer than the table's "
        "`delta.deletedFileRetentionDuration`, where that is set.",
    )
