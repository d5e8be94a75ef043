-- The next notice of a rule that is due, taken until ARGV[3]; nobody else gets it before. ARGV: rule, now, until.
local queue = 'windlass:notices:' .. ARGV[1]
while true do
  local id = redis.call('ZRANGEBYSCORE', queue, '-inf', ARGV[2], 'LIMIT', 0, 1)[1]
  if not id then return false end
  local notice = redis.call('GET', 'windlass:notice:' .. id)
  if notice then
    redis.call('ZADD', queue, ARGV[3], id)
    return notice
  end
  redis.call('ZREM', queue, id) -- it waited for too long
end
