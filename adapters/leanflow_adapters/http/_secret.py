"""A text that does not show itself."""

from __future__ import annotations

from collections.abc import Callable

from leanflow.errors import InvalidRequest

__all__ = ["Secret"]


class Secret:
    """A secret text: ``reveal`` is the only way to see it, so that reprs, logs and dumps of attributes do not.

    Raises:
        InvalidRequest: it is empty, or it holds a character that cannot stand in an HTTP header.
    """

    __slots__ = ("_reveal",)

    def __init__(self, parameter: str, text: str) -> None:
        if not isinstance(text, str) or not text:
            raise InvalidRequest(parameter, "must be a text that is not empty")
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise InvalidRequest(parameter, "must be printable ASCII without spaces (is a line end stuck to it?)")
        # A closure, not an attribute: tools that walk slots and print what they find meet a function.
        self._reveal: Callable[[], str] = lambda: text

    def reveal(self) -> str:
        """Return the text. Put it on the wire, nowhere else."""
        return self._reveal()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled or copied")
