-- ARGV: lease ms. For the owner of a server that was away, before anybody else may ask: nobody could renew meanwhile, so
-- each lease begins anew. Returns how many there are.
keep_going_when_full()
local ids, ends = redis.call('ZRANGE', P .. 'run', 0, -1), now_ms() + number(ARGV[1])
for _, id in ipairs(ids) do redis.call('ZADD', P .. 'run', 'GT', ends, id) end
return #ids
