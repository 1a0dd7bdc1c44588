-- Begins the work of a relay after it has connected: returns the generation of
-- the data, the newest version, whether the relay held no members, until when it
-- did, and whether others may be writing theirs.
local generation, version, relays = KEYS[1], KEYS[2], KEYS[3]
local relay, fresh, known, seen, lease, settle =
  ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local current = redis.call('GET', generation)
local newest = tonumber(redis.call('GET', version) or '0')
-- Redis does not know a generation or a version that a relay does, so it has
-- lost data: all relays write their members again in the time of settle. If a
-- relay knows neither and did not have to wait for Redis, that seems to be new,
-- until another relay knows better.
local replaced = known ~= '' and current ~= known and current and string.match(current, ' 0$')
if not current or current == known and newest < seen or replaced then
  current = fresh .. ' ' .. string.format('%d', settle > 0 and now + settle or 0)
  redis.call('SET', generation, current)
  newest = math.max(newest, seen) -- versions only rise
  redis.call('SET', version, string.format('%d', newest))
end
local held = tonumber(redis.call('ZSCORE', relays, relay) or '0') * 1000
local young = tonumber(string.match(current, ' (%d+)$') or '0') > now - 60000
redis.call('ZREMRANGEBYSCORE', relays, '-inf', seconds(now - 3600000))
redis.call('ZADD', relays, seconds(now + lease), relay)
return {current, newest, held <= now and 1 or 0, string.format('%d', held), young and 1 or 0}
