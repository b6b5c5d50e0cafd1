-- ARGV: id. A failed or cancelled job starts afresh, at the end of its priority's line; a rejected inbox entry goes
-- back to the inbox. Returns PENDING, INBOX, UNKNOWN, TOO_LONG (a rejected entry that was not kept) or OTHER (it is
-- neither failed nor cancelled).
local id, key = ARGV[1], job_key(ARGV[1])
local h = redis.call('HMGET', key, 'state', 'inbox', 'spec')
if not h[1] then return 'UNKNOWN' end
if h[1] ~= 'failed' and h[1] ~= 'cancelled' then return 'OTHER' end
if h[2] then
  if text(h[3]) == '' then return 'TOO_LONG' end
  redis.call('RPUSH', P .. 'inbox', h[3])
  redis.call('ZREM', P .. 'failed', id)
  redis.call('DEL', key)
  return 'INBOX'
end
redis.call('HSET', key, 'attempts', 0, 'seq', redis.call('INCR', P .. 'seq'))
redis.call('HDEL', key, 'error', 'error_kind', 'poison', 'cancel', 'ended_ms', 'alone', 'not_finite')
to_pending(id, h[1])
event(id, 'retried')
return 'PENDING'
