-- Is this the memory that we knew? 1 if not; then, unless nobody can have written before us, leases wait until
-- whoever held one in the lost memory can no longer write. If they wait already (see `settling`), they gave none since.
if redis.call('HGET', 'windlass:epoch', 'run_id') == ARGV[1] then return 0 end
redis.call('HSET', 'windlass:epoch', 'run_id', ARGV[1], 'id', ARGV[4])
if ARGV[2] == '1' then
  redis.call('DEL', 'windlass:settling')
else
  redis.call('SET', 'windlass:settling', '1', 'PX', ARGV[3], 'NX')
end
return 1
