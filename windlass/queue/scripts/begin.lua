-- A job starts: take the source's lease, and read in one go what the run needs.
local job, source, lease_ms = ARGV[1], ARGV[2], ARGV[3]
local key, lease = source_key(source), lease_key('source', source)
local wait = settling(lease_ms)
if wait > 0 then return {'busy', wait} end
local held = redis.call('PTTL', lease)
if held > 0 then return {'busy', held} end
local s = redis.call('HMGET', key, 'gen', 'done', 'waiting', 'running', 'processed', 'documents', 'attempts', 'followed')
if text(s[3]) == job then redis.call('HDEL', key, 'waiting') end
if number(s[1]) <= number(s[2]) then
  if text(s[4]) == job then redis.call('HDEL', key, 'running') end
  return {'none'}
end
local token = next_token()
redis.call('SET', lease, token, 'PX', lease_ms)
redis.call('HSET', key, 'running', job)
return {'run', number(s[1]), token, text(s[5]), text(s[6]), number(s[7]),
  redis.call('SMEMBERS', key .. ':dirty'), redis.call('LRANGE', key .. ':hints', 0, -1), number(s[8])}
