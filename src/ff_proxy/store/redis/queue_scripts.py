"""Atomic operations on targets, and on usage and registrations on their way to Harness, in Lua.

See ``scripts`` for numbers, and for a Redis that is out of memory.
"""

from typing import Final

from ff_proxy.store.redis.connection import Script

_CROWDED: Final = """
local function crowded()
  -- Leave a fifth of the memory to what cannot wait. Without the right to ask, assume that there is room.
  local memory = redis.pcall('INFO', 'memory')
  if type(memory) ~= 'string' then return false end
  local most = tonumber(string.match(memory, 'maxmemory:(%d+)') or '0')
  return most > 0 and tonumber(string.match(memory, 'used_memory:(%d+)') or '0') > 0.8 * most
end
"""

_FORGET: Final = """
local function forget(targets, most, own, size)
  -- Estimates the size from a sample. A nearly full Redis keeps no more rows than it had.
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
-- KEYS: targets; ARGV: most bytes, 1 if these are the newest versions or 0 if the newest by time counts,
-- then identifier, time and JSON of each
-- A row is JSON that begins with its time; rows without one have time 0.
-- Returns the time under which each is stored, -1 if a newer one is there.
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
-- KEYS: targets; ARGV: most bytes, identifier, the expected row ('' if none), the new row
-- Returns 0 if another member changed it meanwhile.
if (redis.call('HGET', KEYS[1], ARGV[2]) or '') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
forget(KEYS[1], ARGV[1], {[ARGV[2]] = true}, 1)
return 1
"""
)

_ROOM: Final = """
local function usable(counts, targets, leases, bytes)
  -- A script that fails halfway is not rolled back, so fail before any write: on keys of another type, and on
  -- what the user may not do.
  redis.call('HLEN', counts)
  redis.call('HLEN', targets)
  redis.call('ZCARD', leases)
  redis.call('GET', bytes)
  redis.call('HEXISTS', targets, '')
end
-- About the bytes that an entry takes besides its texts.
local OVERHEAD = 120
local function cost(field, entry) return #field + #entry + OVERHEAD end
-- A lease of another type is empty: what other programs wrote must not stop the rest.
local function leased(key, command)
  local answer = redis.pcall(command, key)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if not string.find(answer.err, 'WRONGTYPE', 1, true) then return redis.call(command, key) end
end
local function entries_of(key) return leased(key, 'HGETALL') or {} end
local function held(counts, targets, leases, prefix)
  local sum = redis.call('HLEN', counts) + redis.call('HLEN', targets)
  for _, id in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    sum = sum + (leased(prefix .. id, 'HLEN') or 0)
  end
  return sum
end
local function sum_of(entries, mark)
  local sum = 0
  for i = 1, #entries, 2 do sum = sum + cost(entries[i], entries[i + 1]) - mark end
  return sum
end
local function total(key, mark) return sum_of(redis.call('HGETALL', key), mark) end
local function spent(counts, targets, leases, bytes, prefix)
  -- The number may outlive the entries, which Redis may evict and a person delete.
  if held(counts, targets, leases, prefix) == 0 then return 0 end
  local known = tonumber(redis.call('GET', bytes) or '')
  if known and known >= 0 and known <= 9007199254740991 then return known end
  local sum = total(counts, 0) + total(targets, 0)
  for _, id in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    sum = sum + sum_of(entries_of(prefix .. id), 1)
  end
  return sum
end
-- Ignore rows that are no counts: what other programs wrote must not stop the rest.
local function parsed(entry) return string.match(entry, '^(%-?%d+)|(%-?%d+)$') end
local function added(known, count, timestamp)
  local held, at = parsed(known or '')
  if not held then return count .. '|' .. timestamp end
  local sum = tonumber(held) + tonumber(count)
  local latest = math.max(tonumber(at), tonumber(timestamp))
  return string.format('%.0f', math.min(sum, 9007199254740991)) .. '|' .. string.format('%.0f', latest)
end
local function add(counts, field, count, timestamp)
  local known = redis.call('HGET', counts, field)
  local entry = added(known, count, timestamp)
  redis.call('HSET', counts, field, entry)
  return known and #entry - #known or cost(field, entry)
end
local function describe(targets, identifier, entry)
  -- A newer version stays.
  if redis.call('HEXISTS', targets, identifier) == 1 then return 0 end
  redis.call('HSET', targets, identifier, entry)
  return cost(identifier, entry)
end
local function restore(counts, targets, key)
  local freed, entries = 0, entries_of(key)
  for i = 1, #entries, 2 do
    local field, entry = string.sub(entries[i], 2), entries[i + 1]
    freed = freed + cost(field, entry)
    if string.sub(entries[i], 1, 1) == 'c' then
      local count, timestamp = parsed(entry)
      if count then freed = freed - add(counts, field, count, timestamp) end
    else
      freed = freed - describe(targets, field, entry)
    end
  end
  if #entries > 0 then redis.call('DEL', key) end
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
usable(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local now = tonumber(redis.call('TIME')[1])
if redis.call('ZSCORE', KEYS[5], ARGV[3]) then return 0 end
local sum = spent(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1])
-- What the user may not do must fail before a count is stored; a merge that failed must not count as made.
-- The first write changes nothing, but needs memory, so a Redis without memory refuses all of this.
redis.call('ZADD', KEYS[5], 'XX', now, ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - tonumber(ARGV[4]))
redis.call('EXPIRE', KEYS[5], ARGV[4])
note(KEYS[4], sum)
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
redis.call('ZADD', KEYS[5], now, ARGV[3])
redis.call('EXPIRE', KEYS[5], ARGV[4])
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
-- ARGV: prefix of lease keys, lease, limit, seconds until it expires
usable(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
if redis.call('EXISTS', KEYS[5]) == 1 then return redis.call('HGETALL', KEYS[5]) end
-- These change nothing: what the user may not do must fail before anything is moved.
redis.call('HDEL', KEYS[1], '')
redis.call('ZREM', KEYS[3], '')
redis.call('DEL', KEYS[5])
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
      if #entries == 0 then redis.call('ZADD', KEYS[3], now + tonumber(ARGV[4]), ARGV[2]) end
      entries[#entries + 1] = mark .. found[i]
      entries[#entries + 1] = found[i + 1]
      redis.call('HSET', KEYS[5], mark .. found[i], found[i + 1])
      redis.call('HDEL', KEYS[group], found[i])
      left = left - 1
    end
  end
end
return entries
"""
)

