-- Put in front of every script. KEYS[1] is the queue's prefix, "nightreel:{NAME}:"; docs/redis.md tells what each key
-- holds. A script is one transition: it runs whole or not at all. A server that is full (OOM) refuses a script only at
-- its first write, where that one needs memory: so a submission begins with such a write, and what a job in hand needs
-- begins with keep_going_when_full().
local P = KEYS[1]
local SETS = {pending = 'pend', delayed = 'delay', running = 'run', done = 'done', failed = 'failed',
              cancelled = 'cancelled'}
local SWEEP = 100          -- how many expired leases or due delays one call moves
local EVENTS_KEPT = 10000

local function number(value) return tonumber(value or 0) or 0 end
local function text(value) return value or '' end
local function job_key(id) return P .. 'job:' .. id end

-- Server time in ms: clients' clocks decide nothing.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function keep_going_when_full() redis.call('PERSIST', P .. 'run') end  -- a write that changes nothing

local function event(id, name, ...)
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', name, 'id', id, ...)
end

-- Exact in a double for |priority| <= 2^20 and 2^32 jobs.
local function pend_score(priority, seq) return -number(priority) * 4294967296 + number(seq) end

-- Moves a job to `state`: out of the one set that holds it, into the other.
local function move(id, from, to, score)
  if SETS[from] then redis.call('ZREM', P .. SETS[from], id) end
  redis.call('ZADD', P .. SETS[to], score, id)
  redis.call('HSET', job_key(id), 'state', to)
end

local function to_pending(id, from)
  local h = redis.call('HMGET', job_key(id), 'priority', 'seq')
  move(id, from, 'pending', pend_score(h[1], h[2]))
end

local function has_work()
  return redis.call('ZCARD', P .. 'pend') + redis.call('ZCARD', P .. 'delay') + redis.call('ZCARD', P .. 'run') > 0
end

-- A queue is bound to a model only as long as it holds work.
local function unbind_if_empty()
  if not has_work() then redis.call('DEL', P .. 'model') end
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

-- Is this the lease that counts? `run` alone says what is running.
local function held(id, token)
  return redis.call('ZSCORE', P .. 'run', id) and redis.call('HGET', job_key(id), 'token') == token
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
    redis.call('ZREM', P .. 'run', id)
    unbind_if_empty()
    return
  end
  local h = redis.call('HMGET', job_key(id), 'attempts', 'limit', 'cancel', 'host', 'rank')
  if h[3] then return to_cancelled(id, 'running', now) end
  local where = 'rank ' .. text(h[5]) .. ' on ' .. text(h[4])
  if number(h[1]) >= number(h[2]) then
    return to_failed(id, 'running', now, 'renderer', 'poison: the lease of attempt ' .. text(h[1]) .. ' of ' ..
      text(h[2]) .. ' ran out on ' .. where .. ', which died or hung', '1')
  end
  to_pending(id, 'running')
  event(id, 'lease_lost', 'attempt', text(h[1]), 'host', text(h[4]), 'rank', text(h[5]))
end

local function reap(now)
  local expired = redis.call('ZRANGEBYSCORE', P .. 'run', '-inf', now, 'LIMIT', 0, SWEEP)
  for _, id in ipairs(expired) do reap_one(id, now) end
  return #expired
end

-- What submitting this content under this id would do: ADD, SAME, AGAIN (done for another OUT), REPLACE, CONFLICT.
local function classify(id, identity, out, overwrite)
  local h = redis.call('HMGET', job_key(id), 'state', 'identity', 'out')
  if not h[1] then return 'ADD', '' end
  if h[2] ~= identity then return overwrite and 'REPLACE' or 'CONFLICT', h[1] end
  if h[1] == 'done' and out ~= '' and text(h[3]) ~= out then return 'AGAIN', h[1] end
  return 'SAME', h[1]
end

-- Whatever stood under the id is gone with its token: a holder of it is stale from here on.
local function add_job(id, identity, hash, spec, priority, max_attempts, out)
  local seq = redis.call('INCR', P .. 'seq')
  local before = redis.call('HGET', job_key(id), 'state')
  if SETS[before] then redis.call('ZREM', P .. SETS[before], id) end
  redis.call('DEL', job_key(id))
  redis.call('HSET', job_key(id), 'identity', identity, 'hash', hash, 'spec', spec, 'priority', priority,
    'max_attempts', max_attempts, 'out', out, 'attempts', 0, 'seq', seq, 'submitted_ms',
    now_ms())
  to_pending(id, nil)
  event(id, 'submitted', 'priority', priority)
end

-- An inbox entry that is no job becomes a failed record, so that its reason can be seen. Returns its id.
local function reject(id, entry, message)
  local h = redis.call('HMGET', job_key(id), 'state', 'inbox')
  if h[1] and not h[2] then id = id .. '-rejected' end  -- a real job has this id
  redis.call('DEL', job_key(id))
  redis.call('HSET', job_key(id), 'inbox', 1, 'spec', entry, 'attempts', 0, 'submitted_ms', now_ms())
  to_failed(id, nil, now_ms(), 'job', message, '0')
  return id
end
