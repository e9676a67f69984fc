"""What must happen in one step, as Lua.

Numbers that may be large are passed on as the text they came in: Lua prints big ones with an exponent.

A Redis without memory refuses the first write of a script that may need some, but no later one. So scripts
that must go through whatever fills it (changes of flags, leases, taking usage out) begin with a write that
needs none.
"""

from typing import Final

from ff_proxy.store.redis.connection import Script

# Redis may evict, or a person delete, one key of an environment and not the others: the number of its rows is
# written with it, so that no half of an environment is ever taken for the whole.
_INTACT: Final = """
local function intact(items, moved, rows)
  rows = tonumber(rows or '-1')
  return redis.call('HLEN', items) == rows and redis.call('ZCARD', moved) == rows
end
"""

COMMIT: Final = Script(
    _INTACT
    + """
-- KEYS: config, items, moved, recent
-- ARGV: expected epoch, expected counter, fence, epoch if a new one begins, least counter,
--       '1' if this is the whole environment, channel, environment, info, keys, since,
--       now, then field and row of every changed item
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'fence', 'rows')
local epoch, counter = state[1] or '', tonumber(state[2] or '0')
if tonumber(ARGV[3]) < tonumber(state[3] or '0') then return {'fenced'} end
if epoch ~= ARGV[1] or counter ~= tonumber(ARGV[2]) then return {'moved'} end
local whole = ARGV[6] == '1'
if not whole and not intact(KEYS[2], KEYS[3], state[4]) then return {'moved'} end
local size = 0
for i = 13, #ARGV do size = size + #ARGV[i] end
-- A change of usual size goes through a Redis without memory, a whole environment does not.
if not whole and size < 65536 then redis.call('HDEL', KEYS[1], 'removed') end
local following = string.format('%.0f', math.max(counter, tonumber(ARGV[5])) + 1)
if whole then redis.call('DEL', KEYS[2], KEYS[3], KEYS[4]) end
-- Whoever knows what was here before a whole one must read everything.
if whole or tonumber(ARGV[3]) > tonumber(state[3] or '0') then epoch = ARGV[4] end
for i = 13, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[3], following, ARGV[i])
  -- What comes with an environment is nobody's change.
  if not whole then redis.call('ZADD', KEYS[4], ARGV[12], ARGV[i]) end
end
if not whole then redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -2001) end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'counter', following, 'fence', ARGV[3], 'info', ARGV[9],
           'keys', ARGV[10], 'since', ARGV[11], 'rows', redis.call('HLEN', KEYS[2]))
redis.call('HDEL', KEYS[1], 'removed')
redis.call('PUBLISH', ARGV[7], ARGV[8] .. '\\n' .. epoch .. '\\n' .. following)
return {'ok', epoch, following}
"""
)

READ: Final = Script(
    _INTACT
    + """
-- KEYS: config, items, moved; ARGV: known epoch, known counter
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'info', 'keys', 'since', 'removed', 'rows')
local epoch, counter = state[1] or '', state[2] or '0'
if state[6] then return {'removed', epoch, counter} end
if not intact(KEYS[2], KEYS[3], state[7]) then return {'absent', epoch, counter} end
if epoch == ARGV[1] and counter == ARGV[2] then return {'same', epoch, counter} end
if epoch ~= ARGV[1] then
  return {'whole', epoch, counter, state[3], state[4], state[5], redis.call('HGETALL', KEYS[2])}
end
local rows = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[2], '+inf')) do
  rows[#rows + 1] = field
  rows[#rows + 1] = redis.call('HGET', KEYS[2], field)
end
return {'part', epoch, counter, state[3], state[4], state[5], rows}
"""
)

STATE: Final = Script(
    _INTACT
    + """
-- KEYS: config, items, moved
-- Answers epoch and counter, or nothing if no whole environment is here.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'removed', 'rows')
if not state[1] or state[3] or not intact(KEYS[2], KEYS[3], state[4]) then return {} end
return {state[1], state[2]}
"""
)

