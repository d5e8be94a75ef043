-- A promotion's state, written only by who holds its lease. ARGV: the queue's name, the token, the promotion, its state.
if redis.call('GET', lease_key('source', ARGV[1])) ~= ARGV[2] then return 0 end
redis.call('HSET', 'windlass:promotion:' .. ARGV[3], 'state', ARGV[4])
return 1
