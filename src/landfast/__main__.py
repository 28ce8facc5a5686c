"""`python -m landfast` is `landfast`."""

from landfast.cli import main

main()
