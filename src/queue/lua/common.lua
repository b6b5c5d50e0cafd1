-- Put in front of every script. KEYS[1] is the queue's prefix, "nightreel:{NAME}:"; docs/redis.md tells what each key
-- holds. A script is one transition: it runs whole or not at all. A server that is full (OOM) refuses a script only at
-- its first write, where that one needs memory: so a submission begins with such a write, and what a job in hand needs
-- begins with keep_going_when_full().
local P = KEYS[1]
local SETS = {pending = 'pend', delayed = 'delay', running = 'run', done = 'done', failed = 'failed',
              cancelled = 'cancelled'}
local SWEEP = 100          -- how many expired leases or due delays one call moves
local LINE = 4294967296    -- the scores of one priority's part of the line: -priority * LINE + place
local EVENTS_KEPT = 10000

local function number(value) return tonumber(value or 0) or 0 end
local function text(value) return value or '' end
local function job_key(id) return P .. 'job:' .. id end

-- Server time in ms: clients' clocks decide nothing.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Which data these are: a random word that comes with the queue's first key. What a server has lost and begun again is
-- another incarnation, and every token names the one that it is of. A lost counter of tokens makes another one, too.
local function incarnation()
  local mine = redis.call('GET', P .. 'incarnation')
  if mine and redis.call('EXISTS', P .. 'fence') == 1 then return mine end
  local time = redis.call('TIME')  -- Redis seeds math.random alike in each call; a table's address it does not choose
  local fresh = string.sub(redis.sha1hex(time[1] .. ' ' .. time[2] .. ' ' .. tostring({}) .. P .. text(mine)), 1, 16)
  redis.call('SET', P .. 'fence', 0, 'NX')  -- a queue of 0.1 goes on counting
  redis.call('SET', P .. 'incarnation', fresh)
  return fresh
end

local function keep_going_when_full() redis.call('PERSIST', P .. 'run') end  -- a write that changes nothing

local function event(id, name, ...)
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', name, 'id', id, ...)
end

-- Exact in a double for |priority| <= 2^20 and 2^32 jobs.
local function pend_score(priority, seq) return -number(priority) * LINE + number(seq) end

-- The pending jobs of one LoRA set ('' has none), at the scores that they have in `pend`: an index, `pend` decides.
local function line_of(set) return P .. 'pend:' .. set end

-- How many leases each run holds, so that nobody has to go through `run` to know: an index again.
local function count_lease(run, by)
  if redis.call('HINCRBY', P .. 'leases', run, by) <= 0 then redis.call('HDEL', P .. 'leases', run) end
end
local function recount_leases()
  redis.call('DEL', P .. 'leases')
  for _, id in ipairs(redis.call('ZRANGE', P .. 'run', 0, -1)) do
    local run = redis.call('HGET', job_key(id), 'run')
    if run then count_lease(run, 1) end
  end
end

-- Takes a job out of the set of `state`, where it is in it, and out of that set's index.
local function leave(id, state)
  if not SETS[state] or redis.call('ZREM', P .. SETS[state], id) == 0 then return end
  if state == 'pending' then redis.call('ZREM', line_of(text(redis.call('HGET', job_key(id), 'lora_set'))), id) end
  if state ~= 'running' then return end
  local run = redis.call('HGET', job_key(id), 'run')
  if run then count_lease(run, -1) else recount_leases() end  -- somebody deleted the hash by hand
end

-- Moves a job to `state`: out of the one set that holds it, into the other.
local function move(id, from, to, score)
  leave(id, from)
  redis.call('ZADD', P .. SETS[to], score, id)
  redis.call('HSET', job_key(id), 'state', to)
end

local function to_pending(id, from)
  local h = redis.call('HMGET', job_key(id), 'priority', 'seq', 'lora_set')
  local score = pend_score(h[1], h[2])
  move(id, from, 'pending', score)
  redis.call('ZADD', line_of(text(h[3])), score, id)
end

-- The first rank of a run has found every job of the run's files ended (bring_back and a claim end that).
local function content_key(run) return P .. 'content:' .. run end

