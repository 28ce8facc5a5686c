"""What a table's log says, what is written into it, and how its end is made whole after a power cut."""
