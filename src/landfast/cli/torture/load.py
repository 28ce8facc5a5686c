"""The load of a torture, as a process of its own: three producers, and a ledger of what the broker acknowledged to them.

It is told on standard input, one JSON object a line: first what to do, then how far each lane has landed, and in the end to stop. It tells
on standard output, as lines too, how far each lane is acknowledged.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO

from landfast.cli.torture.producing import TICK_SECONDS, Numbers, Order, Producing, Told, kinds


def produce(order: Order, told: Told, out: TextIO) -> None:
    """Produce until told to stop, and say how it goes.

    Raises:
        TimeoutError: something is still on its way a minute after the end.
    """
    numbers = Numbers()
    producers = [Producing(kind, order, told, numbers) for kind in kinds(order)]
    with ThreadPoolExecutor(len(producers)) as pool:
        running = [pool.submit(producer.run) for producer in producers]
        while not told.over.wait(TICK_SECONDS):
            print(json.dumps(_facts(producers)), file=out, flush=True)
            if any(one.done() for one in running):
                # One without the others is another load than was asked for.
                told.over.set()
    for one in running:
        one.result()
    doubtful = [number for producer in producers for number in producer.doubtful]
    print(json.dumps({**_facts(producers), "over": True, "doubtful_numbers": doubtful}), file=out, flush=True)


def _facts(producers: list[Producing]) -> dict[str, Any]:
    """Where the load stands. The producers go on meanwhile: a figure may be a moment older than another."""
    refusals = [producer.refusal for producer in producers if producer.refusal]
    return {
        "ends": _furthest([producer.ends for producer in producers]),
        "needed": _furthest([producer.needed for producer in producers]),
        **{name: sum(producer.counts[name] for producer in producers) for name in producers[0].counts},
        "refusal": refusals[0] if refusals else "",
    }


def _furthest(known: list[dict[int, int]]) -> list[tuple[int, int]]:
    furthest = [(lane, max(ends[lane] for ends in known)) for lane in known[0]]
    return [(lane, end) for lane, end in furthest if end]


def _listen(told: Told, lines: TextIO) -> None:
    """Take note of what is said. An end without a word is an end too: whoever asked for the load is gone."""
    for line in lines:
        said = json.loads(line)
        if "landed" in said:
            told.landed.update((lane, position) for lane, position in said["landed"])
        if said.get("stop"):
            break
    told.over.set()


def main(lines: TextIO = sys.stdin, out: TextIO = sys.stdout) -> None:
    """Produce as standard input says."""
    order = Order.of(json.loads(lines.readline()))
    told = Told()
    threading.Thread(target=_listen, args=(told, lines), daemon=True).start()
    produce(order, told, out)


if __name__ == "__main__":
    main()
