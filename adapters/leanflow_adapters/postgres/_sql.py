"""The statements, each one round trip. ``"leanflow".`` stands for the store's own schema.

`moment` is the database's own time, or the one that is handed in where the engine's clock is to rule.
"""

from __future__ import annotations

from typing import Any

from leanflow._request import Scope
from leanflow.ports import Part, Query
from leanflow_adapters._records import sought
from leanflow_adapters.postgres._connection import Write
from leanflow_adapters.postgres._rows import row_id, scope_number, text

__all__ = [
    "BODIES", "BRING_BACK", "BURIED", "BURY", "CLAIM", "CLAIM_OUTBOX", "COUNTS", "DELIVER", "EARLY",
    "ERASE", "FAIL_DELIVERY", "HISTORY", "LAG", "LOAD", "LOAD_MANY", "MARK", "NEXT_DUE", "NOW", "ORPHAN", "ORPHAN_TOLD",
    "OUTBOX", "OWNERS", "OWNERS_MANY", "PAGES", "PARKED", "PARKED_DUE", "PRUNE_INBOX", "PRUNE_STONES", "PURGE",
    "PURGE_PAGES", "RECALL", "REGISTER", "RELEASE", "REMEMBER", "RENEW", "REPARK", "REWRITE", "SCOPE", "SEEN", "TALLY",
    "UNDER_WAY", "UNREGISTER", "find",
]  # fmt: skip

NOW = "SELECT clock_timestamp()"

# --- looking -----------------------------------------------------------------------------------------------------

LOAD = 'SELECT record, call_no FROM "leanflow".requests WHERE scope = $1 AND id = $2'
LOAD_MANY = 'SELECT id, scope, record, call_no FROM "leanflow".requests WHERE id = ANY ($1::uuid[])'
SEEN = 'SELECT 1 FROM "leanflow".inbox WHERE scope = $1 AND key = $2'
BURIED = 'SELECT at FROM "leanflow".tombstones WHERE scope = $1 AND digest = $2'
OWNERS = """SELECT r.record, r.call_no FROM "leanflow".ids i JOIN "leanflow".requests r ON r.id = i.request_id
    WHERE i.scope = $1 AND i.kind = $2 AND i.value = $3 ORDER BY i.request_id"""
OWNERS_MANY = """SELECT n.number, r.record, r.call_no
    FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY n (scope, kind, value, number)
    JOIN "leanflow".ids i ON i.scope = n.scope AND i.kind = n.kind AND i.value = n.value
    JOIN "leanflow".requests r ON r.id = i.request_id ORDER BY n.number, i.request_id"""
HISTORY = """SELECT h.request_id, h.version, h.key, h.at, h.tag, h.trigger, h.from_state, h.to_state, h.declined,
    h.event FROM "leanflow".history h JOIN "leanflow".requests r ON r.id = h.request_id
    WHERE r.scope = $1 AND r.id = $2 ORDER BY h.number"""
PAGES = """SELECT p.page, p.correlation_id, p.refreshed_at, p.raw
    FROM "leanflow".pages p JOIN "leanflow".requests r ON r.id = p.request_id
    WHERE r.scope = $1 AND r.id = $2 AND p.page >= $3 ORDER BY p.page LIMIT $4"""
_PARKED = """SELECT key, tag, at, kind, value, request_id, due_at, expires_at, tries, raw FROM "leanflow".parked
    WHERE scope = $1"""
PARKED = f"{_PARKED} AND kind = $2 AND value = $3 ORDER BY at, number"
EARLY = f"{_PARKED} AND request_id = $2 ORDER BY at, number"
PARKED_DUE = f"{_PARKED} AND offered_at <= $2 ORDER BY at, number LIMIT $3"
COUNTS = 'SELECT state, count(*) FROM "leanflow".requests WHERE scope = $1 GROUP BY state'


def find(scope: Scope, query: Query) -> tuple[str, list[Any]]:
    """Spell out a query: only columns' names are put together, every value is bound."""
    terms, bound = ["scope = $1"], [scope_number(scope)]

    def add(term: str, value: Any) -> None:
        bound.append(value)
        terms.append(term.format(f"${len(bound)}"))

    for column, value in sought(query).items():
        add(f"{column} = {{}}", text(value))
    if query.states is not None:
        add("state = ANY ({}::text[])", sorted(state.value for state in query.states))
        if all(not state.is_end for state in query.states):
            terms.append("ended_at IS NULL")
    if query.older_than is not None:
        add("created_at < {}", query.older_than)
    if query.after is not None:
        # Ids are in the order of their text. What is no id cannot be compared as one: as text it can.
        after = row_id(query.after)
        add("id > {}", after) if after is not None else add("id::text > {}", text(query.after))
    bound.append(query.limit)
    return (
        f'SELECT record, call_no FROM "leanflow".requests WHERE {" AND ".join(terms)} ORDER BY id LIMIT ${len(bound)}',  # noqa: S608
        bound,
    )


