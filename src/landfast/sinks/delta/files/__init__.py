"""The files of a table: what they are called, where they lie, what is in them, and when they are durable.

storage        reading and writing them, wherever they lie: on a `local` disk, or in an `object_store` by its `store_client`
names          what each is called: entries of the log, checkpoints, files of rows, and what is not to be seen
paths          where a table lies, and the tables beside it
plain          rows that other writers have stored, in types that can be computed with
parquet        a file of rows, with its `stats` for the log and the columns that Landfast adds (`own_columns`)
rewriting      files read and written again, in bounded memory
partitions     rows split by the partitions of their table
staged         files that are written and that no commit names yet
probe          whether a store creates a file once, whoever else creates it at the same moment
"""
