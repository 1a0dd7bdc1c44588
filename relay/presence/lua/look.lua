-- Returns the positions of the channels in which members have expired, and plans
-- when to look at the others again. The keys from the second on are the members
-- of the channels.
local expired = {}
for i, channel in ipairs(ARGV) do
  local first = redis.pcall('ZRANGE', KEYS[i + 1], 0, 0, 'WITHSCORES')
  if first.err or not first[2] or tonumber(first[2]) * 1000 < now then
    expired[#expired + 1] = i - 1
  else
    redis.call('ZADD', KEYS[1], first[2], channel)
  end
end
return expired
