"""Which countries there are."""

from __future__ import annotations

from ._ae import UAE
from ._country import Country
from ._sa import KSA

__all__ = ["country_of"]


def country_of(region: str) -> Country:
    """Return the country of a region, ``uae`` or ``ksa``."""
    return KSA if region == "ksa" else UAE
