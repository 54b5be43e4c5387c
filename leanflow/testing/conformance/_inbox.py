"""What webhooks end in, in the tests of bindings: it says what an engine says, and remembers what it was handed."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from leanflow._call import Reply
from leanflow._lean.signature import find_header, verify

__all__ = ["SECRET", "Inbox"]

SECRET = "the webhook secret of the suite"  # noqa: S105 - of this suite alone


class _Blocking:
    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def receive(self, headers: Mapping[str, str], raw_body: bytes) -> Reply:
        """Take one webhook, as `leanflow.blocking.LeanFlow.receive` does."""
        return self._inbox.take(headers, raw_body)


@attrs.define
class Inbox:
    """Stands for the engine behind a binding: verifies, takes, answers.

    Attributes:
        taken: the bodies of all webhooks that were signed, in the order of their arrival.
        refused: the bodies that were not.
        is_down: as if the store could not commit: what is signed is answered 503 and not taken.
        reply: what is answered instead, if it is set.
        fault: what is raised instead, if it is set.
    """

    taken: list[bytes] = attrs.field(factory=list)
    refused: list[bytes] = attrs.field(factory=list)
    is_down: bool = False
    reply: Reply | None = None
    fault: Exception | None = None

    @property
    def blocking(self) -> _Blocking:
        """The same for bindings of frameworks that block: its `receive` is no coroutine."""
        return _Blocking(self)

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Take one webhook, as `LeanFlow.receive` does."""
        return self.take(headers, raw_body)

    def take(self, headers: Mapping[str, str], raw_body: bytes) -> Reply:
        """Take one webhook.

        Raises:
            TypeError: it was handed anything but bytes: a text was decoded, and may not be what was signed.
        """
        if not isinstance(raw_body, bytes):
            msg = f"raw_body must be bytes, and is {type(raw_body).__name__}"
            raise TypeError(msg)
        if self.fault is not None:
            raise self.fault
        if not verify(raw_body, find_header(headers), SECRET):
            self.refused.append(raw_body)
            return Reply(status=401, body=b"bad signature")
        if self.is_down:
            return Reply(status=503, body=b"try again", retry=True)
        self.taken.append(raw_body)
        return Reply(status=200, body=b"ok") if self.reply is None else self.reply
