-- What is looked for, kept and deleted. Whatever goes through many rows goes through a slice of them.

-- finding -------------------------------------------------------------------------------------------------------------

local function fits(found, wanted)
    for n, value in ipairs(wanted) do
        if value ~= '' and found[n] ~= value then
            return false
        end
    end
    return true
end

-- Look at a slice of ids behind `after`, in their order, of one index or several; return the last one that was looked
-- at ('' if that was the last there is), and of those that fit record and call number.
function ops.find()
    local after, limit, slice, earlier = take(), tonumber(take()), tonumber(take()), take()
    local wanted = { take(), take(), take(), take(), take(), take() }
    local states, indexes = take_lists(1), take_lists(1)
    local ids = {}
    for _, index in ipairs(indexes) do
        for _, id in ipairs(behind(index[1], after, slice)) do
            ids[#ids + 1] = id
        end
    end
    table.sort(ids)
    local chosen = {}
    for _, one in ipairs(states) do
        chosen[one[1]] = true
    end
    local out = { '' }
    for n, id in ipairs(ids) do
        local found = call('HMGET', request_key(id), 'resource', 'entity', 'customer', 'reference', 'failure', 'held',
            'state', 'created', 'record', 'call_no')
        if fits(found, wanted) and (#states == 0 or chosen[found[7]])
            and (earlier == '' or tonumber(found[8]) < tonumber(earlier)) then
            out[#out + 1] = found[9]
            out[#out + 1] = found[10]
        end
        if n == slice or (#out - 1) / 2 == limit then
            out[1] = id
            break
        end
    end
    return out
end

-- deleting ------------------------------------------------------------------------------------------------------------

local function bury_names(id, now)
    local parked = 0
    local names = call('HGETALL', base .. 'names:' .. id)
    for n = 1, #names, 2 do
        call('ZADD', base .. 'stones', now, names[n + 1])
        call('SREM', base .. 'id:' .. names[n], id)
        for _, key in ipairs(call('SMEMBERS', base .. 'under:' .. names[n])) do
            unpark(key)
            parked = parked + 1
        end
    end
    for _, key in ipairs(call('SMEMBERS', base .. 'early:' .. id)) do
        unpark(key)
        parked = parked + 1
    end
    call('DEL', base .. 'names:' .. id)
    return parked
end

local function forget_history(id)
    local entries = call('LRANGE', base .. 'h:' .. id, 0, -1)
    local seen = 0
    for _, entry in ipairs(entries) do
        local size = string.match(entry, '^%d+')
        seen = seen + call('ZREM', base .. 'inbox', string.sub(entry, #size + 2, #size + 1 + tonumber(size)))
    end
    call('DEL', base .. 'h:' .. id)
    return #entries, seen
end

local function leave_indexes(id)
    local was = call('HMGET', request_key(id), 'state', 'entity', 'customer', 'reference', 'held', 'failure', 'print')
    call('HINCRBY', base .. 'counts', was[1], -1)
    for n, index in ipairs({ 's:', 'entity:', 'customer:', 'reference:', 'held:', 'failure:' }) do
        note(id, index, '', was[n])
    end
    call('ZREM', base .. 'all', id)
    call('ZREM', base .. 'due', id)
    call('ZREM', base .. 'ended:' .. was[1], id)
    call('SREM', base .. 'company:' .. was[2], id)
    if was[7] ~= '' and call('HGET', base .. 'live', was[7]) == id then
        call('HDEL', base .. 'live', was[7])
    end
    for _, key in ipairs(call('SMEMBERS', base .. 'named:' .. id)) do
        call('HDEL', base .. 'keys', key)
    end
    call('DEL', base .. 'named:' .. id)
end

-- Delete a request and all that belongs to it, leaving tombstones; return how much there was.
local function bury(id, now, unannounce)
    local parked = bury_names(id, now)
    local history, seen = forget_history(id)
    local pages = call('HLEN', base .. 'pages:' .. id)
    call('DEL', base .. 'pages:' .. id)
    call('ZREM', base .. 'paged', id)
    leave_indexes(id)
    call('DEL', request_key(id))
    local told, webhooks = 0, 0
    if unannounce then
        for _, number in ipairs(call('SMEMBERS', base .. 'about:' .. id)) do
            local row = row_of(number)
            drop(number, row)
            if row.kind == 'webhook' then
                webhooks = webhooks + 1
            else
                told = told + 1
            end
        end
    end
    return { history, pages, seen, parked, told, webhooks }
end

function ops.erase()
    local id, now = take(), take()
    if call('EXISTS', request_key(id)) == 0 then
        return {}
    end
    return bury(id, now, true)
end

function ops.purge()
    local before, now, limit, states = take(), take(), tonumber(take()), take_lists(1)
    local old = {}
    for _, state in ipairs(states) do
        local found = call('ZRANGEBYSCORE', base .. 'ended:' .. state[1], '-inf', '(' .. before, 'WITHSCORES', 'LIMIT',
            0, limit)
        for n = 1, #found, 2 do
            old[#old + 1] = { id = found[n], at = tonumber(found[n + 1]) }
        end
    end
    table.sort(old, function(one, other) return one.at < other.at end)
    local gone = math.min(limit, #old)
    for n = 1, gone do
        bury(old[n].id, now, false)
    end
    return gone
end

-- Delete the pages of old requests in a slice of those that have pages, behind `after`; return the last one that was
-- looked at ('' if that was the last there is), and those whose pages went.
function ops.purge_pages()
    local before, after, limit, slice = tonumber(take()), take(), tonumber(take()), tonumber(take())
    local out = { '' }
    for n, id in ipairs(behind('paged', after, slice)) do
        local ended = call('HGET', request_key(id), 'ended')
        if ended and ended ~= '' and tonumber(ended) < before then
            call('DEL', base .. 'pages:' .. id)
            call('ZREM', base .. 'paged', id)
            out[#out + 1] = id
        end
        if n == slice or #out - 1 == limit then
            out[1] = id
            break
        end
    end
    return out
end

function ops.prune()
    local before, limit = take(), tonumber(take())
    local gone = 0
    for _, index in ipairs({ 'inbox', 'stones' }) do
        local some = math.min(limit - gone, call('ZCOUNT', base .. index, '-inf', '(' .. before))
        if some > 0 then
            call('ZREMRANGEBYRANK', base .. index, 0, some - 1)
            gone = gone + some
        end
    end
    return gone
end

-- bodies --------------------------------------------------------------------------------------------------------------
-- Each is returned as its place, in two parts, its tag and its bytes.

function ops.pages()
    local first, second, limit = take(), take(), tonumber(take())
    local out = {}
    local function add(id, after)
        local numbers = call('HKEYS', base .. 'pages:' .. id)
        table.sort(numbers)
        for _, number in ipairs(numbers) do
            if number > after and #out < limit then
                out[#out + 1] = { id, number, 'page', call('HGET', base .. 'pages:' .. id, number) }
            end
        end
    end
    if first ~= '' then
        add(first, second)
    end
    for _, id in ipairs(behind('paged', first, limit)) do
        if #out == limit then
            break
        end
        add(id, '')
    end
    return out
end

function ops.parked()
    local after, _, limit = take(), take(), take()
    local out = {}
    for n, key in ipairs(behind('parked', after, limit)) do
        local found = call('HMGET', base .. 'p:' .. key, 'tag', 'raw')
        out[n] = { key, '', found[1], found[2] }
    end
    return out
end

function ops.announcements()
    local key, sink, limit = take(), take(), take()
    local out = {}
    for n, place in ipairs(behind('told', sink == '' and '' or place_of(sink, key), limit)) do
        local number = call('HGET', base .. 'places', place)
        local found = call('HMGET', base .. 'o:' .. number, 'key', 'sink', 'kind', 'payload')
        out[n] = { found[1], found[2], found[3], found[4] }
    end
    return out
end

local function replace(key, field, stored, content)
    if call('HGET', key, field) ~= stored then
        return 0
    end
    call('HSET', key, field, content)
    return 1
end

function ops.rewrite_pages()
    local id, number, stored, content = take(), take(), take(), take()
    local key = base .. 'pages:' .. id
    local found = call('HGET', key, number)
    local head = found and string.match(found, '^[^\n]*\n')
    if not head then
        return 0
    end
    return replace(key, number, head .. stored, head .. content)
end

function ops.rewrite_parked()
    local key, _, stored, content = take(), take(), take(), take()
    return replace(base .. 'p:' .. key, 'raw', stored, content)
end

function ops.rewrite_announcements()
    local key, sink, stored, content = take(), take(), take(), take()
    local number = call('HGET', base .. 'places', place_of(sink, key))
    return number and replace(base .. 'o:' .. number, 'payload', stored, content) or 0
end
