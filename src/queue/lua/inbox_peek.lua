-- ARGV: the most bytes of one entry, the most entries. Returns entries from the inbox's head, which stay there, and the
-- ids and reasons of those that are too long: they are rejected here, since no client should have to fetch them.
local longest, most = number(ARGV[1]), number(ARGV[2])
local entries, rejected, bytes, index = {}, {}, 0, 0
while #entries < most and bytes < 4 * longest do
  local entry = redis.call('LINDEX', P .. 'inbox', index)
  if not entry then break end
  if #entry > longest then
    redis.call('LREM', P .. 'inbox', 1, entry)
    local reason = 'an inbox entry of ' .. #entry .. ' bytes: at most ' .. longest .. ' are allowed'
    rejected[#rejected + 1] = {reject('inbox-' .. string.sub(redis.sha1hex(entry), 1, 16), '', reason), reason}
  else
    entries[#entries + 1] = entry
    bytes = bytes + #entry
    index = index + 1
  end
end
return {entries, rejected}
