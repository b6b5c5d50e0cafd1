-- ARGV: worker, nonce, lease ms, the run's max_attempts, model digest, OUT, run id, host, rank, least pending jobs, the
-- LoRA set that the rank's weights are merged with, how many jobs of it the rank has had in a row, '' or a priority above
-- which alone a job is wanted, and '' or the id of a job that is wanted only where no other waits.
-- The same worker with the same nonce gets the same job again: a claim whose reply was lost leaks nothing.
-- Returns {'JOB', id, token, attempt, limit, spec, hash, alone, earlier ('1' or ''), LoRA set, priority, the queue's
-- earlier incarnations that are known, with spaces between}, {'OTHER_MODEL', digest} or {'NONE', ms until something may
-- change or -1, then what counts.lua returns for the run}.
local MOST_IN_A_ROW = 16  -- then the line's order counts again, so that nobody's LoRA makes others wait for ever
local MOST_LOST = 1000  -- jobs whose hashes are gone (evicted, deleted by hand) that one call drops; the next goes on
local worker, nonce, lease, model, except = P .. 'worker:' .. ARGV[1], ARGV[2], number(ARGV[3]), ARGV[5], text(ARGV[14])
local now = now_ms()

local function lease_of(id)
  local h = redis.call('HMGET', job_key(id), 'token', 'attempts', 'limit', 'spec', 'hash', 'alone', 'earlier',
    'lora_set', 'priority')
  redis.call('ZADD', P .. 'run', now + lease, id)
  return {'JOB', id, h[1], text(h[2]), text(h[3]), text(h[4]), text(h[5]), text(h[6]), text(h[7]),
    text(h[8]), text(h[9]), table.concat(redis.call('SMEMBERS', P .. 'before'), ' ')}
end

keep_going_when_full()
mind_clock(now, false)
reap(now)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'delay', '-inf', now, 'LIMIT', 0, SWEEP)) do
  if redis.call('EXISTS', job_key(id)) == 1 then to_pending(id, 'delayed') else leave(id, 'delayed') end
end

local seen = redis.call('HMGET', worker, 'nonce', 'job', 'token')
if seen[1] == nonce and held(seen[2], seen[3]) then return lease_of(seen[2]) end

local other = bound_elsewhere(model)
if other then return {'OTHER_MODEL', other} end

local function none()
  local wait = -1
  for _, set in ipairs({'delay', 'run'}) do
    local first = redis.call('ZRANGE', P .. set, 0, 0, 'WITHSCORES')
    if first[2] and (wait < 0 or first[2] - now < wait) then wait = math.max(0, first[2] - now) end
  end
  return {'NONE', wait, unpack(counts(ARGV[7]))}
end

-- The first pending job of the rank's set among those that have the priority of `first`, the first that is wanted; or nil.
local function of_merged_set(first, score)
  if number(ARGV[12]) >= MOST_IN_A_ROW then return nil end
  local line, lowest = line_of(ARGV[11]), math.floor(score / LINE) * LINE
  for _ = 1, MOST_LOST do
    local ids = redis.call('ZRANGEBYSCORE', line, lowest, lowest + LINE - 1, 'LIMIT', 0, 2)
    local id = ids[1] == except and ids[2] or ids[1]
    if id == except then return nil end
    if not id or id == first or redis.call('ZSCORE', P .. 'pend', id) then return id end
    redis.call('ZREM', line, id)  -- left behind when its hash was deleted
  end
  return nil
end

local function next_in_line()
  for _ = 1, MOST_LOST do
    local two = redis.call('ZRANGE', P .. 'pend', 0, 1, 'WITHSCORES')
    local at = two[1] == except and two[3] and 3 or 1
    local id = two[at] and (of_merged_set(two[at], number(two[at + 1])) or two[at])
    if not id or redis.call('EXISTS', job_key(id)) == 1 then return id end
    leave(id, 'pending')
  end
end

local pending = redis.call('ZCARD', P .. 'pend')
if pending == 0 or pending < number(ARGV[10]) then return none() end
if text(ARGV[13]) ~= '' then
  local top = redis.call('ZRANGE', P .. 'pend', 0, 0, 'WITHSCORES')[2]
  if -math.floor(number(top) / LINE) <= number(ARGV[13]) then return none() end
end
local id = next_in_line()
if not id then
  unbind_if_empty()
  return none()
end

local data = incarnation()
local key, token = job_key(id), redis.call('INCR', P .. 'fence') .. '-' .. data
local limit = number(redis.call('HGET', key, 'max_attempts'))
if limit < 1 then limit = number(ARGV[4]) end
move(id, 'pending', 'running', now + lease)
redis.call('HINCRBY', key, 'attempts', 1)
if redis.call('HEXISTS', key, 'token') == 1 then redis.call('HSET', key, 'earlier', 1) end
redis.call('HSET', key, 'token', token, 'limit', limit, 'out', ARGV[6], 'run', ARGV[7], 'host', ARGV[8], 'rank',
  ARGV[9], 'worker', ARGV[1], 'started_ms', now)
redis.call('HDEL', key, 'stage', 'step', 'steps', 'eta_s', 'video', 'sha256', 'bytes', 'stamp')
redis.call('HSET', worker, 'nonce', nonce, 'job', id, 'token', token)
redis.call('PEXPIRE', worker, 86400000)
count_lease(ARGV[7], 1)
redis.call('DEL', content_key(ARGV[7]))
mind_clock(now, true)
bind(model)
local lease_now = lease_of(id)
event(id, 'running', 'attempt', lease_now[4], 'host', ARGV[8], 'rank', ARGV[9])
return lease_now
