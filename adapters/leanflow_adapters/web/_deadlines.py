"""Deadlines for code that blocks: at its time the socket it reads from is told to give no more.

WSGI has no timeouts, and a socket's own counts anew with each byte: who sends one in a while would hold a thread for
ever. One thread watches for all of them, as long as there are some.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

__all__ = ["Deadline", "Deadlines"]

_LINGERS = 30.0  # seconds that the thread waits for more: starting one costs more than all else here


@attrs.define(eq=False)
class Deadline:
    """One of them. `passed`: it came before the work was done."""

    socket: socket.socket
    at: float
    passed: bool = False
    done: bool = False

    def strike(self) -> None:
        """Have whoever reads find the end of what there is to read."""
        if self.done:
            return
        self.passed = True
        with suppress(OSError):  # TLS's own shutdown would turn what is answered into plain text
            socket.socket.shutdown(self.socket, socket.SHUT_RD)


class Deadlines:
    """All deadlines of one endpoint: each is so many seconds from its beginning. For any number of threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._set: deque[Deadline] = deque()  # all have the same length, so the first is due first
        self._watched = False

    @contextmanager
    def over(self, sock: socket.socket | None) -> Iterator[Deadline | None]:
        """Set a deadline for the block; None where there is no socket to close."""
        if sock is None:
            yield None
            return
        if self._pid != os.getpid():  # forked: the thread stayed behind, and perhaps the lock with it
            self._begin()
        deadline = Deadline(sock, time.monotonic() + self._seconds)
        with self._changed:
            self._set.append(deadline)
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, name="leanflow deadlines", daemon=True).start()
            elif len(self._set) == 1:
                self._changed.notify()
        try:
            yield deadline
        finally:
            with self._changed:  # not struck afterwards: the connection may go on to the next webhook
                deadline.done = True
                while self._set and self._set[0].done:
                    self._set.popleft()

    def _watch(self) -> None:
        with self._changed:
            while self._set or self._changed.wait(_LINGERS):
                while self._set and (self._set[0].done or self._set[0].at <= time.monotonic()):
                    self._set.popleft().strike()
                if self._set:
                    self._changed.wait(self._set[0].at - time.monotonic())
            self._watched = False
