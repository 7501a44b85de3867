"""Sending, the newest record, headers, reports: as a person on a real orchestrator."""

from __future__ import annotations

import array
import unittest
from typing import Any, List

import copo
from harness import WithApplication, buffs, records


class Sending(WithApplication):
    def test_records_arrive_once_and_in_order(self) -> None:
        key = self.key()
        for number in range(10_000):
            self.client.udd_send(b"%d" % number, key)
        self.client.flush(timeout=20)

        sent = records(self.client.udd_subscribe(key, from_="first", follow=False))
        self.assertEqual([record.udd_buff for record in sent], [b"%d" % number for number in range(10_000)])
        self.assertEqual({record.key for record in sent}, {key})
        self.assertEqual({record.sent_by for record in sent}, {"@test"})
        seqs = [record.seq for record in sent]
        self.assertEqual(seqs, sorted(set(seqs)))

    def test_whatever_is_bytes_like_is_sent_as_it_is(self) -> None:
        numbers = array.array("H", [1, 2])
        like: List[Any] = [b"a\0b", "grün", bytearray(b"c"), memoryview(b"0123")[1:3], memoryview(b"0123")[::2], numbers, b"", ""]
        for data in like:
            self.client.udd_send(data, key=self.key())
        self.client.flush()

        expected = [b"a\0b", "grün".encode(), b"c", b"12", b"02", numbers.tobytes(), b"", b""]
        self.assertEqual(buffs(self.client.udd_subscribe(self.key(), from_="first", follow=False)), expected)
        unlike: List[Any] = [1, 1.5, None, [1, 2], object()]
        for data in unlike:
            with self.assertRaises(TypeError):
                self.client.udd_send(data)

    def test_a_mutable_buffer_may_change_as_soon_as_the_call_is_over(self) -> None:
        data = bytearray(b"before")
        self.client.udd_send(data, self.key())
        data[:] = b"after!"
        self.client.flush()
        newest = self.client.udd_get(self.key())
        assert newest is not None
        self.assertEqual(newest.udd_buff, b"before")

    def test_a_synchronous_send_returns_the_seq(self) -> None:
        seq = self.client.udd_send_sync("21.5", self.key())
        newest = self.client.udd_get(self.key())
        assert newest is not None
        self.assertEqual((newest.seq, newest.udd_buff, newest.key), (seq, b"21.5", self.key()))
        self.assertGreater(self.client.udd_send_sync("21.6", self.key()), seq)
        self.assertIn(f"seq={seq}, ", repr(newest))
        self.assertIn("udd_buff=b'21.5'", repr(newest))

    def test_expect_seq_lets_only_the_first_of_two_through(self) -> None:
        first = self.client.udd_send_sync("1", self.key(), expect_seq=0)
        with self.assertRaises(copo.ConflictError) as refused:
            self.client.udd_send_sync("2", self.key(), expect_seq=0)
        self.assertEqual(refused.exception.code, copo.ErrorCode.CONFLICT)
        self.client.udd_send_sync("3", self.key(), expect_seq=first)

    def test_trying_sends_or_says_that_it_would_wait(self) -> None:
        sent = 0
        try:
            for _ in range(100_000):
                self.client.try_udd_send(b"x" * 1000, self.key())
                sent += 1
        except copo.WouldBlockError as error:
            self.assertIsInstance(error, BlockingIOError)
            self.assertEqual(error.code, copo.ErrorCode.WOULD_BLOCK)
        self.client.flush()
        self.assertGreater(sent, 0)

        got = records(self.client.udd_subscribe(self.key(), from_="first", follow=False))
        self.assertEqual(len(got), sent)

    def test_bad_keys_and_records_too_large_are_refused(self) -> None:
        for key in ("/a", "a b", "*", "ä", "k" * 256):
            with self.assertRaises(copo.InvalidKeyError) as refused:
                self.client.udd_send(b"x", key)
            self.assertIsInstance(refused.exception, ValueError)
        with self.assertRaises(copo.TooLargeError):
            self.client.udd_send(bytes(self.client.max_record + 1))
        self.client.udd_send_sync(b"still usable", self.key())

    def test_no_record_is_none(self) -> None:
        self.assertIsNone(self.client.udd_get(self.key()))

    def test_headers_are_what_was_last_set(self) -> None:
        self.client.udd_set_headers(["station", "kelvin"])
        self.assertEqual(self.client.udd_headers(), ["station", "kelvin"])

    def test_reports_stand_in_order_with_records(self) -> None:
        before = self.client.udd_send_sync("before", self.key())
        self.client.meta_report("halfway")
        after = self.client.udd_send_sync("after", self.key())

        items = list(self.client.udd_subscribe(from_=before, to=after, reports=True))
        kinds = [type(item) for item in items]
        self.assertEqual(kinds, [copo.Record, copo.Report, copo.Record])
        report = items[1]
        assert isinstance(report, copo.Report)
        self.assertEqual((report.sent_by, report.report_buff, report.facts), ("@test", b"halfway", None))

    def test_what_the_orchestrator_reports_is_typed(self) -> None:
        reports = self.client.udd_subscribe(from_="first", records=False, reports=True, follow=False)
        started = next(item for item in reports if isinstance(item, copo.Report) and item.facts is not None)
        assert started.facts is not None
        self.assertEqual(started.sent_by, "orchestrator")
        self.assertRegex(started.facts.event, "^[a-z_]+$")
        self.assertIn(f"event='{started.facts.event}'", repr(started))

    def test_a_closed_client_says_so(self) -> None:
        with self.app.connect() as client:
            client.udd_send(b"x", self.key())
        newest = self.client.udd_get(self.key())
        assert newest is not None, "leaving the block flushes"
        with self.assertRaises(copo.ClosedError):
            client.udd_send(b"y", self.key())

    def test_a_person_is_no_run(self) -> None:
        self.assertEqual(self.client.internal_name, "@test")
        self.assertIsNone(self.client.run)
        self.assertFalse(self.client.stop_requested())
        self.assertFalse(self.client.wait_stop(timeout=0.01))


class WithoutOrchestrator(unittest.TestCase):
    def test_connecting_fails_at_once(self) -> None:
        with self.assertRaises(copo.NoOrchestratorError) as refused:
            copo.connect("/nonexistent/copo/sock")
        self.assertEqual(refused.exception.code, copo.ErrorCode.NO_ORCHESTRATOR)
        self.assertIsInstance(refused.exception, ConnectionError)
        self.assertIsInstance(refused.exception, copo.Error)


if __name__ == "__main__":
    unittest.main()
