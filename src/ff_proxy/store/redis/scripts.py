"""What must happen in one step, as Lua.

Numbers that may be large are passed on as the text they came in: Lua prints big ones with an exponent.
"""

from typing import Final

from ff_proxy.store.redis.connection import Script

COMMIT: Final = Script("""
-- KEYS: config, items, moved
-- ARGV: expected epoch, expected counter, fence, epoch if there is none or the fence is new, least counter,
--       channel, environment, info, keys, since, then field and row of every changed item
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'fence')
local epoch, counter = state[1] or '', tonumber(state[2] or '0')
if tonumber(ARGV[3]) < tonumber(state[3] or '0') then return {'fenced'} end
if epoch ~= ARGV[1] or (epoch ~= '' and counter ~= tonumber(ARGV[2])) then return {'moved'} end
if epoch == '' or tonumber(ARGV[3]) > tonumber(state[3] or '0') then epoch = ARGV[4] end
local following = string.format('%.0f', math.max(counter, tonumber(ARGV[5])) + 1)
redis.call('HSET', KEYS[1], 'epoch', epoch, 'counter', following, 'fence', ARGV[3],
           'info', ARGV[8], 'keys', ARGV[9], 'since', ARGV[10])
redis.call('HDEL', KEYS[1], 'removed')
for i = 11, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[3], following, ARGV[i])
end
redis.call('PUBLISH', ARGV[6], ARGV[7] .. '\\n' .. epoch .. '\\n' .. following)
return {'ok', epoch, following}
""")

READ: Final = Script("""
-- KEYS: config, items, moved; ARGV: known epoch, known counter
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'info', 'keys', 'since', 'removed')
if not state[1] then return {'absent'} end
if state[6] then return {'removed'} end
if state[1] == ARGV[1] and state[2] == ARGV[2] then return {'same'} end
if state[1] ~= ARGV[1] then
  return {'whole', state[1], state[2], state[3], state[4], state[5], redis.call('HGETALL', KEYS[2])}
end
local rows = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[2], '+inf')) do
  rows[#rows + 1] = field
  rows[#rows + 1] = redis.call('HGET', KEYS[2], field)
end
return {'part', state[1], state[2], state[3], state[4], state[5], rows}
""")

NEWEST: Final = Script("""
-- KEYS: items, moved; ARGV: how many
local rows = {}
for _, field in ipairs(redis.call('ZREVRANGE', KEYS[2], 0, ARGV[1] - 1)) do
  rows[#rows + 1] = field
  rows[#rows + 1] = redis.call('HGET', KEYS[1], field)
end
return rows
""")

REMOVE: Final = Script("""
-- KEYS: config, items, moved; ARGV: fence, channel, environment
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'fence', 'removed')
if not state[1] or state[4] then return 0 end
if tonumber(ARGV[1]) < tonumber(state[3] or '0') then return -1 end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HDEL', KEYS[1], 'info', 'keys', 'status', 'reporter')
redis.call('HSET', KEYS[1], 'removed', '1', 'counter', string.format('%.0f', tonumber(state[2]) + 1))
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
""")

PUT_TARGETS: Final = Script("""
-- KEYS: targets; ARGV: capacity, then identifier and target of each
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
local excess = redis.call('HLEN', KEYS[1]) - tonumber(ARGV[1])
if excess > 0 then
  local own = {}
  for i = 2, #ARGV, 2 do own[ARGV[i]] = true end
  for _, field in ipairs(redis.call('HRANDFIELD', KEYS[1], excess)) do
    if not own[field] then redis.call('HDEL', KEYS[1], field) end
  end
end
return 1
""")

