"""Following the log."""

from __future__ import annotations

import _thread
import datetime
import threading
import time
import unittest
from typing import Any, List

import copo
from harness import DEADLINE, WithApplication, buffs, in_background


class Following(WithApplication):
    def test_it_begins_where_it_is_told(self) -> None:
        key = self.key()
        seqs = [self.client.udd_send_sync(str(number), key) for number in range(3)]
        second = self.client.udd_subscribe(key, from_=seqs[1], follow=False)
        newest = self.client.udd_get(key)
        assert newest is not None
        taken = datetime.datetime.fromtimestamp(newest.sent_time / 1e6, datetime.timezone.utc)

        self.assertEqual(buffs(second), [b"1", b"2"])
        for since in (taken, newest.sent_time):
            self.assertEqual(buffs(self.client.udd_subscribe(key, since=since, follow=False))[-1:], [b"2"])
        self.assertEqual(buffs(self.client.udd_subscribe(key, since=newest.sent_time + 1, follow=False)), [])
        self.assertEqual(buffs(self.client.udd_subscribe(key, from_="first", to=seqs[1])), [b"0", b"1"])
        self.assertEqual(buffs(self.client.udd_subscribe(key, from_="new", follow=False)), [])

    def test_new_records_come_as_they_are_sent(self) -> None:
        with self.client.udd_subscribe(self.key()) as subscription:
            waiting = in_background(lambda: subscription.next(timeout=DEADLINE))
            self.client.udd_send("here", self.key())
            item = waiting()
        assert isinstance(item, copo.Record)
        self.assertEqual(item.udd_buff, b"here")

    def test_a_pattern_selects(self) -> None:
        for part in ("a", "b", "a/deep"):
            self.client.udd_send(part, self.key(part))
        self.client.flush()
        follow = self.client.udd_subscribe
        self.assertEqual(buffs(follow(self.key("*"), from_="first", follow=False)), [b"a", b"b"])
        self.assertEqual(buffs(follow(self.key("**"), from_="first", follow=False)), [b"a", b"b", b"a/deep"])
        with self.assertRaises(copo.InvalidKeyError):
            follow("a/*b")

    def test_bad_starts_are_refused(self) -> None:
        with self.assertRaises(ValueError):
            self.client.udd_subscribe(from_="last")
        with self.assertRaises(ValueError):
            self.client.udd_subscribe(from_="first", since=1)
        starts: List[Any] = [-1, 1.5, object()]
        for start in starts:
            with self.assertRaises(TypeError):
                self.client.udd_subscribe(from_=start)
            with self.assertRaises(TypeError):
                self.client.udd_subscribe(since=start)
        with self.assertRaises(ValueError):
            self.client.udd_subscribe(records=False)

    def test_nothing_in_time_is_a_timeout(self) -> None:
        with self.client.udd_subscribe(self.key()) as subscription:
            with self.assertRaises(TimeoutError) as late:
                subscription.next(timeout=0.15)
            assert isinstance(late.exception, copo.TimedOutError)
            with self.assertRaises(copo.TimedOutError):
                subscription.next(timeout=0)
            self.client.udd_send("after all", self.key())
            item = subscription.next(timeout=DEADLINE)
        assert isinstance(item, copo.Record)
        self.assertEqual(item.udd_buff, b"after all")

    def test_the_end_is_an_error_only_when_one_item_is_asked_for(self) -> None:
        subscription = self.client.udd_subscribe(self.key(), from_="first", follow=False)
        self.assertEqual(list(subscription), [])
        self.assertEqual(list(subscription), [])
        with self.assertRaises(copo.EndError):
            subscription.next()

    def test_another_log_is_told_as_a_gap(self) -> None:
        self.client.udd_send_sync("x", self.key())
        subscription = self.client.udd_subscribe(self.key(), from_=1, log_id=bytes(range(16)), follow=False)
        gap, record = subscription
        assert isinstance(gap, copo.Gap) and isinstance(record, copo.Record)
        self.assertEqual((gap.cause, gap.log_id), ("log_replaced", subscription.log_id))
        self.assertIn("Gap(cause='log_replaced'", repr(gap))

    def test_closing_wakes_who_waits(self) -> None:
        subscription = self.client.udd_subscribe(self.key())
        waiting = in_background(lambda: list(subscription))
        subscription.close()
        self.assertEqual(waiting(), [])

    def test_other_threads_run_while_one_waits(self) -> None:
        subscription = self.client.udd_subscribe(self.key())
        waiting = in_background(lambda: subscription.next(timeout=DEADLINE))
        for _ in range(100):
            time.sleep(0)  # Would never come back if the one that waits held the interpreter.
        self.client.udd_send("go", self.key())
        self.assertIsInstance(waiting(), copo.Record)

    def test_an_interrupt_is_heard_while_waiting(self) -> None:
        subscription = self.client.udd_subscribe(self.key())
        for wait in (lambda: list(subscription), lambda: self.client.wait_stop()):
            timer = threading.Timer(0.2, _thread.interrupt_main)
            began = time.monotonic()
            timer.start()
            with self.assertRaises(KeyboardInterrupt):
                wait()
            self.assertLess(time.monotonic() - began, DEADLINE)
            timer.join()


if __name__ == "__main__":
    unittest.main()
