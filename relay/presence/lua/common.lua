-- The clock of all relays is that of Redis, in milliseconds.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- seconds returns a time as a score.
local function seconds(ms) return string.format('%.3f', ms / 1000) end