# --- leases ------------------------------------------------------------------------------------------------------

# Claiming, renewing and releasing write columns that no index holds: Postgres then writes the row alone, beside its old
# version, and none of the indexes (HOT).
# A plan that is kept does not know the limit: without the arrays it would join all requests with the few that are due.
CLAIM = Write(
    "postgres.after_claim",
    """WITH moment AS MATERIALIZED (SELECT coalesce($2::timestamptz, clock_timestamp()) AS now),
    due AS (
        SELECT id, owner FROM "leanflow".requests
        WHERE scope = $1 AND due_at IS NOT NULL AND due_at <= (SELECT now FROM moment)
        AND state = ANY ($6::text[]) AND resource = ANY ($7::text[]) -- others are a newer version's
        AND (owner IS NULL OR lease_until IS NULL OR lease_until <= (SELECT now FROM moment))
        ORDER BY due_at LIMIT $5 FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE "leanflow".requests r SET call_no = r.call_no + 1, owner = $3, lease_until = moment.now + $4::interval
    FROM due, moment WHERE r.id = due.id AND r.id = ANY (ARRAY(SELECT id FROM due))
    RETURNING r.id, r.due_at, r.record, r.call_no, moment.now, due.owner IS NOT NULL AS taken_over""",
)
RENEW = Write(
    "postgres.after_renew",
    """UPDATE "leanflow".requests
    SET lease_until = greatest(lease_until, coalesce($3::timestamptz, clock_timestamp()) + $5::interval)
    WHERE scope = $1 AND id = $2 AND owner = $4 RETURNING 1""",
)
RELEASE = Write(
    "postgres.after_release",
    """UPDATE "leanflow".requests SET owner = NULL, lease_until = NULL
    WHERE scope = $1 AND id = $2 AND owner = $3""",
)
# What is due after the first that nobody has cannot be the next. The lower bound says to Postgres, which knows neither,
# that few lie between.
NEXT_DUE = """WITH free AS MATERIALIZED (
    SELECT due_at FROM "leanflow".requests WHERE scope = $1 AND due_at IS NOT NULL AND owner IS NULL
        ORDER BY due_at LIMIT 1)
SELECT least(
    (SELECT due_at FROM free),
    (SELECT min(greatest(due_at, lease_until)) FROM "leanflow".requests WHERE scope = $1 AND owner IS NOT NULL
        AND due_at >= '-infinity' AND due_at < coalesce((SELECT due_at FROM free), 'infinity')),
    (SELECT min(offered_at) FROM "leanflow".parked WHERE scope = $1),
    (SELECT min(first.due_at) FROM (
            SELECT name FROM "leanflow".sinks WHERE scope = $1 UNION ALL SELECT 'wake') AS names,
        LATERAL (SELECT o.due_at FROM "leanflow".outbox o WHERE o.scope = $1 AND o.sink = names.name
            AND o.behind IS NULL AND NOT o.set_aside ORDER BY o.due_at LIMIT 1) AS first)) AS due"""

# --- parked events -----------------------------------------------------------------------------------------------

REPARK = Write(
    "postgres.after_repark",
    """UPDATE "leanflow".parked SET tries = tries + 1, due_at = $3, offered_at = least($3, expires_at)
    WHERE scope = $1 AND key = $2""",
)
# The announcements of an orphan come in the same statement's arrays; what is not parked any more announces nothing.
ORPHAN = Write(
    "postgres.after_orphan",
    """WITH gone AS (DELETE FROM "leanflow".parked WHERE scope = $1 AND key = $2 RETURNING key, tag, at,
        request_id),
    seen AS (INSERT INTO "leanflow".inbox (scope, key, tag, at) SELECT $1, key, tag, at FROM gone
        ON CONFLICT DO NOTHING)
    SELECT at, request_id FROM gone""",
)
ORPHAN_TOLD = Write("postgres.after_orphan_told", 'SELECT "leanflow".announce($1, $2, $3, $4, $5, $6, $7, $8, $9)')

# --- announcements -----------------------------------------------------------------------------------------------

