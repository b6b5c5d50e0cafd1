-- ARGV: id, token, error kind, message, permanent (0/1), poison (0/1), first backoff ms, longest backoff ms, jitter in
-- 1/1000. Latents that are not finite a second time are no accident: no further attempt.
-- Returns {'OK', the job's new state} or {'STALE', ''}.
local id, token, key, now = ARGV[1], ARGV[2], job_key(ARGV[1]), now_ms()
keep_going_when_full()
if not held(id, token) then
  local state = ended_before(id, token, 'fail')
  return {state and 'OK' or 'STALE', text(state)}
end
local h = redis.call('HMGET', key, 'attempts', 'limit', 'cancel')
local attempts = number(h[1])
redis.call('HSET', key, 'error', ARGV[4], 'error_kind', ARGV[3])
local hopeless = ARGV[5] == '1'
if ARGV[3] == 'numeric' then hopeless = redis.call('HINCRBY', key, 'not_finite', 1) > 1 or hopeless end
local state
if h[3] then
  state = 'cancelled'
  to_cancelled(id, 'running', now)
elseif hopeless or attempts >= number(h[2]) then
  state = 'failed'
  to_failed(id, 'running', now, ARGV[3], ARGV[4], ARGV[6])
else
  state = 'delayed'
  local wait = math.min(number(ARGV[8]), number(ARGV[7]) * 2 ^ math.min(attempts - 1, 30)) * number(ARGV[9]) / 1000
  move(id, 'running', 'delayed', now + math.floor(wait))
  event(id, 'delayed', 'attempt', attempts, 'kind', ARGV[3], 'error', ARGV[4])
end
remember_end(id, token, 'fail', state)
return {'OK', state}
