"""AsyncAPI's own JSON Schema of its documents, to judge ours by.

It is ``schemas/3.0.0-without-$id.json`` of the npm package ``@asyncapi/specs`` 6.11.1, by the AsyncAPI Initiative,
under the Apache License 2.0; only its spaces were taken out.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

__all__ = ["asyncapi_schema"]


def asyncapi_schema() -> dict[str, Any]:
    """Return the schema of AsyncAPI 3.0.0 documents."""
    packed = Path(__file__).with_name("asyncapi-3.0.0.json.gz").read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(packed))
    return found
