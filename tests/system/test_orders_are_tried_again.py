"""Records that fail for a while, on a real broker and a real table: tried again later, in the order of each key, each landing once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast import Redrive, wiring
from landfast.audit import Verdict
from landfast.sinks.delta.files.paths import letters_path
from landfast.sinks.delta.proof.verify import verify_table
from landfast.testing.kafka import RealKafka
from tests.faults.doomed import Doom
from tests.system.retrying_process import SOON, UNKNOWN, Shop, Worker, places

pytestmark = pytest.mark.system


def proved(shop: Shop) -> Verdict:
    """The proof of the table, and that the log agrees with it."""
    from landfast import audit
    from landfast.core.verify import digest
    from landfast.sinks.delta.log.spans import read_spans

    verdict = verify_table(shop.table)
    spans = [record.span for record in read_spans(shop.table, {})]
    whole = audit.merged(verdict, audit.verify_source(spans, wiring.rereader(shop.settings), digest))
    assert whole.findings == ()
    return whole


def waits(shop: Shop, count: int) -> bool:
    """Whether so many letters wait to be tried again."""
    if not DeltaTable.is_deltatable(letters_path(shop.table)):
        return False
    return sum(letter.state == "retrying" for letter in Redrive(shop.settings).letters()) == count


def test_g9_orders_of_a_customer_wait_for_it_and_land_in_order_while_others_go_on(kafka: RealKafka, tmp_path: Path) -> None:
    """The first fails, those behind it wait without being tried, other customers' land at once; then all land, each once, in order."""
    shop = Shop(kafka.servers, tmp_path)
    shop.know("ann")
    shop.order("ann", "bob", "ann", "bob", "bob")
    with Worker(shop) as worker:
        worker.until(lambda: shop.landed(*places([0, 2])) and waits(shop, 3))
        reasons = {letter.offset: letter.reason for letter in Redrive(shop.settings).letters()}
        assert reasons == {1: UNKNOWN, 3: "behind_retry", 4: "behind_retry"}
        shop.order("bob", "ann", first=5)
        worker.until(lambda: shop.landed(*places([0, 2, 6])) and waits(shop, 4))
        shop.know("bob")
        worker.until(lambda: shop.landed(*places(range(7))))
        shop.order("bob", first=7)
        worker.until(lambda: shop.landed(*places(range(8))))
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0, worker.output
        assert "written 4, dead 4, waiting 0" in worker.output
    assert shop.in_order("bob") == [1, 3, 4, 5, 7]
    proof = proved(shop)
    assert (proof.letters, proof.replayed, proof.open_letters, proof.retrying) == (4, 4, 0, 0)


@pytest.mark.long
def test_when_the_attempts_are_over_a_letter_waits_for_people_and_those_behind_it_land(kafka: RealKafka, tmp_path: Path) -> None:
    """It is a plain dead letter then, with all of its attempts told; a bounded run does not wait for it, and says how many wait."""
    shop = Shop(kafka.servers, tmp_path, later={"delays_seconds": [600.0]})
    shop.order("bob", "ann", "bob")
    shop.know("ann")
    with Worker(shop, until_end=True) as worker:
        assert worker.ended() == 0, worker.output
        assert "written 1, dead 2, waiting 2" in worker.output
    shop.later.update(delays_seconds=[0.2])
    shop.order("bob", first=3)
    with Worker(shop) as worker:
        worker.until(lambda: waits(shop, 0) and shop.rows().total() == 1)
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0, worker.output
    assert [(one.state, one.failures) for one in Redrive(shop.settings).letters()] == [("open", 2)] * 3
    shop.know("bob")
    assert Redrive(shop.settings, decoder=shop.decoder).replay([f"{shop.topic}-0-0"]).landed == 1
    assert proved(shop).open_letters == 2


KILLS = {
    "after the letter is put": Doom("landfast.sinks.delta.retrying.retries:DeltaRetries.put", when="after"),
    "after its batch has landed": Doom("landfast.sinks.delta.landing.sink:DeltaSink.commit", when="after"),
    "before the letter lands": Doom("landfast.sinks.delta.redrive.presence:Presence.put"),
    "after the letter has landed": Doom("landfast.sinks.delta.redrive.presence:Presence.put", when="after"),
    "after the trail has it": Doom("landfast.sinks.delta.redrive.trail:Trail.write", when="after"),
}


@pytest.mark.long
@pytest.mark.parametrize("doom", KILLS.values(), ids=KILLS.keys())
def test_a_worker_killed_anywhere_between_letter_and_trail_loses_and_doubles_nothing(kafka: RealKafka, tmp_path: Path, doom: Doom) -> None:
    """SIGKILL, and another worker: every order lands once, those of a customer in order, and each letter is resolved once."""
    shop = Shop(kafka.servers, tmp_path)
    shop.order("bob", "ann", "bob", "ann")
    shop.know("ann")
    with Worker(shop, doom) as killed:
        if "redrive" in doom.place:
            killed.until(lambda: waits(shop, 2))
            shop.know("bob")
        assert killed.ended() == -signal.SIGKILL, killed.output
    shop.know("bob")
    with Worker(shop) as worker:
        worker.until(lambda: "at work" in worker.output and shop.landed(*places(range(4))) and waits(shop, 0))
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0, worker.output
    assert shop.in_order("bob") == [0, 2]
    proof = proved(shop)
    assert (proof.open_letters, proof.unresolved, proof.contested, proof.letters) == (0, 0, 0, proof.replayed)


@pytest.mark.long
def test_two_workers_share_letters_that_wait_through_rebalances(kafka: RealKafka, tmp_path: Path) -> None:
    """One joins while letters wait, and takes its share over; one is killed, and the other takes the rest: each lands once, in order."""
    shop = Shop(kafka.servers, tmp_path, partitions=2)
    for partition in (0, 1):
        shop.order("bob", "ann", "bob", first=10 * partition, partition=partition)
    shop.know("ann")
    with Worker(shop) as first:
        first.until(lambda: waits(shop, 4))
        with Worker(shop) as second:
            second.until(lambda: "LettersWaiting" in second.output)
            for partition in (0, 1):
                shop.order("bob", first=10 * partition + 3, partition=partition)
            second.until(lambda: waits(shop, 6))
            first.signal(signal.SIGKILL)
            shop.know("bob")
            every = [*places(range(4)), *places(range(4), partition=1)]
            second.until(lambda: shop.landed(*every) and waits(shop, 0))
            second.signal(signal.SIGTERM)
            assert second.ended() == 0, second.output
    numbers = shop.in_order("bob")
    assert [one for one in numbers if one < 10] == [0, 2, 3]
    assert [one for one in numbers if one >= 10] == [10, 12, 13]
    assert proved(shop).open_letters == 0


def test_while_too_many_letters_wait_nothing_more_is_read_and_nothing_is_given_up_for_it(kafka: RealKafka, tmp_path: Path) -> None:
    """It is told, and reading goes on by itself once fewer wait."""
    shop = Shop(kafka.servers, tmp_path, later={"delays_seconds": SOON, "waiting_records_max": 3})
    shop.order(*["bob"] * 5)
    with Worker(shop) as worker:
        worker.until(lambda: "RETRY_BACKLOG" in worker.output)
        shop.order("ann", first=5)
        shop.know("ann")
        worker.until(lambda: worker.output.count("LettersRetried") >= 2)
        assert shop.landed()
        shop.know("bob")
        worker.until(lambda: shop.landed(*places(range(6))))
        assert "reading goes on" in worker.output
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0, worker.output
    assert shop.in_order("bob") == [0, 1, 2, 3, 4]
    assert proved(shop).open_letters == 0