-- Inbox, pending, delayed, running, done, failed, cancelled, leased by `run` ('': 0), its list is content (0/1).
local function counts(run)
  local n = {redis.call('LLEN', P .. 'inbox')}
  for _, set in ipairs({'pend', 'delay', 'run', 'done', 'failed', 'cancelled'}) do
    n[#n + 1] = redis.call('ZCARD', P .. set)
  end
  n[#n + 1] = math.min(n[4], number(run ~= '' and redis.call('HGET', P .. 'leases', run)))
  n[#n + 1] = redis.call('EXISTS', content_key(run))
  for _, at in ipairs({0, -1}) do  -- the lease that ends first, and last; in ms
    n[#n + 1] = number(redis.call('ZRANGE', P .. 'run', at, at, 'WITHSCORES')[2])
  end
  return n
end

local function has_work()
  return redis.call('ZCARD', P .. 'pend') + redis.call('ZCARD', P .. 'delay') + redis.call('ZCARD', P .. 'run') > 0
end

-- A queue is bound to a model only as long as it holds work.
local function unbind_if_empty()
  if not has_work() then redis.call('DEL', P .. 'model', P .. 'leases') end
end

-- The digest of another model that the queue is bound to, or nil.
local function bound_elsewhere(model)
  local bound = redis.call('GET', P .. 'model')
  if bound and model ~= '' and bound ~= model then return bound end
  return nil
end

local function bind(model)
  if model ~= '' and has_work() then redis.call('SET', P .. 'model', model) end
end

-- Is this the lease that counts? `run` alone says what is running, and a token of other data is nobody's here.
local function held(id, token)
  local of = string.match(text(token), '^%d+%-(.+)$')
  return of and of == redis.call('GET', P .. 'incarnation') and redis.call('ZSCORE', P .. 'run', id)
    and redis.call('HGET', job_key(id), 'token') == token
end

-- A mutation whose reply was lost is sent again: `ended` keeps what ended the last lease, and how.
local function remember_end(id, token, op, state)
  redis.call('HSET', job_key(id), 'ended', token .. ' ' .. op .. ' ' .. state)
end
local function ended_before(id, token, op)
  local ended = text(redis.call('HGET', job_key(id), 'ended'))
  local head = token .. ' ' .. op .. ' '
  if string.sub(ended, 1, #head) == head then return string.sub(ended, #head + 1) end
  return nil
end

local function to_failed(id, from, now, kind, message, poison)
  move(id, from, 'failed', now)
  redis.call('HSET', job_key(id), 'error', message, 'error_kind', kind, 'poison', poison, 'ended_ms', now)
  event(id, 'failed', 'kind', kind, 'error', message)
  unbind_if_empty()
end

local function to_cancelled(id, from, now)
  move(id, from, 'cancelled', now)
  redis.call('HSET', job_key(id), 'ended_ms', now)
  redis.call('HDEL', job_key(id), 'cancel')
  event(id, 'cancelled')
  unbind_if_empty()
end

-- A lost lease uses an attempt; where it was the last one the job is poison: it may be what kills its renderers.
local function reap_one(id, now)
  if redis.call('EXISTS', job_key(id)) == 0 then  -- somebody deleted the hash by hand
    leave(id, 'running')
    unbind_if_empty()
    return
  end
  local h = redis.call('HMGET', job_key(id), 'attempts', 'limit', 'cancel', 'host', 'rank', 'run')
  if h[3] then return to_cancelled(id, 'running', now) end
  local where = 'rank ' .. text(h[5]) .. ' on ' .. text(h[4])
  if number(h[1]) >= number(h[2]) then
    return to_failed(id, 'running', now, 'renderer', 'poison: the lease of attempt ' .. text(h[1]) .. ' of ' ..
      text(h[2]) .. ' ran out on ' .. where .. ', which died or hung; see rank-' .. text(h[5]) .. '.jsonl and renderer-'
      .. text(h[5]) .. '.log in logs/' .. text(h[6]), '1')
  end
  to_pending(id, 'running')
  event(id, 'lease_lost', 'attempt', text(h[1]), 'host', text(h[4]), 'rank', text(h[5]))
end

local function reap(now)
  local expired = redis.call('ZRANGEBYSCORE', P .. 'run', '-inf', now, 'LIMIT', 0, SWEEP)
  for _, id in ipairs(expired) do reap_one(id, now) end
  return #expired
end

-- What submitting this content under this id would do: ADD, SAME, AGAIN (done for another OUT), REPLACE, CONFLICT. A
-- rejected inbox entry that has the id gives way.
local function classify(id, identity, out, overwrite)
  local h = redis.call('HMGET', job_key(id), 'state', 'identity', 'out', 'inbox')
  if not h[1] or h[4] then return 'ADD', text(h[1]) end
  if h[2] ~= identity then return overwrite and 'REPLACE' or 'CONFLICT', h[1] end
  if h[1] == 'done' and out ~= '' and text(h[3]) ~= out then return 'AGAIN', h[1] end
  return 'SAME', h[1]
end

-- job: id, identity, hash, spec, priority, max_attempts, LoRA set. Whatever stood under the id is gone with its token:
-- a holder of it is stale from here on. Where somebody deleted the hash by hand, the id may still be in any set.
local function add_job(job, out)
  incarnation()
  local id, identity, hash, spec, priority, max_attempts, lora_set = unpack(job)
  local seq = redis.call('INCR', P .. 'seq')
  local before = redis.call('HMGET', job_key(id), 'state', 'token', 'earlier')
  if before[1] then leave(id, before[1]) else for state in pairs(SETS) do leave(id, state) end end
  redis.call('DEL', job_key(id))
  redis.call('HSET', job_key(id), 'identity', identity, 'hash', hash, 'spec', spec, 'priority', priority,
    'max_attempts', max_attempts, 'lora_set', lora_set, 'out', out, 'attempts', 0, 'seq', seq, 'submitted_ms', now_ms())
  if before[2] or before[3] then redis.call('HSET', job_key(id), 'earlier', 1) end
  to_pending(id, nil)
  event(id, 'submitted', 'priority', priority)
end

-- A server's clock that stepped back would make what waits for a moment wait that much longer: the claims remember the
-- time, and a step of more than a second moves the moments with it.
local CLOCK_STEP = 1000    -- ms
local CLOCK_KEPT = 200     -- ms: idle claims write no more often
local function mind_clock(now, leased)
  local last = number(redis.call('GET', P .. 'clock'))
  if last - now > CLOCK_STEP then
    for _, set in ipairs({'delay', 'run'}) do
      local all = redis.call('ZRANGE', P .. set, 0, -1, 'WITHSCORES')
      for i = 1, #all, 2 do redis.call('ZADD', P .. set, number(all[i + 1]) - (last - now), all[i]) end
    end
  elseif now - last < CLOCK_KEPT and now >= last and not leased then
    return
  end
  redis.call('SET', P .. 'clock', string.format('%.0f', now))
end

-- Under which id a rejected entry is recorded: its sender's, where no record has it; else `id`, or what is free beside
-- it. Nobody's record is touched; that of an equal entry serves again, and is then known. ('': an entry that is not kept.)
local function id_of_rejected(senders, id, entry, message)
  local function serves(one)
    local h = redis.call('HMGET', job_key(one), 'state', 'inbox', 'spec', 'error')
    return not h[1] or (h[2] and h[3] == entry and h[4] == message), h[1]
  end
  if senders ~= '' then
    local fits, known = serves(senders)
    if fits then return senders, known end
  end
  local fits, known = serves(id)
  while not fits do
    id = id .. '-rejected'
    fits, known = serves(id)
  end
  return id, known
end

-- An inbox entry that is no job becomes a failed record, so that its reason can be seen. Returns its id.
local function reject(senders, id, entry, message)
  incarnation()
  local known
  id, known = id_of_rejected(senders, id, entry, message)
  if known then return id end
  redis.call('HSET', job_key(id), 'inbox', 1, 'spec', entry, 'attempts', 0, 'submitted_ms', now_ms())
  to_failed(id, nil, now_ms(), 'job', message, '0')
  return id
end
