-- leanflow's tables. The schema's name stands as "leanflow" here and is replaced by the store's own.
-- Times are Lean's or the engine's, UTC. `scope` is a digest of application, environment and region, spelled out in
-- `scopes`. Records are JSON text, read and written whole; what is searched for has a column of its own.

CREATE TABLE "leanflow".scopes (
    scope bigint PRIMARY KEY, app text NOT NULL, environment text NOT NULL, region text NOT NULL
);

CREATE TABLE "leanflow".requests (
    id          uuid PRIMARY KEY,
    scope       bigint NOT NULL,
    state       text NOT NULL,
    version     integer NOT NULL,
    call_no     integer NOT NULL,
    owner       text,
    lease_until timestamptz,
    due_at      timestamptz,
    ended_at    timestamptz,
    held        text,
    failure     text,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    resource    text NOT NULL,
    entity_id   text NOT NULL,
    customer_id text,
    reference   text,
    fingerprint text,
    record      text NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- The sweep's index holds what is due some day, that of fingerprints what is live: ended requests are in neither. No
-- index has call_no, owner or lease_until: claiming and renewing then write to none of them.
-- On a database that has not been analysed yet all indexes that a condition on the scope can use cost the same, and
-- Postgres takes the one that was made last. So the columns that tell requests apart come first, and those indexes last.
CREATE INDEX requests_scope ON "leanflow".requests (scope, id);
CREATE INDEX requests_ended ON "leanflow".requests (scope, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX requests_due ON "leanflow".requests (scope, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX requests_failure ON "leanflow".requests (failure, scope, id) WHERE failure IS NOT NULL;
CREATE INDEX requests_held ON "leanflow".requests (held, scope, id) WHERE held IS NOT NULL;
CREATE INDEX requests_reference ON "leanflow".requests (reference, scope, id) WHERE reference IS NOT NULL;
CREATE INDEX requests_customer ON "leanflow".requests (customer_id, scope, id) WHERE customer_id IS NOT NULL;
CREATE INDEX requests_entity ON "leanflow".requests (entity_id, scope, id);
CREATE INDEX requests_company ON "leanflow".requests (entity_id, scope, id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX requests_live ON "leanflow".requests (fingerprint, scope) WHERE ended_at IS NULL;

CREATE TABLE "leanflow".history (
    request_id uuid NOT NULL,
    number     bigint GENERATED ALWAYS AS IDENTITY,
    version    integer NOT NULL,
    key        text NOT NULL,
    at         timestamptz NOT NULL,
    tag        text NOT NULL,
    trigger    text,
    from_state text,
    to_state   text NOT NULL,
    declined   text,
    event      text NOT NULL,
    PRIMARY KEY (request_id, number)
);

CREATE TABLE "leanflow".inbox (
    scope bigint NOT NULL, key text NOT NULL, tag text NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (scope, key)
);

CREATE INDEX inbox_at ON "leanflow".inbox USING brin (at);

CREATE TABLE "leanflow".parked (
    scope      bigint NOT NULL,
    key        text NOT NULL,
    number     bigint GENERATED ALWAYS AS IDENTITY,
    tag        text NOT NULL,
    at         timestamptz NOT NULL,
    kind       text,
    value      text,
    request_id uuid,
    due_at     timestamptz,
    expires_at timestamptz NOT NULL,
    offered_at timestamptz NOT NULL,
    tries      integer NOT NULL DEFAULT 0,
    raw        bytea NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX parked_named ON "leanflow".parked (scope, kind, value) WHERE kind IS NOT NULL;
CREATE INDEX parked_early ON "leanflow".parked (scope, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX parked_offered ON "leanflow".parked (offered_at, scope); -- never taken for a key: see requests

CREATE TABLE "leanflow".ids (
    scope bigint NOT NULL, kind text NOT NULL, value text NOT NULL, request_id uuid NOT NULL,
    PRIMARY KEY (scope, kind, value, request_id)
);
CREATE INDEX ids_request ON "leanflow".ids (request_id);

-- The caller's keys: of requests that they made, and of live twins that were returned instead.
CREATE TABLE "leanflow".keys (
    scope bigint NOT NULL, key text NOT NULL, request_id uuid NOT NULL, PRIMARY KEY (scope, key)
);
CREATE INDEX keys_request ON "leanflow".keys (request_id);

CREATE TABLE "leanflow".pages (
    request_id uuid NOT NULL, page integer NOT NULL, correlation_id text, refreshed_at timestamptz, raw bytea NOT NULL,
    PRIMARY KEY (request_id, page)
);

CREATE TABLE "leanflow".sinks (
    scope bigint NOT NULL, name text NOT NULL, states text[], resources text[], webhooks text[] NOT NULL,
    reports boolean NOT NULL, PRIMARY KEY (scope, name)
);

-- `behind` is the row of the same request and sink that must go first; null: this one may be offered. The foreign key
-- is what makes that certain: whoever inserts behind a row and whoever deletes that row meet at its lock.
CREATE TABLE "leanflow".outbox (
    number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope     bigint NOT NULL,
    sink      text NOT NULL,
    key       text NOT NULL,
    kind      text NOT NULL,
    about     uuid,
    ordered   boolean NOT NULL,
    behind    bigint REFERENCES "leanflow".outbox (number) ON DELETE SET NULL,
    set_aside boolean NOT NULL DEFAULT false,
    tries     integer NOT NULL DEFAULT 0,
    at        timestamptz NOT NULL,
    due_at    timestamptz NOT NULL,
    owner     text,
    error     text,
    payload   text NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE UNIQUE INDEX outbox_key ON "leanflow".outbox (scope, sink, key);
CREATE INDEX outbox_ready ON "leanflow".outbox (scope, sink, due_at) WHERE behind IS NULL AND NOT set_aside;
CREATE INDEX outbox_about ON "leanflow".outbox (about, sink, number) WHERE about IS NOT NULL;
CREATE INDEX outbox_behind ON "leanflow".outbox (behind) WHERE behind IS NOT NULL;
CREATE INDEX outbox_aside ON "leanflow".outbox (scope, number) WHERE set_aside;

CREATE TABLE "leanflow".tombstones (
    scope bigint NOT NULL, digest bytea NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (scope, digest)
);
CREATE INDEX tombstones_at ON "leanflow".tombstones USING brin (at);

CREATE TABLE "leanflow".notes (
    scope bigint NOT NULL, name text NOT NULL, value text NOT NULL, PRIMARY KEY (scope, name)
);
