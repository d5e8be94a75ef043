-- An application's state, written only by who holds its lease, which ends with it where asked. Watchers hear of it, a line each: the application, whether
-- its run is over (and settled: its record says what came of it), the turn that its health is in, and the objects that were recorded.
local r = cjson.decode(ARGV[1])
if redis.call('GET', lease_key('application', r.name)) ~= r.token then return 0 end
local key = app_key(r.name)
-- Nothing that has health was written, and all is healthy: the record says so itself, and nobody needs to look.
local settled = r.settled ~= '' and string.find(text(redis.call('GET', key .. ':health')), '"status":"Healthy"', 1, true) ~= nil
if settled then
  r.state.last = r.settled
  if r.history ~= '' then r.history = r.settled end
end
for field, value in pairs(r.state) do redis.call('HSET', key, field, value) end
for i = 2, #ARGV, 2 do redis.call('HSET', key .. ':objects', ARGV[i], ARGV[i + 1]) end
for _, name in ipairs(r.drop) do redis.call('HDEL', key .. ':objects', name) end
if r.history ~= '' then
  redis.call('LPUSH', key .. ':history', r.history)
  redis.call('LTRIM', key .. ':history', 0, r.keep - 1)
end
-- What a person asked for while the run went on isn't done by it.
local asked = text(redis.call('HGET', key, 'whole')) ~= r.whole
if r.complete and not asked then redis.call('HDEL', key, 'whole') end
if r.clean ~= '' and not asked then redis.call('SREM', source_key(r.clean) .. ':dirty', r.name) end
if r.complete then redis.call('HSET', key, 'owned', redis.call('HLEN', key .. ':objects')) end
for _, source in ipairs(r.followed) do redis.call('HINCRBY', source_key(source), 'followed', 1) end
local begun = text(redis.call('HGET', key, 'begun'))
for _, commit in ipairs(r.ended) do begun = string.gsub(begun, commit .. ' ', '') end
if #r.ended > 0 then redis.call('HSET', key, 'begun', begun) end
-- Objects that have health were written: what was known of it is of an earlier turn.
if r.turn then
  redis.call('HINCRBY', key, 'turn', 1)
  redis.call('SET', key .. ':health', r.health)
elseif r.health ~= '' then
  redis.call('SET', key .. ':health', r.health, 'NX')
end
local heard = {r.name, settled and 'settled' or r.history ~= '' and 'over' or 'more', number(redis.call('HGET', key, 'turn'))}
for i = 2, #ARGV, 2 do heard[#heard + 1] = ARGV[i] end
if r.release then redis.call('DEL', lease_key('application', r.name)) end
redis.call('SADD', 'windlass:changed', r.name)
if #heard > 3 or r.history ~= '' then redis.call('PUBLISH', 'windlass:recorded', table.concat(heard, '\n')) end
return 1
