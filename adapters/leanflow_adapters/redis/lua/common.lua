-- What all scripts share. KEYS[1] begins every key of one scope: a hash tag, so that they lie in one slot.
-- ARGV[1] names the operation, its arguments follow. Times are whole microseconds since 1970, as text: printed as a
-- number by Lua they would lose digits. '' stands for none.
--
-- Redis rolls nothing back: an operation takes all its arguments and looks at all it needs before its first write.

-- Version of what is kept under which key. A change that other versions cannot read raises it.
local LAYOUT = 1

local base = KEYS[1]
local call = redis.call
local ops = {}

local taken = 1
local function take()
    taken = taken + 1
    return ARGV[taken]
end

local function take_lists(width)
    local found = {}
    for n = 1, tonumber(take()) do
        local one = {}
        for m = 1, width do
            one[m] = take()
        end
        found[n] = one
    end
    return found
end

local function whole(number)
    return string.format('%.0f', number)
end

-- The time that was given, or this server's own.
local function moment(given)
    if given ~= '' then
        return tonumber(given)
    end
    local time = call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function request_key(id)
    return base .. 'r:' .. id
end

-- Note from when on a request can be claimed: when it is due and no lease runs.
local function schedule(id, due, owner, lease)
    if due == '' then
        call('ZREM', base .. 'due', id)
    elseif owner ~= '' and lease ~= '' and tonumber(lease) > tonumber(due) then
        call('ZADD', base .. 'due', lease, id)
    else
        call('ZADD', base .. 'due', due, id)
    end
end

local function is_buried(stone)
    return stone ~= '' and call('ZSCORE', base .. 'stones', stone)
end

-- The indexes that a request is in as it is now; each is in the order of ids.
local function note(id, index, value, before)
    if before == value then
        return
    end
    if before ~= '' then
        call('ZREM', base .. index .. before, id)
    end
    if value ~= '' then
        call('ZADD', base .. index .. value, 0, id)
    end
end

-- The members of an index without scores behind one of them.
local function behind(index, after, limit)
    local from = after == '' and '-' or '(' .. after
    return call('ZRANGEBYLEX', base .. index, from, '+', 'LIMIT', 0, limit)
end

-- parked events -------------------------------------------------------------------------------------------------------

local function park(key, event)
    call('HSET', base .. 'p:' .. key, 'tag', event.tag, 'at', event.at, 'kind', event.kind, 'value', event.value,
        'request', event.request, 'due', event.due, 'expires', event.expires, 'tries', event.tries,
        'number', event.number or call('INCR', base .. 'number'), 'raw', event.raw)
    call('ZADD', base .. 'parked', 0, key)
    call('ZADD', base .. 'offered', event.offered, key)
    if event.kind ~= '' then
        call('SADD', base .. 'under:' .. event.kind .. ':' .. event.value, key)
    end
    if event.request ~= '' then
        call('SADD', base .. 'early:' .. event.request, key)
    end
end

local function unpark(key)
    local found = call('HMGET', base .. 'p:' .. key, 'kind', 'value', 'request')
    if not found[1] then
        return false
    end
    call('DEL', base .. 'p:' .. key)
    call('ZREM', base .. 'parked', key)
    call('ZREM', base .. 'offered', key)
    if found[1] ~= '' then
        call('SREM', base .. 'under:' .. found[1] .. ':' .. found[2], key)
    end
    if found[3] ~= '' then
        call('SREM', base .. 'early:' .. found[3], key)
    end
    return true
end

-- announcements -------------------------------------------------------------------------------------------------------
-- A row's number, padded with zeros, is its name: numbers in the order of commits. 'w:' has the rows of a sink that
-- wait, 'a:' those set aside, 'q:' by due time those of them whose turn it is. Rows that keep their request's order
-- stand in a line, 'l:', of which the first alone is in 'q:'; in 'x:' are those of the line that were set aside.

local function row_of(number)
    local found = call('HMGET', base .. 'o:' .. number, 'sink', 'key', 'about', 'ordered', 'aside', 'due', 'kind')
    return {
        sink = found[1], key = found[2], about = found[3], ordered = found[4] == '1', aside = found[5] == '1',
        due = found[6], kind = found[7],
    }
