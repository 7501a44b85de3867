"""Copo for asyncio: the same verbs, to be awaited; `async for item in copo.aio.udd_subscribe()`.

Nothing here blocks the event loop. The module's functions use the default client of `copo`; connect() makes one of your
own. A cancelled `async for` ends its subscription.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import threading
import weakref
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Deque, List, Optional, TypeVar, Union

import copo
from copo import Gap, Record, Report

if TYPE_CHECKING:
    import datetime
    import os
    from types import TracebackType
    from typing import Type

    from copo._copo import _BytesLike

T = TypeVar("T")
Item = Union[Record, Report, Gap]

_BATCH = 256  # Items that the reader hands over at once; two batches are the most there is between it and the loop.


class _Answer:
    """A callback for the SDK's thread that resolves a future of this loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def __call__(self, error: Optional[copo.Error], value: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(self._resolve, error, value)
        except RuntimeError:
            pass  # The loop is closed: nobody waits any more.

    def _resolve(self, error: Optional[copo.Error], value: Any) -> None:
        if self.future.done():
            return  # Cancelled meanwhile.
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)


class Client:
    """The client of `copo`, for one event loop at a time; `sync` is the client itself."""

    def __init__(self, sync: copo.Client) -> None:
        self.sync = sync
        self._stop: Optional[_Answer] = None
        self._asked = False

    async def udd_send(self, data: _BytesLike, key: str = "") -> None:
        """Send one record, pipelined; wait only while the window is full."""
        await self._with_room(lambda: self.sync.try_udd_send(data, key))

    async def udd_send_sync(self, data: _BytesLike, key: str = "") -> int:
        """Send one record, wait until it is stored, and return its seq."""
        answer = _Answer()
        await self._with_room(lambda: self.sync._udd_send_acked(data, key, answer))
        seq: int = await answer.future
        return seq

    async def meta_report(self, data: _BytesLike) -> None:
        """Send a report, pipelined; wait only while the window is full."""
        await self._with_room(lambda: self.sync.try_meta_report(data))

    async def flush(self) -> None:
        """Wait until all that was sent is acknowledged. Raises the first error of it."""
        answer = _Answer()
        self.sync._on_flushed(answer)
        await answer.future

    async def udd_get(self, key: Optional[str] = None) -> Optional[Record]:
        """The newest record of a key, or of all; None when there is none."""
        return await _in_thread(self.sync.udd_get, key)

    async def udd_headers(self) -> List[str]:
        """The headers: the names of the fields of a record."""
        return await _in_thread(self.sync.udd_headers)

    async def udd_set_headers(self, headers: List[str]) -> None:
        """Replace the headers."""
        await _in_thread(self.sync.udd_set_headers, headers)

    async def ready(self) -> None:
        """Tell that this run is ready."""
        await _in_thread(self.sync.ready)

    async def stop_requested(self) -> bool:
        """Was this run asked to stop?"""
        if self._asked:
            return self.sync.stop_requested()  # After the first time it only looks.
        requested = await _in_thread(self.sync.stop_requested)
        self._asked = True
        return requested

    async def wait_stop(self, timeout: Optional[float] = None) -> bool:
        """Wait until this run is asked to stop; False when `timeout` seconds are over first."""
        if self._stop is None or self._stop.loop is not asyncio.get_running_loop():
            answer = _Answer()
            await _in_thread(self.sync._on_stop, answer)
            self._stop = answer
        done, _ = await asyncio.wait([self._stop.future], timeout=timeout)
        return bool(done)

    def udd_subscribe(
        self,
        key_pattern: str = "",
        *,
        from_: Union[str, int, None] = None,
        since: Union[int, datetime.datetime, None] = None,
        log_id: Optional[bytes] = None,
        records: bool = True,
        reports: bool = False,
        to: Optional[int] = None,
        follow: bool = True,
    ) -> Subscription:
        """Follow the log: `async for item in …`, or `async with … as subscription` to be sure of its end."""

        def subscribe() -> copo.Subscription:
            return self.sync.udd_subscribe(
                key_pattern,
                from_=from_,
                since=since,
                log_id=log_id,
                records=records,
                reports=reports,
                to=to,
                follow=follow,
            )

        return Subscription(subscribe)

    async def close(self) -> None:
        """Flush and end the connection; raises the first error of what was sent."""
        await _in_thread(self.sync.close)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def _with_room(self, send: Callable[[], None]) -> None:
        while True:
            try:
                return send()
            except copo.WouldBlockError:
                room = _Answer()
                self.sync._on_window(room)
                await room.future


