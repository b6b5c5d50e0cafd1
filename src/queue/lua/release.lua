-- ARGV: id, token, alone (0/1). Gives the lease back without using up the attempt; the job keeps its place in the
-- line. `alone`: it shares no renderer from now on.
-- Returns {'OK', the job's new state} or {'STALE', ''}.
local id, token = ARGV[1], ARGV[2]
keep_going_when_full()
if not held(id, token) then
  local state = ended_before(id, token, 'release')
  return {state and 'OK' or 'STALE', text(state)}
end
redis.call('HINCRBY', job_key(id), 'attempts', -1)
if ARGV[3] == '1' then redis.call('HSET', job_key(id), 'alone', 1) end
local state = 'pending'
if redis.call('HGET', job_key(id), 'cancel') then
  state = 'cancelled'
  to_cancelled(id, 'running', now_ms())
else
  to_pending(id, 'running')
  event(id, 'released')
end
remember_end(id, token, 'release', state)
return {'OK', state}
