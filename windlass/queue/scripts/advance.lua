-- The tip is known and compared: these applications are behind it until each says otherwise.
local r = cjson.decode(ARGV[1])
if redis.call('GET', lease_key('source', r.source)) ~= r.token then return 0 end
local key = source_key(r.source)
if r.commit ~= '' then redis.call('HSET', key, 'processed', r.commit, 'documents', r.documents) end
for _, name in ipairs(r.dirty) do
  redis.call('SADD', key .. ':dirty', name)
  local begun = text(redis.call('HGET', app_key(name), 'begun'))
  if not string.find(begun, r.commit, 1, true) then redis.call('HSET', app_key(name), 'begun', begun .. r.commit .. ' ') end
end
for _, name in ipairs(r.forget) do redis.call('SREM', key .. ':dirty', name) end
return 1
