-- Removes expired members, at most as many as a number. Returns how many. A relay
-- whose own lease has ended does not: then either it was stopped, or the clock
-- was set forward and nobody had the time to extend anything.
if lease_of(relay) <= now then return {'lapsed'} end
local gone = redis.call('ZRANGEBYSCORE', members, '-inf', '(' .. seconds(now), 'LIMIT', 0, ARGV[8])
for _, user in ipairs(gone) do remove(user) end
local first = redis.call('ZRANGE', members, 0, 0, 'WITHSCORES')
if first[2] then redis.call('ZADD', due, first[2], channel) else redis.call('ZREM', due, channel) end
publish()
return {'ok', refused, #gone}
