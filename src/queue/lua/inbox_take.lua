-- ARGV: entry, failed id, reason ('' where the entry is a job), then for a job OUT, id, identity, hash, spec,
-- priority, max_attempts, LoRA set. Removes exactly this entry and adds its job, or records why not. Of several ranks that
-- looked at the same entry the first one does it; the others get GONE.
local entry, failed_id, reason = ARGV[1], ARGV[2], ARGV[3]
if redis.call('LREM', P .. 'inbox', 1, entry) == 0 then return {'GONE', ''} end
if reason ~= '' then return {'REJECTED', reject(failed_id, entry, reason), reason} end
local out, id, identity = ARGV[4], ARGV[5], ARGV[6]
local what = classify(id, identity, out, false)
if what == 'CONFLICT' then
  reason = 'id: ' .. id .. ' is already the id of another job'
  return {'REJECTED', reject(failed_id, entry, reason), reason}
end
if what ~= 'SAME' then add_job({unpack(ARGV, 5, 11)}, out) end
return {'ADDED', id}