_ROOM: Final = """
local function held(counts, targets, leases, prefix)
  local sum = redis.call('HLEN', counts) + redis.call('HLEN', targets)
  for _, id in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    sum = sum + redis.call('HLEN', prefix .. id)
  end
  return sum
end
local function add(counts, field, count, timestamp)
  local known = redis.call('HGET', counts, field)
  if known then
    local split = string.find(known, '|', 1, true)
    local sum = tonumber(string.sub(known, 1, split - 1)) + tonumber(count)
    local latest = math.max(tonumber(string.sub(known, split + 1)), tonumber(timestamp))
    count = string.format('%.0f', math.min(sum, 9007199254740991))
    timestamp = string.format('%.0f', latest)
  end
  redis.call('HSET', counts, field, count .. '|' .. timestamp)
end
local function restore(counts, targets, key)
  local entries = redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    local field, entry = string.sub(entries[i], 2), entries[i + 1]
    if string.sub(entries[i], 1, 1) == 'c' then
      local split = string.find(entry, '|', 1, true)
      add(counts, field, string.sub(entry, 1, split - 1), string.sub(entry, split + 1))
    else
      redis.call('HSETNX', targets, field, entry)
    end
  end
  redis.call('DEL', key)
end
local function comeback(counts, targets, leases, prefix)
  local time = redis.call('TIME')
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', time[1])) do
    restore(counts, targets, prefix .. id)
    redis.call('ZREM', leases, id)
  end
  return tonumber(time[1])
end
"""

MERGE_USAGE: Final = Script(
    _ROOM
    + """
-- KEYS: counts, targets, leases; ARGV: prefix of lease keys, capacity, number of counts,
--       then field, count, timestamp of each count, then identifier and entry of each target
local room = tonumber(ARGV[2]) - held(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
local dropped, i = 0, 4
for _ = 1, tonumber(ARGV[3]) do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    add(KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i + 2])
  elseif room > 0 then
    add(KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i + 2])
    room = room - 1
  else
    dropped = dropped + 1
  end
  i = i + 3
end
while i < #ARGV do
  local known = redis.call('HEXISTS', KEYS[2], ARGV[i])
  if known == 1 or room > 0 then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    room = room - (1 - known)
  else
    dropped = dropped + 1
  end
  i = i + 2
end
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
-- KEYS: counts, targets, leases, new lease
-- ARGV: prefix of lease keys, lease, limit, seconds until it comes back
local now = comeback(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
local left = tonumber(ARGV[3])
local entries = {}
for group, mark in ipairs({'c', 't'}) do
  if left > 0 then
    local found = redis.call('HRANDFIELD', KEYS[group], left, 'WITHVALUES')
    for i = 1, #found, 2 do
      entries[#entries + 1] = mark .. found[i]
      entries[#entries + 1] = found[i + 1]
      redis.call('HSET', KEYS[4], mark .. found[i], found[i + 1])
      redis.call('HDEL', KEYS[group], found[i])
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
-- KEYS: counts, targets, leases, lease; ARGV: lease, '1' if it arrived
if redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then return 0 end
if ARGV[2] == '1' then redis.call('DEL', KEYS[4]) else restore(KEYS[1], KEYS[2], KEYS[4]) end
return 1
"""
)

ADD_REGISTRATION: Final = Script("""
-- KEYS: order, waiting, taken, sent
-- ARGV: identifier, fingerprint (32 hexadecimal digits) and registration in one text, fingerprint, capacity
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  return 1
end
local taken = redis.call('HGET', KEYS[3], ARGV[1])
local known = taken and string.match(taken, '^(%x+)|') or redis.call('HGET', KEYS[4], ARGV[1])
if known == ARGV[3] then return 1 end
if redis.call('HLEN', KEYS[2]) + redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
redis.call('ZADD', KEYS[1], tonumber(last[2] or '0') + 1, ARGV[1])
return 1
""")

TAKE_REGISTRATIONS: Final = Script("""
-- KEYS: order, waiting, taken; ARGV: limit, seconds until one comes back
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
for _, identifier in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
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
local held = redis.call('GET', KEYS[1])
if held then
  local member, fence = string.match(held, '^(.*)|(%d+)$')
  if member ~= ARGV[1] then return redis.call('PTTL', KEYS[1]) end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return fence
end
local time = redis.call('TIME')
-- The clock grows, also over a flush; after a failover to a slower one, the last number does.
local last = tonumber(redis.call('HGET', KEYS[2], 'fence') or '0')
local fence = string.format('%.0f', math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), last + 1))
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
