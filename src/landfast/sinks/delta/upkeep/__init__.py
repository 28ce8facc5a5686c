"""What keeps a table fast and small."""