RECENT: Final = Script("""
-- KEYS: items, recent; ARGV: wall-clock seconds after which changes are recent
local rows = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf')) do
  local row = redis.call('HGET', KEYS[1], field)
  if row then
    rows[#rows + 1] = field
    rows[#rows + 1] = row
  end
end
return rows
""")

REMOVE: Final = Script("""
-- KEYS: config, items, moved, recent; ARGV: fence, channel, environment
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'fence', 'removed')
if tonumber(ARGV[1]) < tonumber(state[3] or '0') then return -1 end
redis.call('HDEL', KEYS[1], 'status', 'reporter')
if not state[1] or state[4] then return 0 end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('HDEL', KEYS[1], 'info', 'keys', 'rows')
redis.call('HSET', KEYS[1], 'removed', '1', 'counter', string.format('%.0f', tonumber(state[2]) + 1))
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
""")

ENLIST: Final = Script("""
-- KEYS: environments; ARGV: environment
redis.call('SREM', KEYS[1], '')
return redis.call('SADD', KEYS[1], ARGV[1])
""")

REPORT: Final = Script("""
-- KEYS: config; ARGV: fence, status
-- Answers 0 if somebody with a higher fence has written or reported.
local state = redis.call('HMGET', KEYS[1], 'fence', 'reporter')
if tonumber(ARGV[1]) < math.max(tonumber(state[1] or '0'), tonumber(state[2] or '0')) then return 0 end
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'reporter', ARGV[1])
return 1
""")

_CROWDED: Final = """
local function crowded()
  -- What can wait leaves a fifth of Redis to what must go through. Where we may not ask, nothing is known.
  local memory = redis.pcall('INFO', 'memory')
  if type(memory) ~= 'string' then return false end
  local most = tonumber(string.match(memory, 'maxmemory:(%d+)') or '0')
  return most > 0 and tonumber(string.match(memory, 'used_memory:(%d+)') or '0') > 0.8 * most
end
"""

_FORGET: Final = """
local function forget(targets, most, own, size)
  -- A sample says how long rows are. A Redis that is nearly full keeps no more than it had.
  local found, sum = redis.call('HRANDFIELD', targets, -20, 'WITHVALUES'), 0
  for i = 1, #found, 2 do sum = sum + #found[i] + #found[i + 1] + 120 end
  if #found == 0 then return end
  local excess = math.ceil(redis.call('HLEN', targets) - tonumber(most) / (sum / (#found / 2)))
  if crowded() then excess = math.max(excess, size) end
  if excess <= 0 then return end
  for _, field in ipairs(redis.call('HRANDFIELD', targets, excess + size)) do
    if excess > 0 and not own[field] then excess = excess - redis.call('HDEL', targets, field) end
  end
end
"""

PUT_TARGETS: Final = Script(
    _CROWDED
    + _FORGET
    + """
-- KEYS: targets; ARGV: most bytes, 1 if these are the newest descriptions or 0 if the newest by time counts,
-- then identifier, time and description of each
-- A row is a description that begins with its time: rows without one are of time 0.
-- Answers the time under which each is stored, -1 where something newer is.
local own, times = {}, {}
for i = 3, #ARGV, 3 do
  local row = redis.call('HGET', KEYS[1], ARGV[i])
  local at, description = tonumber(ARGV[i + 1]), ARGV[i + 2]
  local held_at, held = -1, ''
  if row then
    local told, rest = string.match(row, '^{"at":(%d+),(.*)$')
    held_at, held = tonumber(told or '0'), rest and '{' .. rest or row
  end
  if held == description then
    at = held_at
  elseif ARGV[2] == '1' then
    at = math.max(at, held_at + 1)
  elseif at < held_at or (at == held_at and description < held) then
    at = -1
  end
  local time = string.format('%.0f', at)
  if at >= 0 and held ~= description then
    redis.call('HSET', KEYS[1], ARGV[i], '{"at":' .. time .. ',' .. string.sub(description, 2))
  end
  own[ARGV[i]] = true
  times[#times + 1] = time
end
forget(KEYS[1], ARGV[1], own, #times)
return times
"""
)

