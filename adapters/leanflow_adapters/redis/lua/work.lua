-- What is claimed, offered and relayed.

-- leases --------------------------------------------------------------------------------------------------------------

local function claim(id, was, owner, now, lease)
    local until_then = whole(now + lease)
    local number = call('HINCRBY', request_key(id), 'call_no', 1)
    call('HSET', request_key(id), 'owner', owner, 'lease', until_then)
    schedule(id, was[2], owner, until_then)
    return { id, was[1], number, was[3] ~= '' and 1 or 0, was[2] }
end

local function of_claim(id)
    return call('HMGET', request_key(id), 'record', 'due', 'owner', 'lease', 'state', 'resource')
end

local function take_set()
    local found = {}
    for _, one in ipairs(take_lists(1)) do
        found[one[1]] = true
    end
    return found
end

-- At most so many of a newer version's requests are passed over: a worker that knows them takes them away, in time.
local PASSED_OVER = 1000

function ops.claim()
    local given, owner, lease, limit = take(), take(), tonumber(take()), tonumber(take())
    local states, resources = take_set(), take_set()
    local now = moment(given)
    local claimed, passed = {}, 0
    repeat
        local wanted = limit - #claimed
        local ids = call('ZRANGEBYSCORE', base .. 'due', '-inf', whole(now), 'LIMIT', passed, wanted)
        local due = {}
        for n, id in ipairs(ids) do
            due[n] = { id, of_claim(id) }
        end
        for _, one in ipairs(due) do
            if states[one[2][5]] and resources[one[2][6]] then
                claimed[#claimed + 1] = claim(one[1], one[2], owner, now, lease)
            else
                passed = passed + 1
            end
        end
    until #ids < wanted or #claimed == limit or passed > PASSED_OVER
    return { whole(now), claimed }
end

function ops.renew()
    local given, owner, lease, id = take(), take(), tonumber(take()), take()
    local was = of_claim(id)
    if not was[1] or was[3] ~= owner then
        return 0
    end
    local until_then = moment(given) + lease
    if was[4] == '' or until_then > tonumber(was[4]) then
        call('HSET', request_key(id), 'lease', whole(until_then))
        schedule(id, was[2], owner, whole(until_then))
    end
    return 1
end

function ops.release()
    local owner, id = take(), take()
    local was = of_claim(id)
    if was[1] and was[3] == owner then
        call('HSET', request_key(id), 'owner', '', 'lease', '')
        schedule(id, was[2], '', '')
    end
    return 0
end

local function sink_names()
    local names = call('HKEYS', base .. 'sinks')
    names[#names + 1] = 'wake'
    table.sort(names)
    return names
end

function ops.next_due()
    local least
    local function look(key)
        local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
        if first[1] and (not least or tonumber(first[2]) < least) then
            least = tonumber(first[2])
        end
    end
    look(base .. 'due')
    look(base .. 'offered')
    for _, sink in ipairs(sink_names()) do
        look(base .. 'q:' .. sink)
    end
    return least and whole(least) or ''
end

-- parked events -------------------------------------------------------------------------------------------------------

local function parked_event(key)
    local found = call('HMGET', base .. 'p:' .. key, 'tag', 'at', 'number', 'kind', 'value', 'request', 'due',
        'expires', 'tries', 'raw')
    table.insert(found, 1, key)
    return found
end

local function older(one, other)
    local at, other_at = tonumber(one[3]), tonumber(other[3])
    return at < other_at or (at == other_at and tonumber(one[4]) < tonumber(other[4]))
end

local function parked_events(keys, limit)
    local found = {}
    for n, key in ipairs(keys) do
        found[n] = parked_event(key)
    end
    table.sort(found, older)
    for n = #found, limit + 1, -1 do
        found[n] = nil
    end
    return found
end

function ops.parked()
    return parked_events(call('SMEMBERS', base .. take()), math.huge)
end

function ops.parked_due()
    local now, limit, look = take(), tonumber(take()), take()
    return parked_events(call('ZRANGEBYSCORE', base .. 'offered', '-inf', now, 'LIMIT', 0, look), limit)
end

function ops.repark()
    local key, due = take(), take()
    local expires = call('HGET', base .. 'p:' .. key, 'expires')
    if expires then
        call('HINCRBY', base .. 'p:' .. key, 'tries', 1)
        call('HSET', base .. 'p:' .. key, 'due', due)
        call('ZADD', base .. 'offered', tonumber(due) < tonumber(expires) and due or expires, key)
    end
    return 0
end

function ops.orphan()
    local key, told = take(), take_lists(6)
    local found = call('HMGET', base .. 'p:' .. key, 'at', 'request')
    if not found[1] then
        return 0
    end
    unpark(key)
    call('ZADD', base .. 'inbox', found[1], key)
    announce(told, found[1], found[2])
    return 1
end

-- announcements -------------------------------------------------------------------------------------------------------

local function outbox_row(number)
    local row = row_of(number)
    local more = call('HMGET', base .. 'o:' .. number, 'tries', 'error', 'payload')
    local first = row.ordered and call('ZRANGE', base .. 'x:' .. line_of(row), 0, 0)[1]
    local skipped = first and first < number
    return {
        row.key, row.sink, row.kind, row.ordered and row.about or '', more[3], more[1], row.aside and 1 or 0,
        skipped and 1 or 0, row.due, more[2],
    }
end

local function by_due(one, other)
    return one.due < other.due or (one.due == other.due and one.number < other.number)
end

function ops.claim_outbox()
    local given, lease, limit, names = take(), tonumber(take()), tonumber(take()), take_lists(1)
    local now = moment(given)
    local ready = {}
    for _, sink in ipairs(names) do
        local first = call('ZRANGEBYSCORE', base .. 'q:' .. sink[1], '-inf', whole(now), 'WITHSCORES', 'LIMIT', 0,
            limit)
        for n = 1, #first, 2 do
            ready[#ready + 1] = { number = first[n], due = tonumber(first[n + 1]), sink = sink[1] }
        end
    end
    table.sort(ready, by_due)
    local claimed = {}
    local until_then = whole(now + lease)
    for n = 1, math.min(limit, #ready) do
        local one = ready[n]
        claimed[n] = outbox_row(one.number)
        table.insert(claimed[n], one.number)
        call('HSET', base .. 'o:' .. one.number, 'due', until_then)
        call('ZADD', base .. 'q:' .. one.sink, until_then, one.number)
    end
    return claimed
end

local function number_of(sink, key)
    return call('HGET', base .. 'places', place_of(sink, key))
end

function ops.deliver()
    local gone = 0
    for _, one in ipairs(take_lists(2)) do
        local number = number_of(one[2], one[1])
        if number then
            drop(number, row_of(number))
            gone = gone + 1
        end
    end
    return gone
end

function ops.undelivered()
    local key, sink, due, why, aside, counts = take(), take(), take(), take(), take(), take()
    local number = number_of(sink, key)
    if number then
        local row = row_of(number)
        step_out(number, row)
        row.due, row.aside = due, aside == '1'
        call('HINCRBY', base .. 'o:' .. number, 'tries', counts)
        call('HSET', base .. 'o:' .. number, 'due', due, 'error', why, 'aside', aside)
        stand(number, row)
    end
    return 0
end

function ops.redeliver()
    local key, sink, now = take(), take(), take()
    local number = number_of(sink, key)
    local row = number and row_of(number)
    if not row or not row.aside then
        return 0
    end
    step_out(number, row)
    row.due, row.aside = now, false
    call('HSET', base .. 'o:' .. number, 'due', now, 'tries', '0', 'aside', '0')
    stand(number, row)
    return 1
end

function ops.outbox()
    local aside, limit = take(), tonumber(take())
    local numbers = {}
    for _, sink in ipairs(sink_names()) do
        for _, kind in ipairs({ 'w:', 'a:' }) do
            if aside == '' or (aside == '1') == (kind == 'a:') then
                for _, number in ipairs(call('ZRANGE', base .. kind .. sink, 0, limit - 1)) do
                    numbers[#numbers + 1] = number
                end
            end
        end
    end
    table.sort(numbers)
    local found = {}
    for n = 1, math.min(limit, #numbers) do
        found[n] = outbox_row(numbers[n])
    end
    return found
end

function ops.lag()
    local found = {}
    for n, sink in ipairs(sink_names()) do
        local first = call('ZRANGE', base .. 'w:' .. sink, 0, 0)[1]
        found[n] = {
            sink, call('ZCARD', base .. 'w:' .. sink), call('ZCARD', base .. 'a:' .. sink),
            first and call('HGET', base .. 'o:' .. first, 'at') or '',
        }
    end
    return found
end

-- Forget at most so many rows of a sink, and the sink once none is left. Returns whether there is such a sink, and how
-- many went.
function ops.unregister()
    local sink, limit = take(), tonumber(take())
    local known = call('HEXISTS', base .. 'sinks', sink)
    local dropped = 0
    for _, kind in ipairs({ 'w:', 'a:' }) do
        for _, number in ipairs(call('ZRANGE', base .. kind .. sink, 0, limit - dropped - 1)) do
            drop(number, row_of(number))
            dropped = dropped + 1
        end
        if dropped == limit then
            return { known, dropped }
        end
    end
    call('HDEL', base .. 'sinks', sink)
    return { known, dropped }
end
