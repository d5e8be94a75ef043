-- A lease with a fencing token: {token, 0}, or {0, milliseconds to wait}.
local lease = lease_key(ARGV[1], ARGV[2])
local wait = settling(ARGV[3])
if wait > 0 then return {0, wait} end
local held = redis.call('PTTL', lease)
if held > 0 then return {0, held} end
local token = next_token()
redis.call('SET', lease, token, 'PX', ARGV[3])
return {token, 0}
