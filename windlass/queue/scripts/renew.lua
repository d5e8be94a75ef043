-- ARGV: milliseconds, then key and token in turn. Answers 1 for each lease that is held still.
local answers = {}
for i = 2, #ARGV, 2 do
  if redis.call('GET', ARGV[i]) == ARGV[i + 1] then
    answers[#answers + 1] = redis.call('PEXPIRE', ARGV[i], ARGV[1])
  else
    answers[#answers + 1] = 0
  end
end
return answers
