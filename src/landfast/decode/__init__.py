"""Bytes to rows, strictly: nothing is coerced silently, and what does not fit says why.

`schema` speaks of columns, `proposal` guesses them from samples, `json` and `raw` are the decoders. The rules for JSON stand in
`json_rules`; `json_slow` is their reference, one record at a time, and `json_fast` is allowed to accept only what the reference
accepts, with the same row.
"""
