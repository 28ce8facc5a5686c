"""The command `landfast`: `landfast.cli.app` holds it, and is imported by who runs it."""
