-- Extends the lease of a relay and the members that it holds: for each key from
-- the third on, a number of users and these. Returns pairs of the positions of a
-- key and a user that is no member any more, or cannot be because the key has
-- another type.
local relay, known, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('GET', KEYS[1]) ~= known then return {'generation'} end
if tonumber(redis.call('ZSCORE', KEYS[2], relay) or '0') * 1000 <= now then return {'lapsed'} end
local expiry = seconds(now + lease)
redis.call('ZADD', KEYS[2], expiry, relay)
local missing, at = {}, 4
for k = 3, #KEYS do
  local n = tonumber(ARGV[at])
  local pairs = {}
  for i = 1, n do
    pairs[2 * i - 1], pairs[2 * i] = expiry, ARGV[at + i]
  end
  local changed = redis.pcall('ZADD', KEYS[k], 'XX', 'CH', unpack(pairs))
  if changed ~= n then
    for i = 1, n do
      if type(changed) == 'table' or not redis.call('ZSCORE', KEYS[k], ARGV[at + i]) then
        missing[#missing + 1] = k - 3
        missing[#missing + 1] = i - 1
      end
    end
  end
  at = at + n + 1
end
return {'ok', '', unpack(missing)}
