-- What changes requests.

-- Take an event in: as seen, or parked.
local function take_in(key, at, parking)
    if not parking then
        unpark(key)
        call('ZADD', base .. 'inbox', at, key)
        return
    end
    local known = call('HMGET', base .. 'p:' .. key, 'at', 'number', 'tries', 'raw')
    if known[1] then
        unpark(key)
    end
    parking.at, parking.number, parking.tries = known[1] or at, known[2], known[3] or '0'
    if not parking.has_raw then
        parking.raw = known[4] or ''
    end
    park(key, parking)
end

local function take_parking()
    if take() == '0' then
        return nil
    end
    return {
        tag = take(), kind = take(), value = take(), stone = take(), request = take(), due = take(), expires = take(),
        offered = take(), has_raw = take() == '1', raw = take(),
    }
end

local function take_after()
    if take() == '0' then
        return nil
    end
    return {
        state = take(), due = take(), held = take(), failure = take(), is_end = take() == '1', updated = take(),
        record = take(),
    }
end

local function end_request(id, entity, print, state, at)
    call('ZADD', base .. 'ended:' .. state, at, id)
    call('SREM', base .. 'company:' .. entity, id)
    if print ~= '' and call('HGET', base .. 'live', print) == id then
        call('HDEL', base .. 'live', print)
    end
end

local function change(id, was, after, version, release)
    local owner, lease = was.owner, was.lease
    if release ~= '' and owner == release then
        owner, lease = '', ''
    end
    if not after then
        if owner ~= was.owner then
            call('HSET', request_key(id), 'owner', '', 'lease', '')
            schedule(id, was.due, '', '')
        end
        return
    end
    if after.state ~= was.state then
        call('HINCRBY', base .. 'counts', was.state, -1)
        call('HINCRBY', base .. 'counts', after.state, 1)
    end
    note(id, 's:', after.state, was.state)
    note(id, 'held:', after.held, was.held)
    note(id, 'failure:', after.failure, was.failure)
    local ended = was.ended
    if ended == '' and after.is_end then
        ended = after.updated
        end_request(id, was.entity, was.print, after.state, ended)
    end
    call('HSET', request_key(id), 'version', whole(tonumber(version) + 1), 'state', after.state, 'due', after.due,
        'held', after.held, 'failure', after.failure, 'ended', ended, 'record', after.record, 'owner', owner,
        'lease', lease)
    if after.due ~= was.due or owner ~= was.owner then
        schedule(id, after.due, owner, lease)
    end
end

-- Store the ids by which Lean names a request; return whether they name no other, and nothing is parked under them.
local function name(id, ids)
    local are_new = #ids > 0
    for _, one in ipairs(ids) do
        local place = one[1] .. ':' .. one[2]
        local owners = base .. 'id:' .. place
        call('SADD', owners, id)
        call('HSET', base .. 'names:' .. id, place, one[3])
        are_new = are_new and call('SCARD', owners) == 1 and call('EXISTS', base .. 'under:' .. place) == 0
    end
    return are_new
end

local function keep_page(id, number, page)
    call('HSETNX', base .. 'pages:' .. id, number, page)
    call('ZADD', base .. 'paged', 0, id)
end

local function has_company(entity, id)
    local others = call('SCARD', base .. 'company:' .. entity)
    if id ~= '' and call('SISMEMBER', base .. 'company:' .. entity, id) == 1 then
        others = others - 1
    end
    return others > 0
end

function ops.commit()
    local id, stone, version, call_no, release = take(), take(), take(), take(), take()
    local key, at, history = take(), take(), take()
    local after, parking = take_after(), take_parking()
    local ids, pages, told, wakes = take_lists(3), take_lists(2), take_lists(6), take_lists(3)
    if call('ZSCORE', base .. 'inbox', key) then
        return { 'duplicate', 0, 0 }
    end
    local was
    if id ~= '' then
        local found = call('HMGET', request_key(id), 'version', 'call_no', 'state', 'due', 'owner', 'lease', 'ended',
            'held', 'failure', 'entity', 'print')
        if not found[1] then
            return { is_buried(stone) and 'buried' or 'conflict', 0, 0 }
        elseif found[1] ~= version or found[2] ~= call_no then
            return { 'conflict', 0, 0 }
        end
        was = {
            state = found[3], due = found[4], owner = found[5], lease = found[6], ended = found[7], held = found[8],
            failure = found[9], entity = found[10], print = found[11],
        }
    end
    if parking and is_buried(parking.stone) then
        return { 'buried', 0, 0 }
    end

    take_in(key, at, parking)
    local are_new = false
    if was then
        change(id, was, after, version, release)
        if history ~= '' then
            call('RPUSH', base .. 'h:' .. id, history)
        end
        are_new = name(id, ids)
        for _, page in ipairs(pages) do
            keep_page(id, page[1], page[2])
        end
    end
    local made = 0
    for _, wake in ipairs(wakes) do
        if wake[3] == '' or has_company(wake[3], id) then
            made = made + post('wake', wake[1], 'wake', wake[2], at, '', false)
        end
    end
    return { 'committed', made + announce(told, at, id), are_new and 1 or 0 }
