"""Inside a run: the module's own functions, readiness, stopping, what is flushed at exit."""

from __future__ import annotations

import unittest

import copo
from harness import DEADLINE, Application

ECHO = """
import copo

assert not copo.stop_requested()  # From here on a stop is told by event, and the signal comes only later.
copo.ready()
for item in copo.udd_subscribe("ask/**", from_="first"):
    copo.udd_send(item.udd_buff.upper(), "answer")
copo.meta_report("the iterator has ended")
assert copo.wait_stop(timeout=10) and copo.stop_requested()
copo.udd_send("sent last, flushed at exit", "last")
"""

ECHO_ASYNC = """
import asyncio
import copo.aio

async def main():
    assert not await copo.aio.stop_requested()
    await copo.aio.ready()
    async for item in copo.aio.udd_subscribe("ask/**", from_="first"):
        await copo.aio.udd_send(item.udd_buff.upper(), "answer")
    assert await copo.aio.wait_stop(timeout=10)
    await copo.aio.udd_send("sent last, flushed at exit", "last")

asyncio.run(main())
"""

FORK = """
import os
import copo

copo.udd_send("parent", "who")
copo.flush()
child = os.fork()
if child == 0:
    copo.udd_send_sync("child", "who")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
copo.udd_send_sync("parent again", "who")
"""


class InARun(unittest.TestCase):
    def answers(self, program: str) -> None:
        with Application(echo=program) as app, app.connect() as client:
            app.run("wait", "echo", "--for", "ready", "--timeout", "20")
            with client.udd_subscribe("answer", from_="first") as answers:
                client.udd_send("hello", "ask/1")
                answer = answers.next(timeout=DEADLINE)
            assert isinstance(answer, copo.Record)
            self.assertEqual((answer.sent_by, answer.udd_buff), ("echo-1", b"HELLO"))

            app.run("stop", "echo")
            last = client.udd_get("last")
            assert last is not None, app.log()
            self.assertEqual(last.udd_buff, b"sent last, flushed at exit")
            reports = client.udd_subscribe(records=False, reports=True, from_="first", follow=False)
            facts = [item.facts for item in reports if isinstance(item, copo.Report) and item.facts]
            exits = [fact.exit_code for fact in facts if fact.event == "exited" and fact.process == "echo"]
            self.assertEqual(exits, [0], app.log())

    def test_a_worker_answers_until_it_is_asked_to_stop(self) -> None:
        self.answers(ECHO)

    def test_an_asynchronous_worker_does_too(self) -> None:
        self.answers(ECHO_ASYNC)

    @unittest.skipUnless(hasattr(__import__("os"), "fork"), "there is no fork here")
    def test_a_forked_child_is_a_client_of_its_own(self) -> None:
        with Application(fork=FORK) as app, app.connect() as client:
            app.run("wait", "fork", "--for", "finished", "--timeout", "20")
            got = [item.udd_buff for item in client.udd_subscribe("who", from_="first", follow=False) if isinstance(item, copo.Record)]
            self.assertEqual(got, [b"parent", b"child", b"parent again"], app.log())


if __name__ == "__main__":
    unittest.main()
