"""For people who run FastStream: webhooks in and announcements out over their broker. Needs the extra `faststream`."""

from __future__ import annotations

try:
    import faststream  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow_adapters.faststream needs the extra: pip install 'leanflow-openbanking[faststream]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow_adapters.faststream._plug import plug
from leanflow_adapters.faststream._publisher import FastStreamBus

__all__ = ["FastStreamBus", "plug"]
