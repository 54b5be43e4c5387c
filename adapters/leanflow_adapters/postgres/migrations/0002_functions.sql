-- What a step and a creation write, each in one round trip. A function, and no statement with writing CTEs, because
-- each of its statements sees what was committed before it, which one statement with one snapshot does not.

-- Make one outbox row for each sink that wants to be told; return how many.
CREATE FUNCTION "leanflow".announce(
    at_scope bigint, about_request uuid, told_at timestamptz,
    told_key text, told_kind text, topic text, of_resource text, is_ordered boolean, told_payload text
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    name text;
    before bigint;
    made integer := 0;
    one integer;
BEGIN
    FOR name IN
        SELECT s.name FROM "leanflow".sinks s WHERE s.scope = at_scope AND CASE
            WHEN told_kind = 'webhook' THEN topic = ANY (s.webhooks) OR '*' = ANY (s.webhooks)
            WHEN s.webhooks <> '{}' THEN false
            WHEN told_kind = 'report' THEN s.reports
            ELSE (s.states IS NULL OR topic = ANY (s.states))
                AND (s.resources IS NULL OR of_resource = ANY (s.resources))
        END ORDER BY s.name
    LOOP
        before := NULL;
        IF is_ordered THEN
            SELECT o.number INTO before FROM "leanflow".outbox o
            WHERE o.about = about_request AND o.sink = name AND o.ordered AND NOT o.set_aside
            ORDER BY o.number DESC LIMIT 1 FOR KEY SHARE;
        END IF;
        INSERT INTO "leanflow".outbox (scope, sink, key, kind, about, ordered, behind, at, due_at, payload)
        VALUES (at_scope, name, told_key, told_kind, about_request, is_ordered, before, told_at, told_at, told_payload)
        ON CONFLICT (scope, sink, key) DO NOTHING;
        GET DIAGNOSTICS one = ROW_COUNT;
        made := made + one;
    END LOOP;
    RETURN made;
END $$;

-- Whether a tombstone covers an id.
CREATE FUNCTION "leanflow".is_buried(at_scope bigint, kind text, value text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM "leanflow".tombstones t
        WHERE t.scope = at_scope AND t.digest = sha256(convert_to(kind || ':' || value, 'UTF8')))
$$;

-- Park an event; return `committed`, or why not.
CREATE FUNCTION "leanflow".park(
    at_scope bigint, event_key text, event_tag text, event_at timestamptz, event_raw bytea,
    of_kind text, of_value text, of_request uuid, due timestamptz, life timestamptz
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM "leanflow".inbox i WHERE i.scope = at_scope AND i.key = event_key) THEN
        RETURN 'duplicate';
    ELSIF of_kind IS NOT NULL AND "leanflow".is_buried(at_scope, of_kind, of_value) THEN
        RETURN 'buried';
    END IF;
    INSERT INTO "leanflow".parked AS p
        (scope, key, tag, at, kind, value, request_id, due_at, expires_at, offered_at, raw)
    VALUES (at_scope, event_key, event_tag, event_at, of_kind, of_value, of_request, due, life, least(due, life),
        coalesce(event_raw, ''))
    ON CONFLICT (scope, key) DO UPDATE SET kind = of_kind, value = of_value, request_id = of_request, due_at = due,
        expires_at = life, offered_at = least(due, life), raw = coalesce(event_raw, p.raw);
    RETURN 'committed';
END $$;

-- Lock requests in the order of ids; `patient` false: pass over those that are locked.
CREATE FUNCTION "leanflow".lock_requests(patient boolean, wanted uuid[])
RETURNS TABLE (id uuid, scope bigint, version integer, call_no integer) LANGUAGE plpgsql AS $$
BEGIN
    IF patient THEN
        RETURN QUERY SELECT r.id, r.scope, r.version, r.call_no FROM "leanflow".requests r
            WHERE r.id = ANY (wanted) ORDER BY r.id FOR NO KEY UPDATE;
    ELSE
        RETURN QUERY SELECT r.id, r.scope, r.version, r.call_no FROM "leanflow".requests r
            WHERE r.id = ANY (wanted) ORDER BY r.id FOR NO KEY UPDATE SKIP LOCKED;
    END IF;
END $$;

-- The functions that take many rows at once may only look rows up one by one: on a table that is small still, Postgres
-- would rather read all of it, and a session keeps that plan while the table grows.

-- Commit steps, at most one per request and one per inbox key. Returns for each its outcome and how many rows were made
-- for sinks. Rows are locked in the order of ids, so that two batches cannot wait for each other; `patient` false:
-- those that are locked are passed over, and told as `held`.
CREATE FUNCTION "leanflow".commit_steps(
    patient boolean,
    scopes bigint[], requests uuid[], versions integer[], call_nos integer[], releases text[],
    keys text[], tags text[], ats timestamptz[], raws bytea[],
    states text[], dues timestamptz[], helds text[], failures text[], ends boolean[], updates timestamptz[],
    records text[],
    triggers text[], from_states text[], to_states text[], declineds text[], history_versions integer[], events text[],
    parked_kinds text[], parked_values text[], parked_requests uuid[], parked_dues timestamptz[],
    parked_lives timestamptz[],
    id_steps integer[], id_kinds text[], id_values text[],
    page_steps integer[], page_numbers integer[], page_ids text[], page_times timestamptz[], page_raws bytea[],
    told_steps integer[], told_keys text[], told_kinds text[], told_topics text[], told_resources text[],
    told_ordered boolean[], told_payloads text[],
    wake_steps integer[], wake_keys text[], wake_payloads text[], wake_entities text[]
) RETURNS TABLE (outcome text, announced integer, ids_are_new boolean) LANGUAGE plpgsql SET lock_timeout = '2s'
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    size integer := array_length(keys, 1);
    outcomes text[] := array_fill(NULL::text, ARRAY[size]);
    counts integer[] := array_fill(0, ARRAY[size]);
    news boolean[] := array_fill(false, ARRAY[size]);
    one record;
    n integer;
BEGIN
    -- who may go on: nobody has changed what they saw
    FOR one IN SELECT * FROM "leanflow".lock_requests(patient, requests) LOOP
        n := array_position(requests, one.id);
        IF one.scope = scopes[n] AND one.version = versions[n] AND one.call_no = call_nos[n] THEN
            outcomes[n] := 'committed';
        ELSIF one.scope = scopes[n] THEN
            outcomes[n] := 'conflict';
        ELSE
            outcomes[n] := 'missing';
        END IF;
    END LOOP;
    -- Whoever stores an id and whoever parks under it meet here, so that the one who comes second sees the first.
    PERFORM pg_advisory_xact_lock(l.number) FROM (
        SELECT DISTINCT hashtextextended(i.kind || ':' || i.value, scopes[i.step]) AS number FROM (
            SELECT i.step, i.kind, i.value FROM unnest(id_steps, id_kinds, id_values) AS i (step, kind, value)
            UNION ALL SELECT p.step, p.kind, p.value
            FROM unnest(parked_kinds, parked_values) WITH ORDINALITY AS p (kind, value, step) WHERE p.kind IS NOT NULL
        ) AS i ORDER BY 1) AS l;
    FOR n IN 1 .. size LOOP
        IF outcomes[n] IS NULL THEN
            IF requests[n] IS NULL THEN
                outcomes[n] := 'committed';
            ELSIF NOT patient AND EXISTS (SELECT FROM "leanflow".requests r WHERE r.id = requests[n]) THEN
                outcomes[n] := 'held';
            ELSE
                outcomes[n] := 'missing';
            END IF;
        END IF;
        IF outcomes[n] IN ('conflict', 'missing') THEN
            IF EXISTS (SELECT FROM "leanflow".inbox i WHERE i.scope = scopes[n] AND i.key = keys[n]) THEN
                outcomes[n] := 'duplicate';
            ELSIF outcomes[n] = 'missing' AND "leanflow".is_buried(scopes[n], 'request', requests[n]::text) THEN
                outcomes[n] := 'buried';
            ELSE
                outcomes[n] := 'conflict';
            END IF;
        ELSIF outcomes[n] = 'committed' AND parked_lives[n] IS NOT NULL THEN
            outcomes[n] := "leanflow".park(
                scopes[n], keys[n], tags[n], ats[n], raws[n], parked_kinds[n], parked_values[n], parked_requests[n],
                parked_dues[n], parked_lives[n]);
        END IF;
    END LOOP;

    -- the inbox: who does not get in has been seen, and writes nothing
    WITH entering AS (
        INSERT INTO "leanflow".inbox AS i (scope, key, tag, at)
        SELECT s.scope, s.key, s.tag, s.at
        FROM unnest(scopes, keys, tags, ats, outcomes, parked_lives) AS s (scope, key, tag, at, outcome, life)
        WHERE s.outcome = 'committed' AND s.life IS NULL ORDER BY s.scope, s.key
        ON CONFLICT DO NOTHING RETURNING i.scope, i.key
    )
    SELECT array_agg(CASE WHEN s.outcome = 'committed' AND s.life IS NULL AND e.key IS NULL THEN 'duplicate'
                          ELSE s.outcome END ORDER BY s.n)
    INTO outcomes
    FROM unnest(scopes, keys, outcomes, parked_lives) WITH ORDINALITY AS s (scope, key, outcome, life, n)
    LEFT JOIN entering e ON e.scope = s.scope AND e.key = s.key;

    -- a duplicate can be parked still: its other copy was seen at the moment at which this one was being parked
    DELETE FROM "leanflow".parked p
    USING unnest(scopes, keys, outcomes, parked_lives) AS s (scope, key, outcome, life)
    WHERE p.scope = s.scope AND p.key = s.key
        AND (s.outcome = 'duplicate' OR s.outcome = 'committed' AND s.life IS NULL);

    -- the requests, and what goes with them
    UPDATE "leanflow".requests r SET
        state = coalesce(s.state, r.state),
        version = CASE WHEN s.state IS NULL THEN r.version ELSE r.version + 1 END,
        updated_at = coalesce(s.updated, r.updated_at),
        due_at = CASE WHEN s.state IS NULL THEN r.due_at ELSE s.due END,
        held = CASE WHEN s.state IS NULL THEN r.held ELSE s.held END,
        failure = CASE WHEN s.state IS NULL THEN r.failure ELSE s.failure END,
        ended_at = CASE WHEN s.is_end THEN coalesce(r.ended_at, s.updated) ELSE r.ended_at END,
        record = coalesce(s.record, r.record),
        owner = CASE WHEN r.owner = s.release THEN NULL ELSE r.owner END,
        lease_until = CASE WHEN r.owner = s.release THEN NULL ELSE r.lease_until END
    FROM unnest(requests, releases, states, dues, helds, failures, ends, updates, records, outcomes)
        AS s (id, release, state, due, held, failure, is_end, updated, record, outcome)
    WHERE r.id = s.id AND s.outcome = 'committed' AND (s.state IS NOT NULL OR r.owner = s.release);

    INSERT INTO "leanflow".history
        (request_id, version, key, at, tag, trigger, from_state, to_state, declined, event)
    SELECT s.id, s.version, s.key, s.at, s.tag, s.trigger, s.from_state, s.to_state, s.declined, s.event
    FROM unnest(requests, history_versions, keys, ats, tags, triggers, from_states, to_states, declineds, events,
        outcomes) AS s (id, version, key, at, tag, trigger, from_state, to_state, declined, event, outcome)
    WHERE s.outcome = 'committed' AND s.event IS NOT NULL;

    IF id_steps <> '{}' THEN
        FOR one IN
            SELECT i.step, bool_and(
                NOT EXISTS (SELECT FROM "leanflow".ids o WHERE o.scope = scopes[i.step] AND o.kind = i.kind
                    AND o.value = i.value AND o.request_id <> requests[i.step])
                AND NOT EXISTS (SELECT FROM "leanflow".parked p WHERE p.scope = scopes[i.step] AND p.kind = i.kind
                    AND p.value = i.value)) AS is_new
            FROM unnest(id_steps, id_kinds, id_values) AS i (step, kind, value) GROUP BY i.step
        LOOP
            news[one.step] := one.is_new;
        END LOOP;
        INSERT INTO "leanflow".ids (scope, kind, value, request_id)
        SELECT scopes[i.step], i.kind, i.value, requests[i.step]
        FROM unnest(id_steps, id_kinds, id_values) AS i (step, kind, value)
        WHERE outcomes[i.step] = 'committed' ON CONFLICT DO NOTHING;
    END IF;
    IF page_steps <> '{}' THEN
        INSERT INTO "leanflow".pages (request_id, page, correlation_id, refreshed_at, raw)
        SELECT requests[p.step], p.number, p.id, p.at, p.raw
        FROM unnest(page_steps, page_numbers, page_ids, page_times, page_raws) AS p (step, number, id, at, raw)
        WHERE outcomes[p.step] = 'committed' ON CONFLICT DO NOTHING;
    END IF;

    -- whom to tell
    FOR n IN 1 .. coalesce(array_length(told_steps, 1), 0) LOOP
        IF outcomes[told_steps[n]] = 'committed' THEN
            counts[told_steps[n]] := counts[told_steps[n]] + "leanflow".announce(
                scopes[told_steps[n]], requests[told_steps[n]], ats[told_steps[n]], told_keys[n], told_kinds[n],
                told_topics[n], told_resources[n], told_ordered[n], told_payloads[n]);
        END IF;
    END LOOP;
    FOR n IN 1 .. coalesce(array_length(wake_steps, 1), 0) LOOP
        IF outcomes[wake_steps[n]] = 'committed' AND (wake_entities[n] IS NULL OR EXISTS (
            SELECT FROM "leanflow".requests r WHERE r.scope = scopes[wake_steps[n]] AND r.entity_id = wake_entities[n]
                AND r.ended_at IS NULL AND r.id IS DISTINCT FROM requests[wake_steps[n]])) THEN
            INSERT INTO "leanflow".outbox (scope, sink, key, kind, ordered, at, due_at, payload)
            VALUES (scopes[wake_steps[n]], 'wake', wake_keys[n], 'wake', false, ats[wake_steps[n]], ats[wake_steps[n]],
                wake_payloads[n])
            ON CONFLICT (scope, sink, key) DO NOTHING;
            counts[wake_steps[n]] := counts[wake_steps[n]] + 1;
        END IF;
    END LOOP;
    RETURN QUERY SELECT s.outcome, s.announced, s.is_new
        FROM unnest(outcomes, counts, news) WITH ORDINALITY AS s (outcome, announced, is_new, n) ORDER BY s.n;
END $$;

-- What those who make a request lock, in this order, so that no two of them make the same at once.
CREATE FUNCTION "leanflow".creation_locks(at_scope bigint, caller_key text, print text) RETURNS bigint[]
LANGUAGE sql STABLE AS $$
    SELECT array_remove(ARRAY[hashtextextended('key:' || caller_key, at_scope),
        hashtextextended('print:' || print, at_scope),
        CASE WHEN NOT EXISTS (SELECT FROM "leanflow".scopes s WHERE s.scope = at_scope) THEN at_scope END], NULL)
$$;

-- Insert a request, unless one like it is there: of this key, or live with this fingerprint. `only_look`: never insert.
CREATE FUNCTION "leanflow".create_request(
    only_look boolean, new_id uuid, at_scope bigint, new_app text, new_environment text, new_region text,
    new_state text, new_version integer, new_call_no integer, new_owner text, lease timestamptz, due timestamptz,
    new_held text, created timestamptz, updated timestamptz, new_resource text, entity text, customer text,
    new_reference text, caller_key text, print text, new_record text,
    history_key text, history_at timestamptz, history_tag text, history_trigger text, history_from text,
    history_to text, history_event text,
    told_keys text[], told_kinds text[], told_topics text[], told_resources text[], told_ordered boolean[],
    told_payloads text[]
) RETURNS TABLE (id uuid, record text, call_no integer, is_new boolean, by_key boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    twin uuid;
    n integer;
BEGIN
    IF NOT only_look THEN
        -- Who makes one like it, or the first of a scope, meets us here, and not at an index.
        PERFORM pg_advisory_xact_lock(l.number)
            FROM unnest("leanflow".creation_locks(at_scope, caller_key, print)) AS l (number);
    END IF;
    IF caller_key IS NOT NULL THEN
        IF NOT only_look THEN
            INSERT INTO "leanflow".keys (scope, key, request_id) VALUES (at_scope, caller_key, new_id)
                ON CONFLICT DO NOTHING;
        END IF;
        RETURN QUERY SELECT r.id, r.record, r.call_no, false, true
            FROM "leanflow".keys k JOIN "leanflow".requests r ON r.id = k.request_id
            WHERE k.scope = at_scope AND k.key = caller_key;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    LOOP
        SELECT r.id INTO twin FROM "leanflow".requests r
            WHERE r.scope = at_scope AND r.fingerprint = print AND r.ended_at IS NULL;
        EXIT WHEN FOUND OR only_look;
        INSERT INTO "leanflow".requests (id, scope, state, version, call_no, owner, lease_until, due_at, held,
            created_at, updated_at, resource, entity_id, customer_id, reference, fingerprint, record)
        VALUES (new_id, at_scope, new_state, new_version, new_call_no, new_owner, lease, due, new_held,
            created, updated, new_resource, entity, customer, new_reference, print, new_record)
        ON CONFLICT (scope, fingerprint) WHERE ended_at IS NULL DO NOTHING;
        EXIT WHEN FOUND;  -- else one like it was made at this moment
    END LOOP;
    IF twin IS NOT NULL THEN
        IF caller_key IS NOT NULL AND NOT only_look THEN
            UPDATE "leanflow".keys SET request_id = twin WHERE scope = at_scope AND key = caller_key;
        END IF;
        RETURN QUERY SELECT r.id, r.record, r.call_no, false, false FROM "leanflow".requests r WHERE r.id = twin;
        RETURN;
    ELSIF only_look THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM "leanflow".scopes s WHERE s.scope = at_scope) THEN
        INSERT INTO "leanflow".scopes VALUES (at_scope, new_app, new_environment, new_region) ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO "leanflow".history (request_id, version, key, at, tag, trigger, from_state, to_state, event)
    VALUES (new_id, new_version, history_key, history_at, history_tag, history_trigger, history_from, history_to,
        history_event);
    FOR n IN 1 .. coalesce(array_length(told_keys, 1), 0) LOOP
        PERFORM "leanflow".announce(at_scope, new_id, created, told_keys[n], told_kinds[n], told_topics[n],
            told_resources[n], told_ordered[n], told_payloads[n]);
    END LOOP;
    RETURN QUERY SELECT new_id, new_record, new_call_no, true, false;
END $$;

-- Insert many requests, at most one per key and per fingerprint; return for each what `create_request` would. None is
-- waited for: what somebody else is making at this moment is `held`.
CREATE FUNCTION "leanflow".create_requests(
    ids uuid[], scopes bigint[], apps text[], environments text[], regions text[],
    states text[], versions integer[], call_nos integer[], owners text[], leases timestamptz[], dues timestamptz[],
    helds text[], createds timestamptz[], updateds timestamptz[], resources text[], entities text[], customers text[],
    caller_references text[], caller_keys text[], prints text[], records text[],
    history_keys text[], history_ats timestamptz[], history_tags text[], history_triggers text[], history_froms text[],
    history_tos text[], history_events text[],
    told_requests integer[], told_keys text[], told_kinds text[], told_topics text[], told_resources text[],
    told_ordered boolean[], told_payloads text[]
) RETURNS TABLE (record text, call_no integer, is_new boolean, by_key boolean, outcome text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    size integer := array_length(ids, 1);
    news boolean[] := array_fill(false, ARRAY[size]);
    free boolean;
    one record;
    n integer;
BEGIN
    FOR n IN 1 .. size LOOP
        SELECT coalesce(bool_and(pg_try_advisory_xact_lock(l.number)), true) INTO free
            FROM unnest("leanflow".creation_locks(scopes[n], caller_keys[n], prints[n])) AS l (number);
        IF NOT free THEN
            RETURN QUERY SELECT NULL::text, NULL::integer, false, false, 'held';
            CONTINUE;
        END IF;
        SELECT * INTO STRICT one FROM "leanflow".create_request(
            false, ids[n], scopes[n], apps[n], environments[n], regions[n], states[n], versions[n], call_nos[n],
            owners[n], leases[n], dues[n], helds[n], createds[n], updateds[n], resources[n], entities[n], customers[n],
            caller_references[n], caller_keys[n], prints[n], records[n], history_keys[n], history_ats[n],
            history_tags[n], history_triggers[n], history_froms[n], history_tos[n], history_events[n],
            '{}', '{}', '{}', '{}', '{}', '{}');
        news[n] := one.is_new;
        RETURN QUERY SELECT one.record, one.call_no, one.is_new, one.by_key, 'created';
    END LOOP;
    FOR n IN 1 .. coalesce(array_length(told_requests, 1), 0) LOOP
        IF news[told_requests[n]] THEN
            PERFORM "leanflow".announce(scopes[told_requests[n]], ids[told_requests[n]], createds[told_requests[n]],
                told_keys[n], told_kinds[n], told_topics[n], told_resources[n], told_ordered[n], told_payloads[n]);
        END IF;
    END LOOP;
END $$;

-- Remove delivered rows and let what stood behind them go next; return those that were there. `patient` false: rows
-- that somebody holds are passed over.
CREATE FUNCTION "leanflow".deliver(patient boolean, at_scope bigint, wanted_keys text[], wanted_sinks text[])
RETURNS TABLE (key text, sink text) LANGUAGE plpgsql SET lock_timeout = '2s'
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    numbers bigint[];
    one record;
BEGIN
    IF patient THEN
        numbers := ARRAY(SELECT o.number FROM "leanflow".outbox o
            JOIN unnest(wanted_keys, wanted_sinks) AS w (key, sink) ON o.sink = w.sink AND o.key = w.key
            WHERE o.scope = at_scope ORDER BY o.number FOR UPDATE OF o);
    ELSE
        numbers := ARRAY(SELECT o.number FROM "leanflow".outbox o
            JOIN unnest(wanted_keys, wanted_sinks) AS w (key, sink) ON o.sink = w.sink AND o.key = w.key
            WHERE o.scope = at_scope ORDER BY o.number FOR UPDATE OF o SKIP LOCKED);
    END IF;
    -- one that was not the first of its line: who stood behind it stands behind the one before
    FOR one IN WITH gone AS MATERIALIZED (SELECT o.number, o.behind FROM "leanflow".outbox o
            WHERE o.number = ANY (numbers))
        SELECT g.number, g.behind FROM gone g WHERE g.behind IS NOT NULL AND NOT g.behind = ANY (numbers)
        ORDER BY g.number
    LOOP
        UPDATE "leanflow".outbox SET behind = one.behind WHERE behind = one.number;
    END LOOP;
    RETURN QUERY DELETE FROM "leanflow".outbox o WHERE o.number = ANY (numbers) RETURNING o.key, o.sink;
END $$;

-- Count a failed try, if it counts; or set the row aside, and let what stood behind it go next.
CREATE FUNCTION "leanflow".fail_delivery(
    at_scope bigint, wanted_key text, wanted_sink text, due timestamptz, reason text, gives_up boolean,
    counts boolean
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    SELECT o.number, o.behind INTO one FROM "leanflow".outbox o
        WHERE o.scope = at_scope AND o.sink = wanted_sink AND o.key = wanted_key FOR UPDATE;
    UPDATE "leanflow".outbox SET tries = tries + counts::integer, due_at = due, error = reason, owner = NULL,
        set_aside = gives_up, behind = CASE WHEN gives_up THEN NULL ELSE behind END WHERE number = one.number;
    IF gives_up THEN
        UPDATE "leanflow".outbox SET behind = one.behind WHERE behind = one.number;
    END IF;
END $$;

-- Bring back a row that was set aside, to its old place in the line; false if there is none.
CREATE FUNCTION "leanflow".bring_back(at_scope bigint, wanted_key text, wanted_sink text, due timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    one record;
    line bigint[];
    before bigint;
    after bigint;
BEGIN
    SELECT o.number, o.about, o.ordered INTO one FROM "leanflow".outbox o
        WHERE o.scope = at_scope AND o.sink = wanted_sink AND o.key = wanted_key AND o.set_aside FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF one.ordered THEN
        line := ARRAY(SELECT o.number FROM "leanflow".outbox o WHERE o.about = one.about AND o.sink = wanted_sink
            AND o.ordered AND NOT o.set_aside ORDER BY o.number FOR UPDATE);
        SELECT max(n) INTO before FROM unnest(line) AS n WHERE n < one.number;
        SELECT min(n) INTO after FROM unnest(line) AS n WHERE n > one.number;
        UPDATE "leanflow".outbox SET behind = one.number WHERE number = after;
    END IF;
    UPDATE "leanflow".outbox SET set_aside = false, tries = 0, due_at = due, behind = before WHERE number = one.number;
    RETURN true;
END $$;

-- Delete requests and all that belongs to them, leaving tombstones; return how much there was.
CREATE FUNCTION "leanflow".bury(at_scope bigint, wanted uuid[], died timestamptz, unannounce boolean)
RETURNS TABLE (requests bigint, history bigint, pages bigint, inbox bigint, parked bigint, announcements bigint,
    webhooks bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    gone uuid[];
    told bigint[];
    n bigint;
BEGIN
    gone := ARRAY(SELECT r.id FROM "leanflow".requests r WHERE r.scope = at_scope AND r.id = ANY (wanted)
        ORDER BY r.id FOR UPDATE);
    INSERT INTO "leanflow".tombstones (scope, digest, at)
        SELECT DISTINCT at_scope, sha256(convert_to(t.kind || ':' || t.value, 'UTF8')), died FROM (
            SELECT 'request' AS kind, g::text AS value FROM unnest(gone) AS g
            UNION ALL SELECT i.kind, i.value FROM "leanflow".ids i WHERE i.request_id = ANY (gone)) AS t
        ORDER BY 2 ON CONFLICT (scope, digest) DO UPDATE SET at = EXCLUDED.at;
    DELETE FROM "leanflow".parked p USING "leanflow".ids i
        WHERE i.request_id = ANY (gone) AND p.scope = at_scope AND p.kind = i.kind AND p.value = i.value;
    GET DIAGNOSTICS parked = ROW_COUNT;
    DELETE FROM "leanflow".parked p WHERE p.scope = at_scope AND p.request_id = ANY (gone);
    GET DIAGNOSTICS n = ROW_COUNT;
    parked := parked + n;
    DELETE FROM "leanflow".inbox i USING "leanflow".history h
        WHERE h.request_id = ANY (gone) AND i.scope = at_scope AND i.key = h.key;
    GET DIAGNOSTICS inbox = ROW_COUNT;
    DELETE FROM "leanflow".history WHERE request_id = ANY (gone);
    GET DIAGNOSTICS history = ROW_COUNT;
    DELETE FROM "leanflow".pages WHERE request_id = ANY (gone);
    GET DIAGNOSTICS pages = ROW_COUNT;
    DELETE FROM "leanflow".keys WHERE request_id = ANY (gone);
    DELETE FROM "leanflow".ids WHERE request_id = ANY (gone);
    DELETE FROM "leanflow".requests WHERE id = ANY (gone);
    requests := coalesce(array_length(gone, 1), 0);
    announcements := 0;
    webhooks := 0;
    IF unannounce THEN
        told := ARRAY(SELECT o.number FROM "leanflow".outbox o WHERE o.about = ANY (gone) ORDER BY o.number FOR UPDATE);
        WITH untold AS (DELETE FROM "leanflow".outbox o WHERE o.number = ANY (told) RETURNING o.kind)
        SELECT count(*) FILTER (WHERE u.kind <> 'webhook'), count(*) FILTER (WHERE u.kind = 'webhook')
        INTO announcements, webhooks FROM untold u;
    END IF;
    RETURN NEXT;
END $$;