end

local function line_of(row)
    return row.about .. ':' .. row.sink
end

local function place_of(sink, key)
    return #sink .. ':' .. sink .. ':' .. key
end

local function stand(number, row)
    if row.aside then
        call('ZADD', base .. 'a:' .. row.sink, number, number)
        if row.ordered then
            call('ZADD', base .. 'x:' .. line_of(row), number, number)
        end
        return
    end
    call('ZADD', base .. 'w:' .. row.sink, number, number)
    if row.ordered then
        local line = base .. 'l:' .. line_of(row)
        local first = call('ZRANGE', line, 0, 0)[1]
        call('ZADD', line, number, number)
        if first and first < number then
            return
        elseif first then
            call('ZREM', base .. 'q:' .. row.sink, first)
        end
    end
    call('ZADD', base .. 'q:' .. row.sink, row.due, number)
end

local function step_out(number, row)
    if row.aside then
        call('ZREM', base .. 'a:' .. row.sink, number)
        call('ZREM', base .. 'x:' .. line_of(row), number)
        return
    end
    call('ZREM', base .. 'w:' .. row.sink, number)
    local was_first = call('ZREM', base .. 'q:' .. row.sink, number) == 1
    if row.ordered then
        local line = base .. 'l:' .. line_of(row)
        call('ZREM', line, number)
        local first = call('ZRANGE', line, 0, 0)[1]
        if was_first and first then
            call('ZADD', base .. 'q:' .. row.sink, call('HGET', base .. 'o:' .. first, 'due'), first)
        end
    end
end

local function drop(number, row)
    step_out(number, row)
    local place = place_of(row.sink, row.key)
    call('HDEL', base .. 'places', place)
    call('ZREM', base .. 'told', place)
    if row.about ~= '' then
        call('SREM', base .. 'about:' .. row.about, number)
    end
    call('DEL', base .. 'o:' .. number)
end

local function enter(key, row)
    local place = place_of(row.sink, key)
    local number = string.format('%016d', call('INCR', base .. 'number'))
    call('HSET', base .. 'places', place, number)
    call('ZADD', base .. 'told', 0, place)
    call('HSET', base .. 'o:' .. number, 'sink', row.sink, 'key', key, 'kind', row.kind, 'about', row.about,
        'ordered', row.ordered and '1' or '0', 'aside', row.aside and '1' or '0', 'tries', row.tries, 'at', row.at,
        'due', row.due, 'error', row.error, 'payload', row.payload)
    if row.about ~= '' then
        call('SADD', base .. 'about:' .. row.about, number)
    end
    stand(number, row)
end

local function post(sink, key, kind, payload, due, about, ordered)
    if call('HEXISTS', base .. 'places', place_of(sink, key)) == 1 then
        return 0
    end
    enter(key, {
        sink = sink, kind = kind, about = about, ordered = ordered, aside = false, tries = '0', at = due, due = due,
        error = '', payload = payload,
    })
    return 1
end

local function has(list, value)
    for _, one in ipairs(list) do
        if one == value then
            return true
        end
    end
    return false
end

local function wants(sink, kind, topic, resource)
    if kind == 'webhook' then
        return has(sink.webhooks, topic) or has(sink.webhooks, '*')
    elseif #sink.webhooks > 0 then
        return false
    elseif kind == 'report' then
        return sink.reports
    end
    return (sink.states == cjson.null or has(sink.states, topic))
        and (sink.resources == cjson.null or has(sink.resources, resource))
end

-- Make one row for each sink that wants to be told; return how many. Each of `told` is key, kind, topic, resource,
-- request and payload.
local function announce(told, due, about)
    if #told == 0 then
        return 0
    end
    local made = 0
    local known = call('HGETALL', base .. 'sinks')
    for n = 1, #known, 2 do
        local sink = cjson.decode(known[n + 1])
        for _, one in ipairs(told) do
            if wants(sink, one[2], one[3], one[4]) then
                local of = one[5] ~= '' and one[5] or about
                made = made + post(known[n], one[1], one[2], one[6], due, of, one[5] ~= '')
            end
        end
    end
    return made
end
