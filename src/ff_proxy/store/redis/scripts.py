"""What must happen in one step to environments and their leases, as Lua.

Numbers that may be large are passed on as the text they came in: Lua prints big ones with an exponent.

A Redis without memory refuses the first write of a script that may need some, but no later one. So scripts
that must go through whatever fills it (changes of flags, leases, taking usage out) begin with a write that
needs none.
"""

from typing import Final

from ff_proxy.store.redis.connection import Script

# Redis may evict, or a person delete, one key of an environment and not the others: the number of its rows is
# written with it, so that no half of an environment is ever taken for the whole.
_NUMBER: Final = """
local function number(text)
  -- What is none, whoever wrote it, counts as absent: the holder of a lease must be able to write over it.
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
  -- Answers nothing if the lease is this one, else why not. Who takes no leases has no name.
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
--       channel, environment, info, keys, since, now, life, number of fields that are forgotten, then these,
--       then field and row of every changed item
-- Modes: 'part' changes what is expected here, 'begin' does so under a new epoch, 'whole' replaces
-- everything, 'join' adds, without a lease and under a new epoch, items of which Redis has lost the newer
-- version.
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
-- What is no sorted set must show before anything is written.
if not whole then redis.call('ZCARD', KEYS[4]) end
local size = 0
for i = 15, #ARGV do size = size + #ARGV[i] end
-- A change of usual size goes through a Redis without memory, a whole environment does not.
if not whole and size < 65536 then redis.call('HDEL', KEYS[1], 'removed') end
local following = string.format('%.0f', math.max(counter, tonumber(ARGV[6])) + 1)
if whole then redis.call('DEL', KEYS[2], KEYS[3], KEYS[4]) end
-- Whoever knows another state than the one that is expected here must read everything.
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
  -- What comes with an environment is nobody's change.
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
-- Whoever leads has found nothing to change: from now on what is here is as new as this fence says.
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
-- Answers what this is, epoch, counter, fence and life, and unless that says it all info, keys, since and
-- rows: all of them, or those that moved since what is known.
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

REMOVE: Final = Script(
    _NUMBER
    + _LEADING
    + """
-- KEYS: config, items, moved, recent, lease; ARGV: member, fence, channel, environment
-- Answers how often it has been removed, -1 if another member may write now.
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
-- What is there cannot be read: whoever leads writes all of it anew.
if leading(KEYS[5], ARGV[1], ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'fence', ARGV[2])
return 1
"""
)

ENLIST: Final = Script("""
-- KEYS: environments; ARGV: environment
redis.call('SREM', KEYS[1], '')
return redis.call('SADD', KEYS[1], ARGV[1])
""")

REPORT: Final = Script(
    _NUMBER
    + _LEADING
    + """
-- KEYS: config, lease; ARGV: member, fence, status
-- Answers 0 if another member leads, or if somebody with a higher fence has written or reported.
if leading(KEYS[2], ARGV[1], ARGV[2]) then return 0 end
local state = redis.call('HMGET', KEYS[1], 'fence', 'reporter')
if tonumber(ARGV[2]) < math.max(number(state[1]), number(state[2])) then return 0 end
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'status', ARGV[3], 'reporter', ARGV[2])
return 1
"""
)

TAKE_LEASE: Final = Script(
    _NUMBER
    + """
-- KEYS: lease, config; ARGV: member, milliseconds, the highest fencing number known
-- Answers the fencing number as text; if another member holds the lease, for how many milliseconds yet.
local last = math.max(number(redis.call('HGET', KEYS[2], 'fence')), tonumber(ARGV[3]))
local held = redis.call('GET', KEYS[1])
if held then
  local member, fence = string.match(held, '^(.*)|(%d+)$')
  local left = redis.call('PTTL', KEYS[1])
  -- What never ends, or not for long, is no lease of a member: nobody would lead again.
  if member and member ~= ARGV[1] and left >= 0 and left <= 10 * tonumber(ARGV[2]) then return left end
  if member == ARGV[1] and number(fence) >= last then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return fence
  end
  -- Somebody wrote under a higher number, as before an older state came back: the holder would be locked
  -- out of its own term.
end
local time = redis.call('TIME')
-- The clock grows, also over a flush; after a failover to a slower one, the last number does.
local fence = string.format('%.0f', math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), last + 1))
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1] .. '|' .. fence, 'PX', ARGV[2])
return fence
"""
)

DROP_LEASE: Final = Script("""
-- KEYS: lease; ARGV: member, channel, environment
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^(.*)|%d+$') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
""")
