-- Returns channels in which members may have expired, and lets no other relay
-- look at them for a while.
local list = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', seconds(now), 'LIMIT', 0, ARGV[1])
for _, channel in ipairs(list) do redis.call('ZADD', KEYS[1], seconds(now + tonumber(ARGV[2])), channel) end
return list
