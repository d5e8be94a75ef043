-- What the watcher found out about an application's health. Answers 0 if its lease is somebody else's, 1 if a run has written
-- objects since (it is to look again), 2 if it is kept. The record of the run that it is about is replaced only if it is
-- still the one that was read.
local r = cjson.decode(ARGV[1])
if redis.call('GET', lease_key('watcher', r.cluster)) ~= r.token then return 0 end
local key = 'windlass:app:' .. r.name
if number(redis.call('HGET', key, 'turn')) ~= r.turn then return 1 end
redis.call('SET', key .. ':health', ARGV[2])
redis.call('SADD', 'windlass:changed', r.name)
if ARGV[3] ~= ARGV[4] then
  if redis.call('HGET', key, 'last') == ARGV[3] then redis.call('HSET', key, 'last', ARGV[4]) end
  if redis.call('LINDEX', key .. ':history', 0) == ARGV[3] then redis.call('LSET', key .. ':history', 0, ARGV[4]) end
end
return 2
