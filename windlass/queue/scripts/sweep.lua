-- Any source whose generation is ahead and that has no live job gets one. A job that RQ gave up on parks its source.
local r = cjson.decode(ARGV[1])
local queue = 'rq:queue:' .. r.queue
local running = redis.call('ZRANGE', 'rq:wip:' .. r.queue, 0, -1)

local function started(id)
  for _, member in ipairs(running) do
    if string.sub(member, 1, #id + 1) == id .. ':' then return true end
  end
  return false
end

local function state(id)
  local status = redis.call('HGET', 'rq:job:' .. id, 'status')
  if not status then return 'dead' end
  if status == 'failed' then return 'parked' end
  if status == 'started' and started(id) then return 'live' end
  if status == 'scheduled' or status == 'deferred' then return 'live' end
  if status ~= 'queued' then return 'dead' end
  if redis.call('LPOS', queue, id) then return 'live' end
  if redis.call('LPOS', queue .. ':intermediate', id) then
    -- Taken by a worker that has not started it: given back if it is still so at the next look but one.
    local seen = redis.call('INCR', 'windlass:taken:' .. id)
    redis.call('EXPIRE', 'windlass:taken:' .. id, 60)
    if seen < 3 then return 'live' end
    redis.call('DEL', 'windlass:taken:' .. id)
    redis.call('LREM', queue .. ':intermediate', 0, id)
    redis.call('RPUSH', queue, id)
    return 'live'
  end
  return 'dead'
end

local queued = {}
for source, digest in pairs(r.sources) do
  local key = source_key(source)
  local s = redis.call('HMGET', key, 'gen', 'done', 'waiting', 'running', 'parked')
  if number(s[1]) > number(s[2]) and text(s[5]) == '' then
    local live, parked = false, false
    for _, id in ipairs({text(s[3]), text(s[4])}) do
      if id ~= '' then
        local now = state(id)
        live = live or now == 'live'
        parked = parked or now == 'parked'
      end
    end
    if not live then
      redis.call('HDEL', key, 'waiting', 'running')
      if parked then
        redis.call('HSET', key, 'parked', s[1], 'error', 'the job killed its worker three times; the next push tries again')
      else
        enqueue(r, source, redis.call('HINCRBY', key, 'gen', 1), digest, 'sweep', false)
        queued[#queued + 1] = source
      end
    end
  end
end
return queued
