-- ARGV: the most bytes of one entry, the most entries. Returns entries from the inbox's head, which stay there.
-- An entry that is too long is rejected here, since no client should have to fetch it.
local longest, most = number(ARGV[1]), number(ARGV[2])
local entries, bytes, index = {}, 0, 0
while #entries < most and bytes < 4 * longest do
  local entry = redis.call('LINDEX', P .. 'inbox', index)
  if not entry then break end
  if #entry > longest then
    redis.call('LREM', P .. 'inbox', 1, entry)
    reject('inbox-' .. string.sub(redis.sha1hex(entry), 1, 16), '', 'an inbox entry of ' .. #entry ..
      ' bytes: at most ' .. longest .. ' are allowed')
  else
    entries[#entries + 1] = entry
    bytes = bytes + #entry
    index = index + 1
  end
end
return entries
