"""Atomic operations on environments and their leases, in Lua.

Numbers that may be large stay texts: Lua prints large numbers with an exponent.

A Redis that is out of memory refuses a script at its first write that needs memory. So scripts that must work
even then (changes of flags, leases, taking usage out) begin with a write that needs none.
"""

from typing import Final

from ff_proxy.store.redis.connection import Script

# Redis may evict, or a person delete, single keys of an environment. The number of rows is stored with it, so
# that a part is never taken for the whole.
_NUMBER: Final = """
local function number(text)
  -- Anything else counts as absent, so that the leader can overwrite it.
  local found = tonumber(text or '') or 0
  if found ~= found or found < 0 or found > 9007199254740991 then return 0 end
  return found
end
"""

_INTACT: Final = """
local function intact(items, moved, rows)
  rows = tonumber(rows or '-1')
  return redis.call('HLEN', items) == rows and redis.call('ZCARD', moved) == rows
end
"""

_LEADING: Final = """
local function leading(lease, member, fence)
  -- Returns nil if this member holds the lease, else why not. A writer without leases has no name.
  if member == '' then return nil end
  local held = redis.call('GET', lease)
  if not held then return 'leaseless' end
  if held ~= member .. '|' .. fence then return 'fenced' end
end
"""

COMMIT: Final = Script(
    _NUMBER
    + _INTACT
    + _LEADING
    + """
-- KEYS: config, items, moved, recent, lease
-- ARGV: expected epoch, expected counter, member, fence, epoch if a new one begins, least counter, mode,
--       channel, environment, info, keys, since, now, life, number of forgotten fields, then these, then
--       field and row of every changed item
-- Modes: 'part' changes the expected state, 'begin' does so under a new epoch, 'whole' replaces everything,
-- 'join' adds, under a new epoch and without a lease, items of which Redis has lost the newer version.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'fence', 'rows')
local epoch, counter, mode = state[1] or '', number(state[2]), ARGV[7]
if mode ~= 'join' then
  if tonumber(ARGV[4]) < number(state[3]) then return {'fenced'} end
  local why = leading(KEYS[5], ARGV[3], ARGV[4])
  if why then return {why} end
end
if epoch ~= ARGV[1] or counter ~= tonumber(ARGV[2]) then return {'moved'} end
local whole = mode == 'whole'
if not whole and not intact(KEYS[2], KEYS[3], state[4]) then return {'moved'} end
-- Fail before anything is written if this is no sorted set.
if not whole then redis.call('ZCARD', KEYS[4]) end
local size = 0
for i = 15, #ARGV do size = size + #ARGV[i] end
-- A usual change must work in a Redis that is out of memory, a whole environment need not.
if not whole and size < 65536 then redis.call('HDEL', KEYS[1], 'removed') end
local following = string.format('%.0f', math.max(counter, tonumber(ARGV[6])) + 1)
if whole then redis.call('DEL', KEYS[2], KEYS[3], KEYS[4]) end
-- Readers that know another state than the expected one must read everything.
if mode ~= 'part' then epoch = ARGV[5] end
local first = 16 + tonumber(ARGV[15])
for i = 16, first - 1 do
  redis.call('HDEL', KEYS[2], ARGV[i])
  redis.call('ZREM', KEYS[3], ARGV[i])
  redis.call('ZREM', KEYS[4], ARGV[i])
end
for i = first, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[3], following, ARGV[i])
  -- The items of a new environment are not changes.
  if not whole then redis.call('ZADD', KEYS[4], ARGV[13], ARGV[i]) end
end
if not whole then redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -2001) end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'counter', following, 'rows', redis.call('HLEN', KEYS[2]))
if mode ~= 'join' then
  redis.call('HSET', KEYS[1], 'fence', ARGV[4], 'info', ARGV[10], 'keys', ARGV[11], 'since', ARGV[12],
             'life', ARGV[14])
end
redis.call('HDEL', KEYS[1], 'removed')
redis.call('PUBLISH', ARGV[8], ARGV[9] .. '\\n' .. epoch .. '\\n' .. following)
return {'ok', epoch, following}
"""
)

CLAIM: Final = Script(
    _NUMBER
    + _LEADING
    + """
-- KEYS: config, lease; ARGV: member, fence
-- The leader has nothing to change: mark the environment as current under its fencing number.
if leading(KEYS[2], ARGV[1], ARGV[2]) or not redis.call('HGET', KEYS[1], 'epoch') then return 0 end
if tonumber(ARGV[2]) <= number(redis.call('HGET', KEYS[1], 'fence')) then return 0 end
redis.call('HSET', KEYS[1], 'fence', ARGV[2])
return 1
"""
)