KEEP_TARGET: Final = Script(
    _CROWDED
    + _FORGET
    + """
-- KEYS: targets; ARGV: most bytes, identifier, what was found ('' if nothing), what it becomes
-- Answers 0 if another member stored it meanwhile.
if (redis.call('HGET', KEYS[1], ARGV[2]) or '') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
forget(KEYS[1], ARGV[1], {[ARGV[2]] = true}, 1)
return 1
"""
)

_ROOM: Final = """
-- About the bytes that an entry takes besides its texts.
local OVERHEAD = 120
local function cost(field, entry) return #field + #entry + OVERHEAD end
local function held(counts, targets, leases, prefix)
  local sum = redis.call('HLEN', counts) + redis.call('HLEN', targets)
  for _, id in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    sum = sum + redis.call('HLEN', prefix .. id)
  end
  return sum
end
local function total(key, mark)
  local sum, entries = 0, redis.call('HGETALL', key)
  for i = 1, #entries, 2 do sum = sum + cost(entries[i], entries[i + 1]) - mark end
  return sum
end
local function spent(counts, targets, leases, bytes, prefix)
  local known = tonumber(redis.call('GET', bytes) or '')
  if known then return known end
  local sum = total(counts, 0) + total(targets, 0)
  for _, id in ipairs(redis.call('ZRANGE', leases, 0, -1)) do sum = sum + total(prefix .. id, 1) end
  return sum
end
local function added(known, count, timestamp)
  if not known then return count .. '|' .. timestamp end
  local split = string.find(known, '|', 1, true)
  local sum = tonumber(string.sub(known, 1, split - 1)) + tonumber(count)
  local latest = math.max(tonumber(string.sub(known, split + 1)), tonumber(timestamp))
  return string.format('%.0f', math.min(sum, 9007199254740991)) .. '|' .. string.format('%.0f', latest)
end
local function add(counts, field, count, timestamp)
  local known = redis.call('HGET', counts, field)
  local entry = added(known, count, timestamp)
  redis.call('HSET', counts, field, entry)
  return known and #entry - #known or cost(field, entry)
end
local function restore(counts, targets, key)
  local freed, entries = 0, redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    local field, entry = string.sub(entries[i], 2), entries[i + 1]
    freed = freed + cost(field, entry)
    if string.sub(entries[i], 1, 1) == 'c' then
      local split = string.find(entry, '|', 1, true)
      freed = freed - add(counts, field, string.sub(entry, 1, split - 1), string.sub(entry, split + 1))
    elseif redis.call('HSETNX', targets, field, entry) == 1 then
      freed = freed - cost(field, entry)
    end
  end
  redis.call('DEL', key)
  return freed
end
local function note(bytes, sum)
  redis.call('SET', bytes, string.format('%.0f', math.max(sum, 0)))
end
"""

MERGE_USAGE: Final = Script(
    _ROOM
    + _CROWDED
    + """
-- KEYS: counts, targets, leases, bytes, merged
-- ARGV: prefix of lease keys, most bytes, this merge's name, seconds for which it is remembered,
--       number of counts, then field, count, timestamp of each, then identifier and entry of each target
local now = tonumber(redis.call('TIME')[1])
if redis.call('ZSCORE', KEYS[5], ARGV[3]) then return 0 end
-- The first write needs memory: a Redis that has none refuses it all.
redis.call('ZADD', KEYS[5], now, ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - tonumber(ARGV[4]))
redis.call('EXPIRE', KEYS[5], ARGV[4])
local sum = spent(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1])
local most = crowded() and 0 or tonumber(ARGV[2])
local dropped, i = 0, 6
for _ = 1, tonumber(ARGV[5]) do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  local entry = added(known, ARGV[i + 1], ARGV[i + 2])
  local more = known and #entry - #known or cost(ARGV[i], entry)
  if known or sum + more <= most then
    redis.call('HSET', KEYS[1], ARGV[i], entry)
    sum = sum + more
  else
    dropped = dropped + 1
  end
  i = i + 3
end
while i < #ARGV do
  local known = redis.call('HGET', KEYS[2], ARGV[i])
  local more = known and #ARGV[i + 1] - #known or cost(ARGV[i], ARGV[i + 1])
  if more <= 0 or sum + more <= most then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    sum = sum + more
  else
    dropped = dropped + 1
  end
  i = i + 2
end
note(KEYS[4], sum)
return dropped
"""
)