end

-- creation ------------------------------------------------------------------------------------------------------------

local function found(status, id)
    local stored = call('HMGET', request_key(id), 'record', 'call_no')
    return { status, stored[1], stored[2] }
end

-- Spell out once whose a scope is.
local function introduce(app, environment, region)
    if call('EXISTS', base .. 'scope') == 0 then
        call('HSET', base .. 'scope', 'app', app, 'environment', environment, 'region', region, 'layout', LAYOUT)
    end
end

local function insert(id, new)
    call('HSET', request_key(id), 'record', new.record, 'version', new.version, 'call_no', new.call_no,
        'state', new.state, 'due', new.due, 'owner', new.owner, 'lease', new.lease, 'ended', new.ended,
        'held', new.held, 'failure', new.failure, 'entity', new.entity, 'customer', new.customer,
        'reference', new.reference, 'resource', new.resource, 'created', new.created, 'print', new.print,
        'successor', new.successor)
    call('HSET', base .. 'names:' .. id, 'request:' .. id, new.stone)
    call('HINCRBY', base .. 'counts', new.state, 1)
    call('ZADD', base .. 'all', 0, id)
    note(id, 's:', new.state, '')
    note(id, 'entity:', new.entity, '')
    note(id, 'customer:', new.customer, '')
    note(id, 'reference:', new.reference, '')
    note(id, 'held:', new.held, '')
    note(id, 'failure:', new.failure, '')
    if new.ended ~= '' then
        call('ZADD', base .. 'ended:' .. new.state, new.ended, id)
    else
        call('SADD', base .. 'company:' .. new.entity, id)
        if new.print ~= '' then
            call('HSET', base .. 'live', new.print, id)
        end
    end
    schedule(id, new.due, new.owner, new.lease)
end

-- What was written for the new request as successor, for another one.
local function instead(text, id, successor)
    local first, last = string.find(text, '"successor_id":"' .. id .. '"', 1, true)
    if not first then
        return text
    end
    return string.sub(text, 1, first - 1) .. '"successor_id":"' .. successor .. '"' .. string.sub(text, last + 1)
end

-- Name the successor on the request that was renewed; a successor that is gone is replaced.
local function link(id, before, successor)
    if before.id == '' or before.id == successor or before.has_successor then
        return
    end
    call('HSET', request_key(before.id), 'version', whole(tonumber(before.version) + 1), 'successor', successor,
        'record', instead(before.record, id, successor))
    if before.history ~= '' then
        call('RPUSH', base .. 'h:' .. before.id, instead(before.history, id, successor))
    end
end

local function keep_key(key, id)
    if key ~= '' then
        call('HSET', base .. 'keys', key, id)
        call('SADD', base .. 'named:' .. id, key)
    end
end

function ops.create()
    local id, key = take(), take()
    local new = {
        stone = take(), state = take(), version = take(), call_no = take(), owner = take(), lease = take(),
        due = take(), ended = take(), held = take(), failure = take(), created = take(), resource = take(),
        entity = take(), customer = take(), reference = take(), print = take(), record = take(), successor = '',
    }
    local history, app, environment, region = take(), take(), take(), take()
    local before = { id = take(), version = take(), record = take(), history = take() }
    local told = take_lists(6)
    local owner = key ~= '' and call('HGET', base .. 'keys', key)
    if owner then
        return found('key', owner)
    end
    if before.id ~= '' then
        local known = call('HMGET', request_key(before.id), 'version', 'successor')
        if not known[1] then
            before.id = ''
        elseif known[1] ~= before.version then
            return { 'again', '', '' }
        elseif known[2] ~= '' and call('EXISTS', request_key(known[2])) == 1 then
            before.has_successor = known[2]
        end
    end
    local twin = new.print ~= '' and call('HGET', base .. 'live', new.print)
    local there = twin or before.has_successor
    if not there then
        introduce(app, environment, region)
        insert(id, new)
        call('RPUSH', base .. 'h:' .. id, history)
        announce(told, new.created, id)
    end
    keep_key(key, there or id)
    link(id, before, there or id)
    return there and found('twin', there) or { 'new', '', '' }
end
