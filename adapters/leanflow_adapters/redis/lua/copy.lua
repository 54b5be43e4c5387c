-- What copies ask for: which scopes there are, how much they have, and rows written as another store had them.

-- A slice of the whole database: where the next begins ('0' if that was the last), this version's layout, and of each
-- scope that has keys in it the number, in hexadecimal, and its layout.
function ops.scan()
    local cursor, prefix, size = take(), take(), take()
    local found = call('SCAN', cursor, 'COUNT', size)
    local scopes, out = {}, { found[1], LAYOUT }
    for _, key in ipairs(found[2]) do
        local scope, rest = string.sub(key, #prefix + 1, #prefix + 16), string.sub(key, #prefix + 17, #prefix + 18)
        if string.sub(key, 1, #prefix) == prefix and rest == '}:' and not scopes[scope] then
            scopes[scope] = true
            out[#out + 1] = scope
            out[#out + 1] = call('HGET', prefix .. scope .. '}:scope', 'layout') or LAYOUT
        end
    end
    return out
end

-- A slice of the requests behind `after`: the last one ('' if there was none), and how many they have of versions,
-- calls, rows of history, ids, pages, and leases that run.
function ops.measure()
    local after, size, now = take(), take(), moment('')
    local ids = behind('all', after, size)
    local versions, calls, rows, names, pages, leases = 0, 0, 0, 0, 0, 0
    for _, id in ipairs(ids) do
        local found = call('HMGET', request_key(id), 'version', 'call_no', 'owner', 'lease')
        versions = versions + tonumber(found[1])
        calls = calls + tonumber(found[2])
        rows = rows + call('LLEN', base .. 'h:' .. id)
        names = names + call('HLEN', base .. 'names:' .. id) - 1
        pages = pages + call('HLEN', base .. 'pages:' .. id)
        if found[3] ~= '' and found[4] ~= '' and tonumber(found[4]) > now then
            leases = leases + 1
        end
    end
    return { ids[#ids] or '', versions, calls, rows, names, pages, leases }
end

-- A slice of the announcements ('told') or of the parked events ('parked'): the last one, and how often they were tried.
function ops.tried()
    local index, after, size = take(), take(), take()
    local names = behind(index, after, size)
    local tries = 0
    for _, name in ipairs(names) do
        local key = index == 'parked' and 'p:' .. name or 'o:' .. call('HGET', base .. 'places', name)
        tries = tries + tonumber(call('HGET', base .. key, 'tries'))
    end
    return { names[#names] or '', tries }
end

-- A slice of an index by its ranks, each member and then its score.
function ops.ranked()
    local index, first, size = take(), tonumber(take()), tonumber(take())
    return call('ZRANGE', base .. index, first, first + size - 1, 'WITHSCORES')
end

-- writing -------------------------------------------------------------------------------------------------------------

-- Each takes the columns of a table but for the scope, and behind them what Redis keeps beside; of tables that are kept
-- in another form, that. Whoever held a lease is not coming along.
local puts = {}

function puts.scopes(row)
    introduce(row[1], row[2], row[3])
end

function puts.tombstones(row)
    call('ZADD', base .. 'stones', row[2], row[1])
end

function puts.inbox(row)
    call('ZADD', base .. 'inbox', row[3], row[1])
end

function puts.keys(row)
    keep_key(row[1], row[2])
end

function puts.ids(row)
    name(row[3], { { row[1], row[2], row[4] } })
end

function puts.history(row)
    call('RPUSH', base .. 'h:' .. row[1], row[2])
end

function puts.pages(row)
    keep_page(row[1], row[2], row[3])
end

function puts.notes(row)
    call('HSET', base .. row[1], row[2], row[3])
end

function puts.parked(row)
    park(row[1], {
        tag = row[2], at = row[3], kind = row[4], value = row[5], request = row[6], due = row[7], expires = row[8],
        offered = row[9], tries = row[10], raw = row[11],
    })
end

function puts.requests(row)
    insert(row[1], {
        state = row[2], version = row[3], call_no = row[4], owner = '', lease = '', due = row[5], ended = row[6],
        held = row[7], failure = row[8], created = row[9], resource = row[11], entity = row[12], customer = row[13],
        reference = row[14], print = row[15], record = row[16], stone = row[17], successor = row[18],
    })
end

function puts.outbox(row)
    enter(row[2], {
        sink = row[1], kind = row[3], about = row[4], ordered = row[5] == '1', aside = row[6] == '1', tries = row[7],
        at = row[8], due = row[9], error = row[10], payload = row[11],
    })
end

function puts.sinks(row)
    call('HSET', base .. 'sinks', row[1], row[2])
end

-- Write rows, each behind what the keys of its scope begin with, and the mark over the one before it; 0 if that one is
-- not there. KEYS[1] is of the scope that has the mark: this works on one server, not on several that share the keys.
function ops.write()
    local before, mark, put, rows = take(), take(), puts[take()], take_lists(tonumber(take()))
    local notes = base .. 'notes'
    if (call('HGET', notes, 'copy') or '') ~= before then
        return 0
    end
    for _, row in ipairs(rows) do
        base = table.remove(row, 1)
        put(row)
    end
    call('HSET', notes, 'copy', mark)
    return 1
end