class Subscription(AsyncIterator[Item]):
    """An asynchronous iterator. A thread of its own reads ahead, at most two batches, and waits while nobody takes them."""

    def __init__(self, subscribe: Callable[[], copo.Subscription]) -> None:
        self._subscribe = subscribe
        self._reader: Optional[_Reader] = None
        self._taken: Deque[Item] = collections.deque()
        self._closed = False

    async def start(self) -> Subscription:
        """Subscribe now, not at the first item: what is sent from here on will be given."""
        if self._reader is None and not self._closed:
            # Shielded: when the wait is cancelled, the subscription made all the same must be ended.
            made = asyncio.ensure_future(_in_thread(self._subscribe))
            try:
                subscription = await asyncio.shield(made)
            except asyncio.CancelledError:
                self._closed = True
                made.add_done_callback(_close_if_made)
                raise
            self._reader = _Reader(subscription)
        return self

    async def __anext__(self) -> Item:
        if not self._taken:
            try:
                await self.start()
                if self._closed or self._reader is None:
                    raise StopAsyncIteration
                self._taken.extend(await self._reader.take())
            except asyncio.CancelledError:
                self.close()
                raise
            if not self._taken:
                self.close()
                raise StopAsyncIteration
        return self._taken.popleft()

    def close(self) -> None:
        """End it; whoever waits for the next item gets none."""
        self._closed = True
        if self._reader is not None:
            self._reader.stop()

    async def aclose(self) -> None:
        """End it."""
        self.close()

    async def __aenter__(self) -> Subscription:
        return await self.start()

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._reader is not None:
            self._reader.stop()


class _Reader:
    """The thread that reads a subscription: batch by batch, no further ahead than there are slots."""

    def __init__(self, subscription: copo.Subscription) -> None:
        self._subscription = subscription
        self._loop = asyncio.get_running_loop()
        self._batches: asyncio.Queue[Union[List[Item], copo.Error]] = asyncio.Queue()
        self._slots = threading.Semaphore(2)
        self._stopped = False
        # A daemon, so that it never keeps Python from exiting; it is stopped and joined before Python goes down.
        self._thread = threading.Thread(target=self._read, name="copo-reader", daemon=True)
        _readers.add(self)
        self._thread.start()

    def _read(self) -> None:
        batch: Union[List[Item], copo.Error, None] = None
        while batch is None or (isinstance(batch, list) and batch):
            self._slots.acquire()
            try:
                batch = [] if self._stopped else self._subscription._next_batch(_BATCH)
            except copo.Error as error:
                batch = error
            try:
                self._loop.call_soon_threadsafe(self._batches.put_nowait, batch)
            except RuntimeError:
                return  # The loop is closed: nobody reads any more.

    async def take(self) -> List[Item]:
        """The next batch; [] at the end."""
        if self._stopped and self._batches.empty():
            return []
        batch = await self._batches.get()
        self._slots.release()
        if isinstance(batch, list):
            return batch
        self.stop()
        raise batch

    def stop(self) -> None:
        self._stopped = True
        self._subscription.close()
        self._slots.release()

    def join(self) -> None:
        self._thread.join(timeout=1)


def _close_if_made(made: asyncio.Future[copo.Subscription]) -> None:
    if not made.cancelled() and made.exception() is None:
        made.result().close()


async def _in_thread(call: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)


_readers: weakref.WeakSet[_Reader] = weakref.WeakSet()


@atexit.register
def _stop_readers() -> None:
    readers = list(_readers)
    for reader in readers:
        reader.stop()
    for reader in readers:
        reader.join()


async def connect(
    socket: Optional[Union[str, os.PathLike[str]]] = None,
    *,
    token: Optional[str] = None,
    name: Optional[str] = None,
) -> Client:
    """Connect as the environment says, or to `socket`; as `copo.connect`."""
    return Client(await _in_thread(lambda: copo.connect(socket, token=token, name=name)))


_default = Client(copo._default)

udd_send = _default.udd_send
udd_send_sync = _default.udd_send_sync
flush = _default.flush
udd_get = _default.udd_get
udd_subscribe = _default.udd_subscribe
udd_headers = _default.udd_headers
udd_set_headers = _default.udd_set_headers
meta_report = _default.meta_report
ready = _default.ready
stop_requested = _default.stop_requested
wait_stop = _default.wait_stop

__all__ = [
    "Client",
    "Subscription",
    "connect",
    "flush",
    "meta_report",
    "ready",
    "stop_requested",
    "udd_get",
    "udd_headers",
    "udd_send",
    "udd_send_sync",
    "udd_set_headers",
    "udd_subscribe",
    "wait_stop",
]