SETTLE_USAGE: Final = Script(
    _ROOM
    + """
-- KEYS: counts, targets, leases, bytes, lease
-- ARGV: prefix of lease keys, lease, number of undelivered counts, then field, count, timestamp of each, then
--       identifier and entry of each undelivered target
usable(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
if not redis.call('ZSCORE', KEYS[3], ARGV[2]) then return 0 end
local sum = spent(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1])
-- Changes nothing: what the user may not do must fail before anything is stored that is stored again later.
redis.call('ZREM', KEYS[3], '')
local entries = entries_of(KEYS[5])
sum = sum - sum_of(entries, 1)
if #entries > 0 then redis.call('DEL', KEYS[5]) end
local i = 4
for _ = 1, tonumber(ARGV[3]) do
  sum = sum + add(KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i + 2])
  i = i + 3
end
while i < #ARGV do
  sum = sum + describe(KEYS[2], ARGV[i], ARGV[i + 1])
  i = i + 2
end
redis.call('ZREM', KEYS[3], ARGV[2])
note(KEYS[4], sum)
if held(KEYS[1], KEYS[2], KEYS[3], ARGV[1]) == 0 then redis.call('DEL', KEYS[4]) end
return 1
"""
)

_USABLE_REGISTRATIONS: Final = """
-- A script that fails halfway is not rolled back, so fail on keys of another type before any write.
redis.call('ZCARD', KEYS[1])
for group = 2, #KEYS do redis.call('HLEN', KEYS[group]) end
local function enqueue(order, identifier)
  local last = redis.call('ZREVRANGE', order, 0, 0, 'WITHSCORES')
  redis.call('ZADD', order, 'NX', tonumber(last[2] or '0') + 1, identifier)
end
"""

