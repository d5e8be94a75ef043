-- A run ends: what was pushed meanwhile becomes exactly one more job; what failed is tried again when it is due.
local r = cjson.decode(ARGV[1])
local key, lease = source_key(r.source), lease_key('source', r.source)
if redis.call('GET', lease) ~= r.token then return -1 end
redis.call('DEL', lease)
redis.call('HDEL', key, 'running')
if r.hand_back then
  local gen = redis.call('HINCRBY', key, 'gen', 1)
  if text(redis.call('HGET', key, 'waiting')) == '' then
    enqueue(r, r.source, gen, text(redis.call('HGET', key, 'digest')), 'handed back', true)
  end
  return gen
end
redis.call('HSET', key, 'done', r.generation, 'error', r.error)
if r.error == '' then
  redis.call('HSET', key, 'attempts', 0)
  while true do
    local hint = redis.call('LINDEX', key .. ':hints', 0)
    if not hint then break end
    local ok, known = pcall(cjson.decode, hint)
    if ok and number(known.generation) > r.generation then break end
    redis.call('LPOP', key .. ':hints')
  end
else
  redis.call('HINCRBY', key, 'attempts', 1)
end
local gen = number(redis.call('HGET', key, 'gen'))
if gen > r.generation then
  if text(redis.call('HGET', key, 'waiting')) == '' then
    enqueue(r, r.source, gen, text(redis.call('HGET', key, 'digest')), 'pushed meanwhile', false)
  end
  return gen
end
if r.retry_at > 0 then redis.call('ZADD', 'windlass:retries', r.retry_at, r.source) end
return 0