COUNT_USAGE: Final = Script(
    _ROOM
    + """
-- KEYS: counts, targets, leases; ARGV: prefix of lease keys
return held(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
"""
)

TAKE_USAGE: Final = Script(
    _ROOM
    + """
-- KEYS: counts, targets, leases, bytes, new lease
-- ARGV: prefix of lease keys, lease, limit, seconds until it comes back
if redis.call('EXISTS', KEYS[5]) == 1 then return redis.call('HGETALL', KEYS[5]) end
redis.call('HDEL', KEYS[1], '')
local now = tonumber(redis.call('TIME')[1])
local back = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)
if #back > 0 then
  local sum = spent(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1])
  for _, id in ipairs(back) do
    sum = sum - restore(KEYS[1], KEYS[2], ARGV[1] .. id)
    redis.call('ZREM', KEYS[3], id)
  end
  note(KEYS[4], sum)
end
local left = tonumber(ARGV[3])
local entries = {}
for group, mark in ipairs({'c', 't'}) do
  if left > 0 then
    local found = redis.call('HRANDFIELD', KEYS[group], left, 'WITHVALUES')
    for i = 1, #found, 2 do
      entries[#entries + 1] = mark .. found[i]
      entries[#entries + 1] = found[i + 1]
      redis.call('HDEL', KEYS[group], found[i])
      redis.call('HSET', KEYS[5], mark .. found[i], found[i + 1])
      left = left - 1
    end
  end
end
if #entries > 0 then redis.call('ZADD', KEYS[3], now + tonumber(ARGV[4]), ARGV[2]) end
return entries
"""
)

SETTLE_USAGE: Final = Script(
    _ROOM
    + """
-- KEYS: counts, targets, leases, bytes, lease; ARGV: prefix of lease keys, lease, '1' if it arrived
if not redis.call('ZSCORE', KEYS[3], ARGV[2]) then return 0 end
local sum = spent(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[2])
if ARGV[3] == '1' then
  sum = sum - total(KEYS[5], 1)
  redis.call('DEL', KEYS[5])
else
  sum = sum - restore(KEYS[1], KEYS[2], KEYS[5])
end
note(KEYS[4], sum)
if held(KEYS[1], KEYS[2], KEYS[3], ARGV[1]) == 0 then redis.call('DEL', KEYS[4]) end
return 1
"""
)

ADD_REGISTRATION: Final = Script(
    _CROWDED
    + """
-- KEYS: order, waiting, taken, sent
-- ARGV: identifier, fingerprint (32 hexadecimal digits) and registration in one text, fingerprint, most bytes
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  return 1
end
local taken = redis.call('HGET', KEYS[3], ARGV[1])
local known = taken and string.match(taken, '^(%x+)|') or redis.call('HGET', KEYS[4], ARGV[1])
if known == ARGV[3] then return 1 end
local average = 0
for group = 2, 3 do
  -- A sample is enough: entries are short, or at most of one length.
  local found = redis.call('HRANDFIELD', KEYS[group], -20, 'WITHVALUES')
  local sum = 0
  for i = 1, #found, 2 do sum = sum + #found[i] + #found[i + 1] + 240 end
  if #found > 0 then average = average + redis.call('HLEN', KEYS[group]) * sum / (#found / 2) end
end
if crowded() or average + #ARGV[1] + #ARGV[2] + 240 > tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
redis.call('ZADD', KEYS[1], tonumber(last[2] or '0') + 1, ARGV[1])
return 1
"""
)

