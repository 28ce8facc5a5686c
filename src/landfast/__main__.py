"""`python -m landfast` is the command `landfast`."""

from __future__ import annotations

from landfast.cli.app import main

if __name__ == "__main__":
    main()