READ: Final = Script(
    _NUMBER
    + _INTACT
    + """
-- KEYS: config, items, moved; ARGV: known epoch, known counter
-- Returns the kind of answer, epoch, counter, fence and life; for 'whole' and 'part' also info, keys, since
-- and rows: all, or those that changed since the known counter.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'fence', 'life', 'removed', 'rows',
                         'info', 'keys', 'since')
local epoch, counter, fence, life = state[1] or '', state[2] or '0', state[3] or '0', state[4] or '0'
if state[5] then return {'removed', epoch, counter, fence, life} end
if not intact(KEYS[2], KEYS[3], state[6]) then return {'absent', epoch, counter, fence, life} end
if epoch == ARGV[1] and counter == ARGV[2] then return {'same', epoch, counter, fence, life} end
if epoch ~= ARGV[1] or number(counter) < tonumber(ARGV[2]) then
  return {'whole', epoch, counter, fence, life, state[7], state[8], state[9], redis.call('HGETALL', KEYS[2])}
end
local rows = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[2], '+inf')) do
  rows[#rows + 1] = field
  rows[#rows + 1] = redis.call('HGET', KEYS[2], field)
end
return {'part', epoch, counter, fence, life, state[7], state[8], state[9], rows}
"""
)

STATE: Final = Script(
    _INTACT
    + """
-- KEYS: config, items, moved
-- Returns epoch and counter, or nothing if the environment is missing or incomplete.
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

REMOVE: Final = Script(
    _NUMBER
    + _LEADING
    + """
-- KEYS: config, items, moved, recent, lease; ARGV: member, fence, channel, environment
-- Returns how often it has been removed, -1 if another member leads.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'counter', 'fence', 'removed')
if leading(KEYS[5], ARGV[1], ARGV[2]) or tonumber(ARGV[2]) < number(state[3]) then return -1 end
redis.call('HDEL', KEYS[1], 'status', 'reporter')
if not state[1] or state[4] then return number(redis.call('HGET', KEYS[1], 'life')) end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('HDEL', KEYS[1], 'info', 'keys', 'rows')
local life = redis.call('HINCRBY', KEYS[1], 'life', 1)
redis.call('HSET', KEYS[1], 'removed', '1', 'fence', ARGV[2],
           'counter', string.format('%.0f', number(state[2]) + 1))
redis.call('PUBLISH', ARGV[3], ARGV[4])
return life
"""
)

DISCARD: Final = Script(
    _LEADING
    + """
-- KEYS: config, items, moved, recent, lease; ARGV: member, fence
-- The environment cannot be read: the leader deletes it and writes it again.
if leading(KEYS[5], ARGV[1], ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'fence', ARGV[2])
return 1
"""
)

REPORT: Final = Script(
    _NUMBER
    + _LEADING
    + """
-- KEYS: config, lease; ARGV: member, fence, status
-- Returns 0 if another member leads, or has written or reported under a higher fencing number.
if leading(KEYS[2], ARGV[1], ARGV[2]) then return 0 end
local state = redis.call('HMGET', KEYS[1], 'fence', 'reporter')
if tonumber(ARGV[2]) < math.max(number(state[1]), number(state[2])) then return 0 end
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'status', ARGV[3], 'reporter', ARGV[2])
return 1
"""
)

ACQUIRE_LEASE: Final = Script(
    _NUMBER
    + """
-- KEYS: lease, config; ARGV: member, milliseconds, the highest fencing number known
-- Returns the fencing number as text, or the milliseconds for which another member holds the lease.
local last = math.max(number(redis.call('HGET', KEYS[2], 'fence')), tonumber(ARGV[3]))
local held = redis.call('GET', KEYS[1])
if held then
  local member, fence = string.match(held, '^(.*)|(%d+)$')
  local left = redis.call('PTTL', KEYS[1])
  -- A value without an expiry, or with a distant one, is no lease: otherwise nobody could lead again.
  if member and member ~= ARGV[1] and left >= 0 and left <= 10 * tonumber(ARGV[2]) then return left end
  if member == ARGV[1] and number(fence) >= last then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return fence
  end
  -- There was a write under a higher number, for example before an older state came back: renewing would
  -- lock the holder out.
end
local time = redis.call('TIME')
-- The clock grows, even across a flush; after a failover to a slower clock, the last number counts.
local fence = string.format('%.0f', math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), last + 1))
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1] .. '|' .. fence, 'PX', ARGV[2])
return fence
"""
)

RELEASE_LEASE: Final = Script("""
-- KEYS: lease; ARGV: member, channel, environment
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^(.*)|%d+$') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
""")