ADD_REGISTRATION: Final = Script(
    _CROWDED
    + """
-- KEYS: order, waiting, taken, sent
-- ARGV: identifier, fingerprint (32 hexadecimal digits) followed by the registration, fingerprint, most bytes
"""
    + _USABLE_REGISTRATIONS
    + """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  enqueue(KEYS[1], ARGV[1])
  return 1
end
local taken = redis.call('HGET', KEYS[3], ARGV[1])
local known = taken and string.match(taken, '^(%x+)|') or redis.call('HGET', KEYS[4], ARGV[1])
if known == ARGV[3] then return 1 end
local average = 0
for group = 2, 3 do
  -- Estimated from a sample.
  local found = redis.call('HRANDFIELD', KEYS[group], -20, 'WITHVALUES')
  local sum = 0
  for i = 1, #found, 2 do sum = sum + #found[i] + #found[i + 1] + 240 end
  if #found > 0 then average = average + redis.call('HLEN', KEYS[group]) * sum / (#found / 2) end
end
if crowded() or average + #ARGV[1] + #ARGV[2] + 240 > tonumber(ARGV[4]) then return 0 end
if redis.call('HLEN', KEYS[2]) == 0 then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
enqueue(KEYS[1], ARGV[1])
return 1
"""
)

TAKE_REGISTRATIONS: Final = Script(
    """
-- KEYS: order, waiting, taken; ARGV: limit, seconds until one expires
-- Returns what was taken, and last the number that is queued or in flight.
"""
    + _USABLE_REGISTRATIONS
    + """
redis.call('HDEL', KEYS[2], '')
local now = tonumber(redis.call('TIME')[1])
local found = {}
local taken = redis.call('HGETALL', KEYS[3])
for i = 1, #taken, 2 do
  local due, entry = string.match(taken[i + 1], '^%x+|(%d+)|(.*)$')
  -- One that is due in the distant future is of another program, or of a clock that was ahead.
  local left = tonumber(due or '0') - now
  if left <= 0 or left > 10 * tonumber(ARGV[2]) then
    redis.call('HDEL', KEYS[3], taken[i])
    if entry and redis.call('HSETNX', KEYS[2], taken[i], entry) == 1 then
      redis.call('ZADD', KEYS[1], 0, taken[i])
    end
  end
end
-- Redis may evict, or a person delete, one key without the others: then some have no place, or no content.
if redis.call('ZCARD', KEYS[1]) < redis.call('HLEN', KEYS[2]) then
  for _, identifier in ipairs(redis.call('HRANDFIELD', KEYS[2], tonumber(ARGV[1]))) do
    enqueue(KEYS[1], identifier)
  end
end
-- Skips only those in flight.
local last = tonumber(ARGV[1]) + redis.call('HLEN', KEYS[3])
for _, identifier in ipairs(redis.call('ZRANGE', KEYS[1], 0, last)) do
  if #found >= tonumber(ARGV[1]) then break end
  if redis.call('HEXISTS', KEYS[3], identifier) == 0 then
    local entry = redis.call('HGET', KEYS[2], identifier)
    redis.call('ZREM', KEYS[1], identifier)
    if entry then
      redis.call('HSET', KEYS[3], identifier, string.sub(entry, 1, 32) .. '|' ..
                 string.format('%.0f', now + tonumber(ARGV[2])) .. '|' .. entry)
      redis.call('HDEL', KEYS[2], identifier)
      found[#found + 1] = entry
    end
  end
end
found[#found + 1] = redis.call('HLEN', KEYS[2]) + redis.call('HLEN', KEYS[3])
return found
"""
)

SETTLE_REGISTRATION: Final = Script(
    """
-- KEYS: order, waiting, taken, sent; ARGV: identifier, fingerprint, 'sent', 'again' or 'forget', remembered
"""
    + _USABLE_REGISTRATIONS
    + """
local taken = redis.call('HGET', KEYS[3], ARGV[1])
if not taken or string.match(taken, '^(%x+)|') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[3], ARGV[1])
if ARGV[3] == 'sent' then
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
  local excess = redis.call('HLEN', KEYS[4]) - tonumber(ARGV[4])
  if excess > 0 then
    for _, field in ipairs(redis.call('HRANDFIELD', KEYS[4], excess)) do
      redis.call('HDEL', KEYS[4], field)
    end
  end
elseif ARGV[3] == 'again' then
  local entry = string.match(taken, '^%x+|%d+|(.*)$')
  if entry and redis.call('HSETNX', KEYS[2], ARGV[1], entry) == 1 then enqueue(KEYS[1], ARGV[1]) end
end
return 1
"""
)
