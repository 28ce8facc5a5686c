"""For tests of pipelines: ports in memory, a clock that stands still, executors without threads, faults as data, contract suites.

memory      every port in memory: log, group, source, table, sink, dead letters, observer, decoder
clock       `ManualClock`
executor    `InlineExecutor`, `SteppedExecutor`
"""
