-- Adds a relay's hold on users (pairs of user and info), and the users that
-- were no members. Returns the positions of the users that have to wait: other
-- relays may still write that they were members before Redis lost its data.
if lease_of(relay) <= now then return {'lapsed'} end
local claims = ARGV[8] == 'claim' -- they were members before Redis lost its data
settling = settling or ARGV[8] == 'wait'
local waiting = {}
for i = 9, #ARGV, 2 do
  local user, info = ARGV[i], ARGV[i + 1]
  local member = redis.call('ZSCORE', members, user)
  if not member and settling and not claims then
    waiting[#waiting + 1] = (i - 9) / 2
  else
    local valid = others(user)
    valid[#valid + 1] = relay
    redis.call('HSET', holders, user, table.concat(valid, ' '))
    redis.call('ZADD', members, seconds(now + lease), user)
    local news = info ~= '' and info ~= redis.call('HGET', infos, user)
    if news then redis.call('HSET', infos, user, info) end
    if not member then
      change('+', user, info)
      if not claims then event('joined', user) end
    elseif news then
      change('=', user, info)
    end
  end
end
look(now + lease)
publish()
return {'ok', refused, unpack(waiting)}
