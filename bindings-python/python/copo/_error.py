"""What goes wrong, as exceptions: one base, and a class of its own for what a program is likely to handle."""

from __future__ import annotations

from typing import Any, Dict, Tuple, Type

from ._copo import ErrorCode


class Error(Exception):
    """What every call of this package raises; `code` is the same number in every language."""

    code: ErrorCode

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = ErrorCode(code)

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (int(self.code), str(self))


class NoOrchestratorError(Error, ConnectionError):
    """There is no orchestrator to talk to."""


class TimedOutError(Error, TimeoutError):
    """The time given for the call is over; nothing was undone."""


class WouldBlockError(Error, BlockingIOError):
    """The window of unacknowledged sends is full and the call was not to wait."""


class StoppingError(Error):
    """This run was asked to stop; iterators end instead of raising this."""


class FencedError(Error):
    """The run this client's token belongs to has ended: it can no longer write."""


class NoSpaceError(Error):
    """There is no room to store the record; the window is kept and sent again when there is."""


class ClosedError(Error):
    """The client or subscription is closed, or its connection ended before the answer came."""


class EndError(Error):
    """The subscription has given all it was asked for; iterators end instead of raising this."""


class ConflictError(Error):
    """What was asked collides with what is, such as expect_seq with the newest record of the key."""


class NotFoundError(Error, LookupError):
    """No process, group or record of that name."""


class InvalidArgumentError(Error, ValueError):
    """An argument is not usable."""


class InvalidKeyError(Error, ValueError):
    """The key is not of the form of a key, or the pattern not of that of a pattern."""


class TooLargeError(Error, ValueError):
    """The record is larger than the orchestrator takes."""


class UnauthorizedError(Error, PermissionError):
    """The peer is another user, or the token belongs to no run."""


class ForbiddenError(Error, PermissionError):
    """This run may not do that: it needs `control = true`."""


_CLASSES: Dict[int, Type[Error]] = {
    ErrorCode.NO_ORCHESTRATOR: NoOrchestratorError,
    ErrorCode.TIMED_OUT: TimedOutError,
    ErrorCode.WOULD_BLOCK: WouldBlockError,
    ErrorCode.STOPPING: StoppingError,
    ErrorCode.FENCED: FencedError,
    ErrorCode.NO_SPACE: NoSpaceError,
    ErrorCode.CLOSED: ClosedError,
    ErrorCode.END: EndError,
    ErrorCode.CONFLICT: ConflictError,
    ErrorCode.NOT_FOUND: NotFoundError,
    ErrorCode.INVALID_ARGUMENT: InvalidArgumentError,
    ErrorCode.INVALID_KEY: InvalidKeyError,
    ErrorCode.TOO_LARGE: TooLargeError,
    ErrorCode.UNAUTHORIZED: UnauthorizedError,
    ErrorCode.FORBIDDEN: ForbiddenError,
}


def of(code: int, message: str) -> Error:
    """The exception for an error of the SDK; the native module calls this."""
    return _CLASSES.get(code, Error)(code, message)
