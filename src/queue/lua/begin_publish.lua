-- ARGV: id, token, lease ms. The fence before final names are touched. Returns OK, STALE or CANCEL.
local id, token, key, now = ARGV[1], ARGV[2], job_key(ARGV[1]), now_ms()
keep_going_when_full()
if not held(id, token) or number(redis.call('ZSCORE', P .. 'run', id)) <= now then return 'STALE' end
if redis.call('HGET', key, 'cancel') then return 'CANCEL' end
redis.call('ZADD', P .. 'run', now + number(ARGV[3]), id)
redis.call('HSET', key, 'stage', 'publish')
return 'OK'
