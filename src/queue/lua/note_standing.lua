-- ARGV: id, sha256, stamp. The file with this stamp was read and has this sha256: it need not be read again. Returns OK or
-- OTHER (the job is not done, or not with this sha256).
local key = job_key(ARGV[1])
local h = redis.call('HMGET', key, 'state', 'sha256')
if h[1] ~= 'done' or text(h[2]) ~= ARGV[2] then return 'OTHER' end
redis.call('HSET', key, 'stamp', ARGV[3])
return 'OK'
