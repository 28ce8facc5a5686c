"""For tests of pipelines: ports in memory, a clock that stands still, executors without threads, faults as data, contract suites.

memory      every port in memory: log, group, source, table, sink, dead letters, observer, decoder
clock       `ManualClock`
executor    `InlineExecutor`, `SteppedExecutor`
faults      faults as data: which call of which port fails, and how
ledger      what was written against what is held
suites      what each port promises, as checks for any implementation
"""
