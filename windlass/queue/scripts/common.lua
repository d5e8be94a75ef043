-- Shared by every script: keys, and the one place where an RQ job is made.
-- The job's hash is what RQ's own `Job.to_dict` writes; RQ reads uncompressed `data` too.
local function source_key(source) return 'windlass:source:' .. source end
local function app_key(name) return 'windlass:app:' .. name end
local function lease_key(kind, name) return 'windlass:lease:' .. kind .. ':' .. name end
local function text(value) if value then return value end return '' end
local function number(value) return tonumber(value or '0') or 0 end

-- Milliseconds for which nobody gets a lease. In a memory that is new, who held one in the lost memory may still write: that
-- is found out here, for a lease may be asked for before anybody has looked at the epoch.
local function settling(lease_ms)
  if redis.call('EXISTS', 'windlass:epoch') == 0 then
    redis.call('HSET', 'windlass:epoch', 'id', '')
    redis.call('SET', 'windlass:settling', '1', 'PX', lease_ms + 2000)
  end
  return redis.call('PTTL', 'windlass:settling')
end

-- A fencing token: it grows, also over a loss of the memory, so that no token is ever given twice.
local function next_token()
  if redis.call('EXISTS', 'windlass:fence') == 0 then
    local now = redis.call('TIME')
    redis.call('SET', 'windlass:fence', now[1] .. string.format('%06d', now[2]))
  end
  return redis.call('INCR', 'windlass:fence')
end

-- The worker's function for a source: promotions and pull requests are sources of another kind, told apart by their names.
local function function_of(source)
  if string.sub(source, 1, 8) == 'preview_' then return 'preview' end
  if string.sub(source, 1, 9) == 'pipeline_' then return 'build' end
  if string.sub(source, 1, 10) == 'promotion_' then return 'promote' end
  return 'reconcile'
end

local function enqueue(r, source, generation, digest, reason, front)
  local id = source .. '-' .. generation
  local data = '["' .. function_of(source) .. '", null, ["' .. source .. '", ' .. generation .. ', "' .. digest .. '"], {}]'
  redis.call('HSET', 'rq:job:' .. id,
    'created_at', r.iso, 'enqueued_at', r.iso, 'data', data, 'origin', r.queue, 'status', 'queued',
    'description', function_of(source) .. ' ' .. source .. ' (' .. reason .. ')', 'timeout', '86400', 'result_ttl', '3600',
    'failure_ttl', '86400', 'retries_left', '2', 'success_callback_name', '', 'failure_callback_name', '',
    'stopped_callback_name', '', 'started_at', '', 'ended_at', '', 'last_heartbeat', '', 'worker_name', '', 'group_id', '')
  redis.call('SADD', 'rq:queues', 'rq:queue:' .. r.queue)
  redis.call(front and 'LPUSH' or 'RPUSH', 'rq:queue:' .. r.queue, id)
  redis.call('HSET', source_key(source), 'waiting', id, 'digest', digest)
  return id
end
