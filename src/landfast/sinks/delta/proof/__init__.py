"""What only looks: the proof of a table from itself, and what people ask of it."""
