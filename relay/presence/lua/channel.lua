local generation, relays, members, holders, infos, due, version, events =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local relay, known, lease, channel, topic = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
-- Relays whose leases ended later than this may have had no time to extend them.
local horizon = tonumber(ARGV[6])
local patient = horizon < now
local wanted = ARGV[7] -- events

-- Redis lost its data since this relay has written its members.
if redis.call('GET', generation) ~= known then return {'generation'} end

-- Redis has just lost its data: the relays have not written all members again.
local settling = now < tonumber(string.match(known, ' (%d+)$') or '0')

-- lease_of returns until when a relay holds its members, in ms.
local leases = {}
local function lease_of(id)
  leases[id] = leases[id] or math.floor(tonumber(redis.call('ZSCORE', relays, id) or '0') * 1000 + 0.5)
  return leases[id]
end

-- others returns the relays besides this one that hold a user, and the latest
-- of their leases, or now.
local function others(user)
  local valid, latest = {}, now
  for id in string.gmatch(redis.call('HGET', holders, user) or '', '%S+') do
    local till = lease_of(id)
    if id ~= relay and till > math.min(horizon, now) then
      valid[#valid + 1] = id
      latest = math.max(latest, till)
    end
  end
  return valid, latest
end

-- look makes a relay look for expired members of the channel at a time in ms.
local function look(at)
  local planned = redis.call('ZSCORE', due, channel)
  if not planned or tonumber(planned) * 1000 > at then redis.call('ZADD', due, seconds(at), channel) end
end

-- What follows the change of the members: if Redis refuses it, the members are
-- correct all the same.
local refused, changes = '', {}
local function attempt(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then refused = reply.err end
end

local function change(kind, user, info)
  changes[#changes + 1] = string.format('%d\t%s\t%d\t%s\t%s',
    redis.call('INCRBY', version, 1), kind, redis.call('ZCARD', members), user, info)
end

local function event(kind, user)
  if events and string.find(wanted, kind, 1, true) then
    attempt('XADD', events, 'MAXLEN', '~', '10000', '*', 'kind', kind, 'ms', string.format('%d', now), 'user', user,
      'channel', channel)
  end
end

local function remove(user)
  redis.call('ZREM', members, user)
  redis.call('HDEL', holders, user)
  redis.call('HDEL', infos, user)
  change('-', user, '')
  event('left', user)
end

local function publish()
  if #changes > 0 then attempt('PUBLISH', topic, channel .. '\n' .. table.concat(changes, '\n')) end
end
