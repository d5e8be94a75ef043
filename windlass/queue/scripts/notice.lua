-- Keep what is news. ARGV: now, how long it is kept; then for each: rule, id, for how long it is remembered, the id of what is
-- news again after it ("" for none), and the notice. Answers how many were news.
local news = 0
for i = 3, #ARGV, 5 do
  local rule, id, remembered, again, notice = unpack(ARGV, i, i + 4)
  local queue = 'windlass:notices:' .. rule
  if redis.call('SET', 'windlass:noticed:' .. id, '1', 'NX', 'EX', remembered) then
    news = news + 1
    if again ~= '' then redis.call('DEL', 'windlass:noticed:' .. again) end
    redis.call('SET', 'windlass:notice:' .. id, notice, 'EX', ARGV[2])
    redis.call('ZADD', queue, ARGV[1], id)
    redis.call('EXPIRE', queue, ARGV[2])
  else
    redis.call('EXPIRE', 'windlass:noticed:' .. id, remembered)
  end
end
return news
