"""What the hosted page of the Link SDK asks over HTTP. These paths are Mockbank's own: Lean's are not public."""

from __future__ import annotations

from leanflow._call import Answer
from leanflow.errors import InvalidRequest
from leanflow.mockbank.link._screens import answer_link, open_link

from ._answers import Refused
from ._ask import Ask

__all__ = ["link_opened", "link_step"]


def link_opened(ask: Ask) -> Answer:
    """Answer ``POST /link/visits`` with ``{"method", "parameters"}``: Mockbank's own, for its hosted page."""
    method, given = ask.body.get("method"), ask.body.get("parameters")
    if not isinstance(method, str) or not isinstance(given, dict):
        raise Refused(status=400, code="INVALID_PARAMETERS", message="method must be a text, parameters an object.")
    return ask.write.json(open_link(ask.world, method, given, ask.now).to_dict())


def link_step(ask: Ask) -> Answer:
    """Answer ``POST /link/visits/{link_id}/{step}`` with what the user chose or typed."""
    if ask.path["link_id"] not in ask.world.links:
        raise Refused(status=404, code="UNKNOWN_LINK", message="There is no such visit.")
    try:
        view = answer_link(ask.world, ask.path["link_id"], ask.path["step"], ask.body, ask.now)
    except InvalidRequest as error:
        raise Refused(status=400, code="INVALID_PARAMETERS", message=str(error)) from None
    return ask.write.json(view.to_dict())
