"""The same for asyncio: nothing blocks the loop, cancelling ends a subscription, and nobody reads too far ahead."""

from __future__ import annotations

import asyncio
import threading
import unittest
from typing import Any, Coroutine, List

import copo
import copo.aio
from harness import DEADLINE, WithApplication, eventually


def reader_threads() -> List[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "copo-reader"]


class Asynchronous(WithApplication):
    def run_async(self, story: Coroutine[Any, Any, None]) -> None:
        asyncio.run(asyncio.wait_for(story, DEADLINE))

    def test_records_go_and_come(self) -> None:
        async def story() -> None:
            client = copo.aio.Client(self.client)
            got = []
            async with client.udd_subscribe(self.key()) as subscription:
                for number in range(1_000):
                    await client.udd_send(str(number), self.key())
                await client.flush()
                last = await client.udd_send_sync("last", self.key())
                async for item in subscription:
                    assert isinstance(item, copo.Record)
                    got.append(item.udd_buff)
                    if item.seq == last:
                        break
            self.assertEqual(got, [b"%d" % number for number in range(1_000)] + [b"last"])
            newest = await client.udd_get(self.key())
            assert newest is not None
            self.assertEqual(newest.seq, last)

        self.run_async(story())

    def test_an_iteration_ends_with_what_was_asked_for(self) -> None:
        async def story() -> None:
            client = copo.aio.Client(self.client)
            for number in range(3):
                await client.udd_send(str(number), self.key())
            await client.flush()
            following = client.udd_subscribe(self.key(), from_="first", follow=False)
            buffs = [item.udd_buff async for item in following if isinstance(item, copo.Record)]
            self.assertEqual(buffs, [b"0", b"1", b"2"])

        self.run_async(story())

    def test_more_than_the_window_is_sent_without_blocking_the_loop(self) -> None:
        async def story() -> None:
            client = copo.aio.Client(self.client)
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            counting = asyncio.ensure_future(count())
            await asyncio.gather(*(client.udd_send(b"x" * 1000, self.key(str(task))) for task in range(20_000)))
            await client.flush()
            counting.cancel()
            self.assertGreater(turns, 0)

        self.run_async(story())

    def test_cancelling_ends_the_subscription_and_its_thread(self) -> None:
        async def story() -> None:
            client = copo.aio.Client(self.client)
            started = asyncio.Event()

            async def follow() -> None:
                subscription = await client.udd_subscribe(self.key()).start()
                started.set()
                async for _ in subscription:
                    pass

            task = asyncio.ensure_future(follow())
            await started.wait()
            self.assertEqual(len(reader_threads()), 1)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        self.run_async(story())
        eventually(lambda: not reader_threads(), "the reader's end")

    def test_a_reader_nobody_takes_from_stays_two_batches_ahead(self) -> None:
        async def story() -> None:
            client = copo.aio.Client(self.client)
            async with client.udd_subscribe(self.key()) as subscription:
                for number in range(5_000):
                    await client.udd_send(str(number), self.key())
                await client.flush()
                reader = subscription._reader
                assert reader is not None
                await asyncio.sleep(0.1)
                self.assertLessEqual(reader._batches.qsize(), 2)
                first = await subscription.__anext__()
                assert isinstance(first, copo.Record)
                self.assertEqual(first.udd_buff, b"0")

        self.run_async(story())

    def test_errors_come_as_they_are(self) -> None:
        async def story() -> None:
            client = copo.aio.Client(self.client)
            with self.assertRaises(copo.InvalidKeyError):
                await client.udd_send(b"x", "a b")
            with self.assertRaises(copo.InvalidKeyError):
                await client.udd_subscribe("a/*b").start()
            with self.assertRaises(copo.NoOrchestratorError):
                await copo.aio.connect("/nonexistent/copo/sock")

        self.run_async(story())

    def test_waiting_for_a_stop_has_a_timeout(self) -> None:
        async def story() -> None:
            client = await copo.aio.connect(self.app.socket, name="test")
            async with client:
                self.assertFalse(await client.stop_requested())
                self.assertFalse(await client.wait_stop(timeout=0.05))
                self.assertEqual((await client.udd_headers())[:1], ["station"])

        self.run_async(story())


if __name__ == "__main__":
    unittest.main()