# Every engine begins with this, outside the application's transactions: a first request in one of them would otherwise
# keep all others of its scope waiting.
SCOPE = Write(
    "postgres.after_register",
    'INSERT INTO "leanflow".scopes (scope, app, environment, region) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
)
REGISTER = Write(
    "postgres.after_register",
    """INSERT INTO "leanflow".sinks (scope, name, states, resources, webhooks, reports)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (scope, name)
    DO UPDATE SET states = $3, resources = $4, webhooks = $5, reports = $6""",
)
UNREGISTER = Write(
    "postgres.after_unregister",
    """WITH forgotten AS (DELETE FROM "leanflow".sinks WHERE scope = $1 AND name = $2 RETURNING 1),
    dropped AS (DELETE FROM "leanflow".outbox WHERE number = ANY (ARRAY(
        SELECT number FROM "leanflow".outbox WHERE scope = $1 AND sink = $2 ORDER BY sink, key LIMIT $3)) RETURNING 1)
    SELECT (SELECT count(*) FROM forgotten) AS known, (SELECT count(*) FROM dropped) AS dropped""",
)
# Who may have looked at the sinks before one was forgotten: transactions that had begun to write by then.
MARK = "SELECT pg_current_xact_id()::text::bigint AS mark"
UNDER_WAY = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint < $1 AS under_way"
_SKIPPED = """here.ordered AND EXISTS (SELECT FROM "leanflow".outbox e WHERE e.about = here.about
    AND e.sink = here.sink AND e.ordered AND e.set_aside AND e.number < here.number)"""
_COLUMNS = f"""here.number, here.key, here.sink, here.kind, here.about, here.ordered, here.payload, here.tries,
    here.set_aside, here.due_at, here.error, {_SKIPPED} AS skipped"""
CLAIM_OUTBOX = Write(
    "postgres.after_outbox_claim",
    f"""WITH moment AS MATERIALIZED (SELECT coalesce($2::timestamptz, clock_timestamp()) AS now),
    ready AS (
        SELECT o.number, o.due_at FROM unnest($3::text[]) AS names (name), LATERAL (
            SELECT number, due_at FROM "leanflow".outbox WHERE scope = $1 AND sink = names.name
            AND behind IS NULL AND NOT set_aside AND due_at <= (SELECT now FROM moment)
            ORDER BY due_at, number LIMIT $6 FOR NO KEY UPDATE SKIP LOCKED) AS o
        ORDER BY o.due_at, o.number LIMIT $6)
    UPDATE "leanflow".outbox AS here SET due_at = moment.now + $5::interval, owner = $4 FROM ready, moment
    WHERE here.number = ready.number AND here.number = ANY (ARRAY(SELECT number FROM ready))
    RETURNING {_COLUMNS.replace("here.due_at", "ready.due_at AS due_at")}""",  # noqa: S608
)
DELIVER = Write("postgres.after_deliver", 'SELECT key, sink FROM "leanflow".deliver($1, $2, $3, $4)')
FAIL_DELIVERY = Write("postgres.after_undelivered", 'SELECT "leanflow".fail_delivery($1, $2, $3, $4, $5, $6, $7)')
BRING_BACK = Write("postgres.after_redeliver", 'SELECT "leanflow".bring_back($1, $2, $3, $4) AS back')
OUTBOX = {
    set_aside: f"""SELECT {_COLUMNS} FROM "leanflow".outbox here
        WHERE scope = $1{term} ORDER BY number LIMIT $2"""  # noqa: S608
    for set_aside, term in ((None, ""), (True, " AND set_aside"), (False, " AND NOT set_aside"))
}
LAG = """SELECT names.name, coalesce(n.waiting, 0) AS waiting, coalesce(n.aside, 0) AS aside, n.oldest
    FROM (SELECT name FROM "leanflow".sinks WHERE scope = $1 UNION SELECT 'wake'
        UNION SELECT sink FROM "leanflow".outbox WHERE scope = $1) AS names
    LEFT JOIN (SELECT sink, count(*) FILTER (WHERE NOT set_aside) AS waiting,
            count(*) FILTER (WHERE set_aside) AS aside, min(at) FILTER (WHERE NOT set_aside) AS oldest
        FROM "leanflow".outbox WHERE scope = $1 GROUP BY sink) AS n ON n.sink = names.name
    ORDER BY names.name"""

# --- upkeep ------------------------------------------------------------------------------------------------------

