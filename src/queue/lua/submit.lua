-- ARGV: 'check' or 'add', overwrite (0/1), OUT, model digest or '', then for each job id, identity, hash, spec,
-- priority, max_attempts (0: the run's), LoRA set. Returns {'OK', {what, state before}…} or {'OTHER_MODEL', digest}.
local add, overwrite, out, model = ARGV[1] == 'add', ARGV[2] == '1', ARGV[3], ARGV[4]
local other = bound_elsewhere(model)
if other then return {'OTHER_MODEL', other} end
local results = {'OK'}
for i = 5, #ARGV, 7 do
  local id, identity = ARGV[i], ARGV[i + 1]
  local what, state = classify(id, identity, out, overwrite)
  if add and what ~= 'SAME' and what ~= 'CONFLICT' then
    add_job({unpack(ARGV, i, i + 6)}, out)
  end
  results[#results + 1] = {what, state}
end
if add then bind(model) end
return results
