-- One delivery: remember it, move the generation of every source that it names, queue one job where none waits or runs.
local r = cjson.decode(ARGV[1])
local seen = false
if r.delivery ~= '' then
  seen = not redis.call('SET', 'windlass:delivery:' .. r.delivery, r.event, 'NX', 'EX', r.remember)
end
local answers = {}
for _, m in ipairs(r.marks) do
  local key = source_key(m.source)
  local s = redis.call('HMGET', key, 'gen', 'done', 'waiting', 'running', 'processed', 'parked')
  if r.delivery ~= '' then redis.call('HSET', key, 'heard', r.received_at) end
  if text(m.polled) ~= '' then redis.call('HSET', key, 'polled', m.polled) end
  local gen, idle = number(s[1]), text(s[3]) == '' and (text(s[4]) == '' or text(s[6]) ~= '')
  local settled = idle and gen == number(s[2]) and text(s[6]) == '' and redis.call('SCARD', key .. ':dirty') == 0
  for _, name in ipairs(m.dirty) do redis.call('SADD', key .. ':dirty', name) end
  if m.commit ~= '' and settled and text(s[5]) == m.commit then
    answers[#answers + 1] = {'applied', gen}
  else
    gen = redis.call('HINCRBY', key, 'gen', 1)
    if m.commit ~= '' and not seen then
      redis.call('RPUSH', key .. ':hints', cjson.encode({commit = m.commit, before = m.before, event = r.event, received_at = r.received_at, generation = gen}))
      redis.call('LTRIM', key .. ':hints', -m.keep, -1)
    end
    local parked = text(s[6]) ~= '' and m.commit == '' and #m.dirty == 0 -- a person or a commit tries again, nothing else
    if not parked then redis.call('HDEL', key, 'parked') end
    redis.call('ZREM', 'windlass:retries', m.source)
    redis.call('HSET', key, 'digest', m.digest)
    if parked then
      answers[#answers + 1] = {'parked', gen}
    elseif idle then
      redis.call('HDEL', key, 'running')
      enqueue(r, m.source, gen, m.digest, m.description, false)
      answers[#answers + 1] = {'queued', gen}
    else
      answers[#answers + 1] = {'coalesced', gen}
    end
  end
end
return cjson.encode(answers)
