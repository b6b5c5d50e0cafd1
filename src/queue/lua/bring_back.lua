-- ARGV: run, OUT, model digest or '', the incarnation that the run knew its jobs in or '', then for each job id, identity,
-- hash, spec, priority, max_attempts (0: the run's), LoRA set, attempts. Brings back what the queue has lost of a run's
-- list: a job that it does not know, or one that is in no set although its hash says that it waits or runs. What it
-- knows better is left alone. Returns {'OK', what was done with each: BACK, KNOWN or OTHER (the id has other content)}
-- or {'OTHER_MODEL', digest}.
local run, out, model, before = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local OPEN = {pending = true, delayed = true, running = true}
local other = bound_elsewhere(model)
if other then return {'OTHER_MODEL', other} end

local function lost_from_its_set(id, state) return OPEN[state] and not redis.call('ZSCORE', P .. SETS[state], id) end

local function bring_back(job, attempts)
  local id = job[1]
  local h = redis.call('HMGET', job_key(id), 'state', 'identity')
  if h[1] and h[2] ~= job[2] then return 'OTHER' end
  if h[1] and not lost_from_its_set(id, h[1]) then return 'KNOWN' end
  if h[1] then
    to_pending(id, h[1])
  else
    add_job(job, out)
    redis.call('HSET', job_key(id), 'attempts', attempts, 'earlier', 1)
  end
  event(id, 'brought_back', 'attempts', redis.call('HGET', job_key(id), 'attempts'))
  return 'BACK'
end

local results, now_in = {'OK'}, incarnation()
if before ~= '' and before ~= now_in then redis.call('SADD', P .. 'before', before) end
redis.call('DEL', content_key(run))
for i = 5, #ARGV, 8 do
  results[#results + 1] = bring_back({unpack(ARGV, i, i + 6)}, ARGV[i + 7])
end
bind(model)
return results