REMEMBER = Write(
    "postgres.after_remember",
    """INSERT INTO "leanflow".notes (scope, name, value) VALUES ($1, $2, $3)
    ON CONFLICT (scope, name) DO UPDATE SET value = $3""",
)
RECALL = 'SELECT value FROM "leanflow".notes WHERE scope = $1 AND name = $2'
TALLY = Write(
    "postgres.after_tally",
    """INSERT INTO "leanflow".notes AS n (scope, name, value) VALUES ($1, $2, $3::text)
    ON CONFLICT (scope, name) DO UPDATE SET value = n.value::bigint + $3::text::bigint RETURNING value""",
)
# What ended before `since` was looked at by the slice before: none goes through what others have passed over.
PURGE = Write(
    "postgres.after_purge",
    """WITH old AS MATERIALIZED (
        SELECT id, ended_at FROM "leanflow".requests WHERE scope = $1 AND ended_at IS NOT NULL AND ended_at < $2
        AND ($3::text[] IS NULL OR state = ANY ($3)) AND ended_at >= $6 ORDER BY ended_at LIMIT $4
        FOR UPDATE SKIP LOCKED)
    SELECT b.requests AS gone, (SELECT max(ended_at) FROM old) AS since
    FROM "leanflow".bury($1, ARRAY(SELECT id FROM old), $5, false) AS b""",
)
PURGE_PAGES = Write(
    "postgres.after_purge_pages",
    """WITH old AS MATERIALIZED (
        SELECT DISTINCT p.request_id FROM "leanflow".pages p JOIN "leanflow".requests r ON r.id = p.request_id
        WHERE r.scope = $1 AND r.ended_at < $2 AND p.request_id > $3 AND r.id > $3 ORDER BY p.request_id LIMIT $4),
    gone AS (DELETE FROM "leanflow".pages p USING old WHERE p.request_id = old.request_id)
    SELECT request_id FROM old ORDER BY request_id""",
)
ERASE = Write("postgres.after_erase", 'SELECT * FROM "leanflow".bury($1, ARRAY[$2::uuid], $3, true)')
BURY = Write(
    "postgres.after_bury",
    """INSERT INTO "leanflow".tombstones (scope, digest, at) VALUES ($1, $2, $3)
    ON CONFLICT (scope, digest) DO UPDATE SET at = $3""",
)
PRUNE_INBOX = Write(
    "postgres.after_prune",
    """WITH gone AS (DELETE FROM "leanflow".inbox WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM "leanflow".inbox WHERE scope = $1 AND at < $2 LIMIT $3 FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) AS gone FROM gone""",
)
PRUNE_STONES = Write(
    "postgres.after_prune_stones",
    """WITH gone AS (DELETE FROM "leanflow".tombstones WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM "leanflow".tombstones WHERE scope = $1 AND at < $2 LIMIT $3 FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) AS gone FROM gone""",
)

# --- bodies ------------------------------------------------------------------------------------------------------

# A page's place ends in its number with zeros before it. Texts are compared by their bytes, as places are. The start is
# said outright, of both tables: a plan that is kept, or that joins, would go through all that lies before it.
BODIES = {
    Part.pages: """SELECT p.request_id::text AS first, lpad(p.page::text, 6, '0') AS second, 'page' AS tag, p.raw
        FROM "leanflow".pages p JOIN "leanflow".requests r ON r.id = p.request_id
        WHERE r.scope = $1 AND (p.request_id, p.page) > ($2::text::uuid, $3::text::integer) AND r.id >= $2::text::uuid
        ORDER BY p.request_id, p.page LIMIT $4""",
    Part.parked: """SELECT key AS first, '' AS second, tag, raw FROM "leanflow".parked
        WHERE scope = $1 AND key > $2 AND $3::text IS NOT NULL ORDER BY key LIMIT $4""",
    Part.announcements: """SELECT key AS first, sink AS second, kind AS tag, convert_to(payload, 'UTF8') AS raw
        FROM "leanflow".outbox WHERE scope = $1 AND (sink, key) > ($3::text, $2::text) ORDER BY sink, key LIMIT $4""",
}
# Many at once pass over what somebody has locked: that one is then written alone, by whoever holds nothing meanwhile.
REWRITE_PAGES = Write(
    "postgres.after_rewrite",
    """WITH here AS MATERIALIZED (
        SELECT n.number, p.ctid AS place, n.content
        FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[])
            WITH ORDINALITY AS n (first, second, stored, content, number),
        LATERAL (SELECT id FROM "leanflow".requests r WHERE r.scope = $1 AND r.id = n.first::uuid) AS r,
        LATERAL (SELECT ctid FROM "leanflow".pages p
            WHERE p.request_id = r.id AND p.page = n.second::integer AND p.raw = n.stored
            FOR NO KEY UPDATE SKIP LOCKED) AS p)
    UPDATE "leanflow".pages p SET raw = here.content FROM here WHERE p.ctid = here.place
    RETURNING here.number""",
)
REWRITE = {
    Part.pages: Write(
        "postgres.after_rewrite",
        """UPDATE "leanflow".pages p SET raw = $5 FROM "leanflow".requests r
        WHERE r.scope = $1 AND r.id = $2::text::uuid AND p.request_id = r.id AND p.page = $3::text::integer
        AND p.raw = $4 RETURNING 1""",
    ),
    Part.parked: Write(
        "postgres.after_rewrite",
        """UPDATE "leanflow".parked SET raw = $5 WHERE scope = $1 AND key = $2 AND $3 = '' AND raw = $4
        RETURNING 1""",
    ),
    Part.announcements: Write(
        "postgres.after_rewrite",
        """UPDATE "leanflow".outbox SET payload = convert_from($5, 'UTF8')
        WHERE scope = $1 AND key = $2 AND sink = $3 AND payload = convert_from($4, 'UTF8') RETURNING 1""",
    ),
}
