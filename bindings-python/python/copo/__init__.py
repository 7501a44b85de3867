"""The Copo SDK for Python: take part in the shared context of a Copo application.

The functions of this module use a client that connects when it is first used, as the environment of a process that the
orchestrator started says (COPO_SOCKET, COPO_TOKEN), and that is flushed when Python exits; connect() makes a client of
your own. Everything that waits lets other threads run and hears Ctrl-C. copo.aio has the same for asyncio.

A run that has called stop_requested() or wait_stop() once is told by an event that it is to stop: iterators end, calls that
wait raise StoppingError, and the signal comes only after half of the grace. Any other gets the signal at once.

What a subscription gives is a Record, a Report (only when asked for), or a Gap: what could not be given, and why. Gaps are
never left out. Errors are copo.Error, with a code; the common ones have a class of their own.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from typing import TYPE_CHECKING, Optional

from ._copo import Client, ErrorCode, Facts, Gap, Record, Report, Subscription, __version__
from ._copo import connect as _connect
from ._copo import default_client as _default_client
from ._error import (
    ClosedError,
    ConflictError,
    EndError,
    Error,
    FencedError,
    ForbiddenError,
    InvalidArgumentError,
    InvalidKeyError,
    NoOrchestratorError,
    NoSpaceError,
    NotFoundError,
    StoppingError,
    TimedOutError,
    TooLargeError,
    UnauthorizedError,
    WouldBlockError,
)

if TYPE_CHECKING:
    import os
    from typing import Union

_default = _default_client()
_clients: weakref.WeakSet[Client] = weakref.WeakSet([_default])


def connect(
    socket: Optional[Union[str, os.PathLike[str]]] = None,
    *,
    token: Optional[str] = None,
    name: Optional[str] = None,
) -> Client:
    """Connect as the environment says, or to `socket`: with a run's token, or without one as the person `@name`.

    NoOrchestratorError, at once, when nobody listens there. What is still unacknowledged when Python exits is flushed.
    """
    client = _connect(socket, token=token, name=name)
    _clients.add(client)
    return client


# Bound methods, not functions that call them: the default client costs nothing over one of your own.
udd_send = _default.udd_send
try_udd_send = _default.try_udd_send
udd_send_sync = _default.udd_send_sync
flush = _default.flush
udd_get = _default.udd_get
udd_subscribe = _default.udd_subscribe
udd_headers = _default.udd_headers
udd_set_headers = _default.udd_set_headers
meta_report = _default.meta_report
try_meta_report = _default.try_meta_report
ready = _default.ready
stop_requested = _default.stop_requested
wait_stop = _default.wait_stop


@atexit.register
def _flush_at_exit() -> None:
    for client in list(_clients):
        try:
            client.close()
        except Error as error:
            if error.code != ErrorCode.CLOSED:
                print(f"copo: what was sent last may be lost: {error}", file=sys.stderr)


__all__ = [
    "Client",
    "ClosedError",
    "ConflictError",
    "EndError",
    "Error",
    "ErrorCode",
    "Facts",
    "FencedError",
    "ForbiddenError",
    "Gap",
    "InvalidArgumentError",
    "InvalidKeyError",
    "NoOrchestratorError",
    "NoSpaceError",
    "NotFoundError",
    "Record",
    "Report",
    "StoppingError",
    "Subscription",
    "TimedOutError",
    "TooLargeError",
    "UnauthorizedError",
    "WouldBlockError",
    "__version__",
    "connect",
    "flush",
    "meta_report",
    "ready",
    "stop_requested",
    "try_meta_report",
    "try_udd_send",
    "udd_get",
    "udd_headers",
    "udd_send",
    "udd_send_sync",
    "udd_set_headers",
    "udd_subscribe",
    "wait_stop",
]
