-- ARGV: worker, nonce, lease ms, the run's max_attempts, model digest, OUT, run id, host, rank, least pending jobs.
-- The same worker with the same nonce gets the same job again: a claim whose reply was lost leaks nothing.
-- Returns {'JOB', id, token, attempt, limit, spec, hash, alone ('1' or '')}, {'OTHER_MODEL', digest} or
-- {'NONE', pending, delayed, running, ms until something may change or -1}.
local worker, nonce, lease, model = P .. 'worker:' .. ARGV[1], ARGV[2], number(ARGV[3]), ARGV[5]
local now = now_ms()

local function lease_of(id)
  local h = redis.call('HMGET', job_key(id), 'token', 'attempts', 'limit', 'spec', 'hash', 'alone')
  redis.call('ZADD', P .. 'run', now + lease, id)
  return {'JOB', id, h[1], text(h[2]), text(h[3]), text(h[4]), text(h[5]), text(h[6])}
end

keep_going_when_full()
reap(now)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'delay', '-inf', now, 'LIMIT', 0, SWEEP)) do
  to_pending(id, 'delayed')
end

local seen = redis.call('HMGET', worker, 'nonce', 'job', 'token')
if seen[1] == nonce and held(seen[2], seen[3]) then return lease_of(seen[2]) end

local other = bound_elsewhere(model)
if other then return {'OTHER_MODEL', other} end

local function none(pending)
  local wait = -1
  for _, set in ipairs({'delay', 'run'}) do
    local first = redis.call('ZRANGE', P .. set, 0, 0, 'WITHSCORES')
    if first[2] and (wait < 0 or first[2] - now < wait) then wait = math.max(0, first[2] - now) end
  end
  return {'NONE', pending, redis.call('ZCARD', P .. 'delay'), redis.call('ZCARD', P .. 'run'), wait}
end

local pending = redis.call('ZCARD', P .. 'pend')
if pending == 0 or pending < number(ARGV[10]) then return none(pending) end

local id
repeat
  id = redis.call('ZRANGE', P .. 'pend', 0, 0)[1]
  if id and redis.call('EXISTS', job_key(id)) == 0 then  -- somebody deleted the hash by hand
    redis.call('ZREM', P .. 'pend', id)
    id = false
  end
until id ~= false
if not id then
  unbind_if_empty()
  return none(0)
end

local key, token = job_key(id), redis.call('INCR', P .. 'fence')
local limit = number(redis.call('HGET', key, 'max_attempts'))
if limit < 1 then limit = number(ARGV[4]) end
move(id, 'pending', 'running', now + lease)
redis.call('HINCRBY', key, 'attempts', 1)
redis.call('HSET', key, 'token', token, 'limit', limit, 'out', ARGV[6], 'run', ARGV[7], 'host', ARGV[8], 'rank',
  ARGV[9], 'worker', ARGV[1], 'started_ms', now)
redis.call('HDEL', key, 'stage', 'step', 'steps', 'eta_s', 'video', 'sha256', 'bytes')
redis.call('HSET', worker, 'nonce', nonce, 'job', id, 'token', token)
redis.call('PEXPIRE', worker, 86400000)
bind(model)
local lease_now = lease_of(id)
event(id, 'running', 'attempt', lease_now[4], 'host', ARGV[8], 'rank', ARGV[9])
return lease_now
