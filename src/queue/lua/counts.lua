-- ARGV: a run's id or ''. Returns inbox, pending, delayed, running, done, failed, cancelled, leased by that run.
local mine = 0
if ARGV[1] ~= '' then
  for _, id in ipairs(redis.call('ZRANGE', P .. 'run', 0, -1)) do
    if redis.call('HGET', job_key(id), 'run') == ARGV[1] then mine = mine + 1 end
  end
end
local counts = {redis.call('LLEN', P .. 'inbox')}
for _, set in ipairs({'pend', 'delay', 'run', 'done', 'failed', 'cancelled'}) do
  counts[#counts + 1] = redis.call('ZCARD', P .. set)
end
counts[#counts + 1] = mine
return counts
