-- ARGV: id, token. Gives the lease back without using up the attempt; the job keeps its place in the line.
-- Returns {'OK', the job's new state} or {'STALE', ''}.
local id, token = ARGV[1], ARGV[2]
keep_going_when_full()
if not held(id, token) then
  local state = ended_before(id, token, 'release')
  return {state and 'OK' or 'STALE', text(state)}
end
redis.call('HINCRBY', job_key(id), 'attempts', -1)
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
