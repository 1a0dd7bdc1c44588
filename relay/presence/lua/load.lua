-- Returns the newest version, the number of members, and pairs of user and info.
local result = {redis.call('GET', KEYS[3]) or '0', redis.call('ZCARD', KEYS[1])}
local users = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
for first = 1, #users, 500 do
  local infos = redis.call('HMGET', KEYS[2], unpack(users, first, math.min(first + 499, #users)))
  for i, info in ipairs(infos) do
    result[#result + 1] = users[first + i - 1]
    result[#result + 1] = info or ''
  end
end
return result
