"""Many stored requests at once: by SQL, in the order of ids, with what belongs to each."""

from __future__ import annotations

from datetime import UTC, datetime

from benchmarks._fill import SCOPE, waiting
from benchmarks._floor import EVENT, RECORD
from benchmarks._postgres import bulk, do
from leanflow_adapters._records import record_of, scope_number

__all__ = ["fill", "fill_floor", "make_due"]

ENDED = 0.9  # of those stored
_NUMBERS = """SELECT n, n <= {ended} AS over, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id,
    timestamptz '2026-01-01' + interval '1 ms' * n AS at FROM generate_series(1, {count}) AS n"""

# One history row, one inbox row and one id for each request, and a page for those that ended.
_OURS = (
    """INSERT INTO requests (id, scope, state, version, call_no, due_at, ended_at, created_at, updated_at, resource,
        entity_id, fingerprint, record)
    SELECT id, {scope}, CASE WHEN over THEN 'fetched' ELSE 'awaiting_user' END, 5, 2,
        CASE WHEN NOT over THEN timestamptz '2036-01-01' + interval '1 ms' * n END, CASE WHEN over THEN at END, at, at,
        'accounts', 'old' || n, 'old' || n, replace('{record}', '{first}', id::text) FROM ({numbers}) AS numbers""",
    """INSERT INTO history (request_id, version, key, at, tag, to_state, event)
    SELECT id, 5, 'event:' || id, created_at, 'x', 'fetched', '{event}' FROM requests""",
    "INSERT INTO inbox SELECT scope, 'event:' || id, 'x', created_at FROM requests",
    "INSERT INTO ids SELECT scope, 'results', 'old-' || id, id FROM requests",
)
_FLOOR = (
    """INSERT INTO requests SELECT id, CASE WHEN over THEN 'fetched' ELSE 'awaiting_user' END, 5,
        CASE WHEN NOT over THEN timestamptz '2036-01-01' + interval '1 ms' * n END, 'old' || n,
        CASE WHEN NOT over THEN 'old' || n END, '{record}' FROM ({numbers}) AS numbers""",
    "INSERT INTO history SELECT id, 5, 'event:' || id, now(), 'fetched', '{event}' FROM requests",
    "INSERT INTO inbox SELECT 'event:' || id, now() FROM requests",
    "INSERT INTO ids SELECT 'old-' || id, id FROM requests",
)


async def fill(schema: str, count: int, ended: float = ENDED) -> None:
    """Store so many requests in leanflow's tables, that share of them ended, the others due in ten years."""
    first = waiting(0, datetime(2036, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    words = {"record": record_of(first), "first": first.id, "scope": scope_number(SCOPE), "event": EVENT}
    await bulk(schema, _spelled(_OURS, count, ended, words))


async def fill_floor(schema: str, count: int, ended: float = ENDED) -> None:
    """Store so many in the floor's."""
    await bulk(schema, _spelled(_FLOOR, count, ended, {"record": RECORD, "event": EVENT}))


def _spelled(statements: tuple[str, ...], count: int, ended: float, words: dict[str, object]) -> list[str]:
    numbers = _NUMBERS.format(ended=int(count * ended), count=count)
    return [sql.format(numbers=numbers, **words) for sql in statements]


async def make_due(schema: str, count: int) -> None:
    """Make so many of those that wait due, spread among the others, as time does."""
    await do(
        f"""UPDATE "{schema}".requests SET due_at = now() - interval '1 hour' WHERE id IN (
        SELECT id FROM "{schema}".requests WHERE due_at > now() ORDER BY md5(id::text) LIMIT $1)""",  # noqa: S608
        count,
    )
    await do(f'ANALYZE "{schema}".requests')
    await do("CHECKPOINT")
