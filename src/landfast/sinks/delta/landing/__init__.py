"""What lands rows, positions and dead letters."""
