-- Removes a relay's hold on users, and the users that no other relay holds,
-- after a grace in ms. Returns the positions of the users that have to wait.
local grace = tonumber(ARGV[8])
local waiting = {}
for i = 9, #ARGV do
  local user = ARGV[i]
  local expiry = tonumber(redis.call('ZSCORE', members, user) or '0') * 1000
  local valid, latest = others(user)
  local last = #valid == 0
  if last and grace == 0 and settling then
    waiting[#waiting + 1] = i - 9
  elseif last and grace == 0 and expiry > 0 then
    remove(user)
  else
    local till = last and now + grace or latest
    if last then redis.call('HDEL', holders, user) else redis.call('HSET', holders, user, table.concat(valid, ' ')) end
    if expiry > till and not (patient and not last) then
      redis.call('ZADD', members, seconds(till), user)
      look(till)
    end
  end
end
publish()
return {'ok', refused, unpack(waiting)}
