-- One bounded turn at the inbox. ARGV: worker, ms for which it is this worker's alone, the most entries, the most bytes,
-- the most bytes of one entry, OUT, then for each entry of the worker's last turn, in their order: its mark, the id that
-- its sender gave it or '', the id of its record if it is rejected, the reason ('' where it is a job), and its job's id,
-- identity, hash, spec, priority, max_attempts, LoRA set ('' where it is none).
-- First each verdict is carried out whose entry still stands at the head, which it leaves; then entries are looked at
-- and stay. Returns {'BUSY'} where it is another's turn, or {'OK', {'ADDED', id} or {'REJECTED', id, reason} for each
-- entry that left, {mark, entry} for each that was looked at}. An entry that is too long is shown by its beginning.
-- However long the inbox is, a turn touches so many entries of its head, and so many bytes and one entry more.
local worker, patience, most, room, longest, out = ARGV[1], ARGV[2], number(ARGV[3]), number(ARGV[4]), number(ARGV[5]),
  ARGV[6]
local INBOX, FIELDS = P .. 'inbox', 11
local taker = redis.call('GET', P .. 'inbox_taker')
if taker and taker ~= worker then return {'BUSY'} end
redis.call('SET', P .. 'inbox_taker', worker, 'PX', patience)  -- refused by a server that is full: entries wait

-- Equal for equal entries. Of a too long one its beginning and its length: no entry is worth much of a server's time.
local function mark_of(entry)
  if #entry <= longest then return redis.sha1hex(entry) end
  return redis.sha1hex(string.sub(entry, 1, longest) .. #entry)
end

local function carry_out(entry, verdict)
  local senders, record, reason, id, identity = unpack(verdict, 2, 6)
  if #entry > longest then
    reason = 'an inbox entry of ' .. #entry .. ' bytes: at most ' .. longest .. ' are allowed'
    return {'REJECTED', reject('', 'inbox-' .. string.sub(verdict[1], 1, 16), '', reason), reason}
  end
  if reason ~= '' then return {'REJECTED', reject(senders, record, entry, reason), reason} end
  local what = classify(id, identity, out, false)
  if what == 'CONFLICT' then
    reason = 'id: ' .. id .. ' is already the id of another job'
    return {'REJECTED', reject('', record, entry, reason), reason}
  end
  if what ~= 'SAME' then add_job({unpack(verdict, 5, 11)}, out) end
  return {'ADDED', id}
end

local left, shown = {}, {}
for i = 7, #ARGV, FIELDS do
  local entry = redis.call('LINDEX', INBOX, 0)
  if not entry or mark_of(entry) ~= ARGV[i] then break end  -- another's turn came between
  left[#left + 1] = carry_out(entry, {unpack(ARGV, i, i + FIELDS - 1)})
  redis.call('LPOP', INBOX)
end
while #shown < most and room > 0 do
  local entry = redis.call('LINDEX', INBOX, #shown)
  if not entry then break end
  shown[#shown + 1] = {mark_of(entry), string.sub(entry, 1, longest)}
  room = room - #entry
end
if #shown == 0 then redis.call('DEL', P .. 'inbox_taker') end
return {'OK', left, shown}
