-- ARGV: id, token, video, sha256, bytes, stamp of its file. The video stands under its final name: a lease that has run out is no reason
-- to refuse, as long as nobody else has the job. Returns OK or STALE.
local id, token, key, now = ARGV[1], ARGV[2], job_key(ARGV[1]), now_ms()
keep_going_when_full()
if not held(id, token) then return ended_before(id, token, 'complete') and 'OK' or 'STALE' end
move(id, 'running', 'done', now)
redis.call('HSET', key, 'video', ARGV[3], 'sha256', ARGV[4], 'bytes', ARGV[5], 'stamp', ARGV[6], 'ended_ms',
  now)
redis.call('HDEL', key, 'error', 'error_kind', 'cancel', 'stage', 'eta_s')
remember_end(id, token, 'complete', 'done')
event(id, 'done', 'video', ARGV[3], 'sha256', ARGV[4])
unbind_if_empty()
return 'OK'
