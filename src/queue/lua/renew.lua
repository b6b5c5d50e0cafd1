-- ARGV: id, token, lease ms, stage, step, steps, eta in s ('' where unknown). An expired lease is not renewed, even
-- while nobody else has the job. Returns {'OK' or 'STALE', '1' where cancelling was asked for}.
local id, token, key, now = ARGV[1], ARGV[2], job_key(ARGV[1]), now_ms()
keep_going_when_full()
if not held(id, token) or number(redis.call('ZSCORE', P .. 'run', id)) <= now then return {'STALE', '0'} end
redis.call('ZADD', P .. 'run', now + number(ARGV[3]), id)
redis.call('HSET', key, 'stage', ARGV[4], 'step', ARGV[5], 'steps', ARGV[6], 'eta_s', ARGV[7])
return {'OK', redis.call('HGET', key, 'cancel') or '0'}
