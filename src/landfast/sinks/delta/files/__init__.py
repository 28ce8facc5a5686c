"""The files of a table: what they are called, where they lie, what is in them, and when they are durable."""
