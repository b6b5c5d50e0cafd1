-- ARGV: 'set', its state, first index, how many; or 'ids', id…. Returns for each job its id and the fields of FIELDS
-- (job_view.cpp reads them in this order); an unknown id has nil fields.
local FIELDS = {'state', 'attempts', 'rank', 'host', 'stage', 'step', 'steps', 'eta_s', 'error_kind', 'error',
                'poison', 'priority', 'out', 'video', 'sha256', 'hash', 'run', 'identity', 'stamp'}
local ids = {}
if ARGV[1] == 'set' then
  ids = redis.call('ZRANGE', P .. SETS[ARGV[2]], ARGV[3], ARGV[3] + ARGV[4] - 1)
else
  for i = 2, #ARGV do ids[#ids + 1] = ARGV[i] end
end
local views = {}
for _, id in ipairs(ids) do
  local view = redis.call('HMGET', job_key(id), unpack(FIELDS))
  table.insert(view, 1, id)
  views[#views + 1] = view
end
return views
