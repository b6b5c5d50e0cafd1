-- ARGV: id. A job that waits is cancelled at once; one that runs is marked, and its holder sees that when it next
-- renews. Returns CANCELLED, ASKED, UNKNOWN or ENDED (done, failed or cancelled before).
local id = ARGV[1]
local state = redis.call('HGET', job_key(id), 'state')
if not state then return 'UNKNOWN' end
if state == 'pending' or state == 'delayed' then
  to_cancelled(id, state, now_ms())
  return 'CANCELLED'
end
if state ~= 'running' then return 'ENDED' end
redis.call('HSET', job_key(id), 'cancel', 1)
event(id, 'cancel_requested')
return 'ASKED'
