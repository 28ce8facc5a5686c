"""The engine: pure bookkeeping, one loop, no I/O of its own. Time, threads and storage come in through the ports."""
