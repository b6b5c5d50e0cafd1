-- ARGV: id, the sha256 that its video was looked at with, least age of the record in ms. A done job whose video is gone, or
-- is another file, is pending again with all its attempts, at its old place in the line. What has been published since
-- then is never undone.
-- Returns PENDING, YOUNG, or OTHER (it is not done, or not with this sha256).
local id, key, least = ARGV[1], job_key(ARGV[1]), number(ARGV[3])
local h = redis.call('HMGET', key, 'state', 'sha256', 'ended_ms')
if h[1] ~= 'done' or text(h[2]) ~= ARGV[2] then return 'OTHER' end
if least > 0 and now_ms() - number(h[3]) < least then return 'YOUNG' end
redis.call('HSET', key, 'attempts', 0)
redis.call('HDEL', key, 'video', 'sha256', 'bytes', 'stamp', 'ended_ms', 'ended', 'alone', 'not_finite')
to_pending(id, 'done')
event(id, 'put_back')
return 'PENDING'