TAKE_REGISTRATIONS: Final = Script("""
-- KEYS: order, waiting, taken; ARGV: limit, seconds until one comes back
-- Answers what was taken, and last how many wait or are being sent.
local now = tonumber(redis.call('TIME')[1])
local found = {}
local taken = redis.call('HGETALL', KEYS[3])
for i = 1, #taken, 2 do
  local due, entry = string.match(taken[i + 1], '^%x+|(%d+)|(.*)$')
  if tonumber(due) <= now then
    redis.call('HDEL', KEYS[3], taken[i])
    if redis.call('HSETNX', KEYS[2], taken[i], entry) == 1 then redis.call('ZADD', KEYS[1], 0, taken[i]) end
  end
end
-- Only those that are being sent are passed over.
local last = tonumber(ARGV[1]) + redis.call('HLEN', KEYS[3])
for _, identifier in ipairs(redis.call('ZRANGE', KEYS[1], 0, last)) do
  if #found >= tonumber(ARGV[1]) then break end
  if redis.call('HEXISTS', KEYS[3], identifier) == 0 then
    local entry = redis.call('HGET', KEYS[2], identifier)
    redis.call('HSET', KEYS[3], identifier, string.sub(entry, 1, 32) .. '|' ..
               string.format('%.0f', now + tonumber(ARGV[2])) .. '|' .. entry)
    redis.call('HDEL', KEYS[2], identifier)
    redis.call('ZREM', KEYS[1], identifier)
    found[#found + 1] = entry
  end
end
found[#found + 1] = redis.call('HLEN', KEYS[2]) + redis.call('HLEN', KEYS[3])
return found
""")

SETTLE_REGISTRATION: Final = Script("""
-- KEYS: order, waiting, taken, sent; ARGV: identifier, fingerprint, '1' if delivered, remembered
local taken = redis.call('HGET', KEYS[3], ARGV[1])
if not taken or string.match(taken, '^(%x+)|') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[3], ARGV[1])
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
  local excess = redis.call('HLEN', KEYS[4]) - tonumber(ARGV[4])
  if excess > 0 then
    for _, field in ipairs(redis.call('HRANDFIELD', KEYS[4], excess)) do
      redis.call('HDEL', KEYS[4], field)
    end
  end
elseif redis.call('HSETNX', KEYS[2], ARGV[1], string.match(taken, '^%x+|%d+|(.*)$')) == 1 then
  local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  redis.call('ZADD', KEYS[1], tonumber(last[2] or '0') + 1, ARGV[1])
end
return 1
""")

TAKE_LEASE: Final = Script("""
-- KEYS: lease, config; ARGV: member, milliseconds
-- Answers the fencing number as text; if another member holds the lease, for how many milliseconds yet.
local last = tonumber(redis.call('HGET', KEYS[2], 'fence') or '0')
local held = redis.call('GET', KEYS[1])
if held then
  local member, fence = string.match(held, '^(.*)|(%d+)$')
  if member ~= ARGV[1] then return redis.call('PTTL', KEYS[1]) end
  if tonumber(fence) >= last then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return fence
  end
  -- Somebody wrote under a higher number, as after a flush: the holder would be locked out of its own term.
end
local time = redis.call('TIME')
-- The clock grows, also over a flush; after a failover to a slower one, the last number does.
local fence = string.format('%.0f', math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), last + 1))
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1] .. '|' .. fence, 'PX', ARGV[2])
return fence
""")

DROP_LEASE: Final = Script("""
-- KEYS: lease; ARGV: member, channel, environment
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^(.*)|%d+$') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
""")
