"""The table of planted bugs: (name, what it is, [(file, old text, new text)], flags of the chaos run that is to find it).

Each old text stands once in its file. In C++ PLANTED is true where the bug is wanted.
"""
# How a script stands in the program: what is put round it is up to planted.py.
WHOLE_SCRIPT = r"lua::k_\w+"

LUA = "src/queue/lua"
PUBLISHER = "src/rank/publisher.cpp"
FLAGS = ("--ranks", "4")

TABLE = [
    ("claim_without_nonce", "a claim whose reply was lost is not given again", [
        (f"{LUA}/claim.lua", "if seen[1] == nonce and held(", "if false and held(")], FLAGS),
    ("claimed_stays_pending", "a job that is claimed stays in the line", [
        (f"{LUA}/claim.lua", "move(id, 'pending', 'running', now + lease)", "move(id, nil, 'running', now + lease)")], FLAGS),
    ("complete_of_stale", "whoever says so completes a job", [
        (f"{LUA}/complete.lua", "if not held(id, token) then return", "if false then return")], FLAGS),
    ("renew_of_stale", "an expired or foreign lease is renewed", [
        (f"{LUA}/renew.lua", "then return {'STALE', '0'} end", "then key = key end")], FLAGS),
    ("release_uses_attempt", "a job that goes back unused has used an attempt", [
        (f"{LUA}/release.lua", "'attempts', -1)", "'attempts', 0)")], FLAGS),
    ("lost_lease_is_free", "a lost lease uses no attempt", [
        (f"{LUA}/common.lua", "  event(id, 'lease_lost',", "  redis.call('HINCRBY', job_key(id), 'attempts', -1)\n  event(id, 'lease_lost',")],
     FLAGS),
    ("job_in_two_sets", "a job that is done stays among the running", [
        (f"{LUA}/complete.lua", "move(id, 'running', 'done', now)", "move(id, nil, 'done', now)")], FLAGS),
    ("delays_never_due", "what waits for its next attempt waits for ever", [
        (f"{LUA}/claim.lua", "to_pending(id, 'delayed')", "id = id")], FLAGS),
    ("leases_never_end", "a lease that ran out is not taken back", [
        (f"{LUA}/common.lua", "for _, id in ipairs(expired) do reap_one(id, now) end", "expired = {}")], FLAGS),
    ("done_untold", "the stream does not tell of a job that is done", [
        (f"{LUA}/complete.lua", "event(id, 'done', 'video', ARGV[3], 'sha256', ARGV[4])", "")], FLAGS),
    ("hash_of_another", "Redis is told another sha256 than the sidecar", [
        (f"{LUA}/complete.lua", "'sha256', ARGV[4], 'bytes'", "'sha256', redis.sha1hex(ARGV[4]), 'bytes'")], FLAGS),
    ("fence_skipped", "a stale holder passes the fence, its own clock is not asked, and its files are left to it", [
        (f"{LUA}/begin_publish.lua", "then return 'STALE' end", "then return 'OK' end"),
        (PUBLISHER, "  if (!still_ours()) return false;\n  maker_.overwrite", "  if (!PLANTED && !still_ours()) return false;\n  maker_.overwrite"),
        (PUBLISHER, "    if (!still_ours()) return false;\n    if (!new_name", "    if (!PLANTED && !still_ours()) return false;\n    if (!new_name"),
        ("src/rank/drain.cpp", "if (hand.lease.earlier) p_.out", "if (hand.lease.earlier && !PLANTED) p_.out"),
        ("src/rank/drain_endings.cpp", "Ending::Kind::complete && job.held.look().lost)", "Ending::Kind::complete && !PLANTED && job.held.look().lost)"),
        ("src/rank/drain_events.cpp", "if (!state.lost && !state", "if ((PLANTED || !state.lost) && !state")], FLAGS),
    ("link_made_rename", "a video that stands is not seen, and replaced", [
        (PUBLISHER, "if (!base::exists(set.video)) return std::nullopt;", "if (PLANTED || !base::exists(set.video)) return std::nullopt;"),
        (PUBLISHER, "maker_.overwrite&& base::exists(to.video)", "(maker_.overwrite || PLANTED) && base::exists(to.video)")], FLAGS),
    ("standing_not_seen", "a video that stands is not seen before its job is rendered again", [
        ("src/rank/drain.cpp", "if (const auto stands = p_.publisher.standing(hand.job.id, hand.lease.hash)) {",
         "if (const auto stands = PLANTED ? std::nullopt : p_.publisher.standing(hand.job.id, hand.lease.hash)) {"),
        (PUBLISHER, "if (const auto stands = standing(f.id, f.lease.hash)) {",
         "if (const auto stands = PLANTED ? std::nullopt : standing(f.id, f.lease.hash)) {")], FLAGS),
    ("sidecar_last", "the video gets its name before its sidecar", [
        (PUBLISHER, "  for (const auto& [old_name, new_name] :", "  if (PLANTED) give_name(from.video, to.video);\n  for (const auto& [old_name, new_name] :"),
        (PUBLISHER, "give_name(from.video, to.video);\n  base::sync", "PLANTED ? void() : give_name(from.video, to.video);\n  base::sync")],
     FLAGS),
    ("states_left", "the state of a job that is done stays", [
        (PUBLISHER, "    base::remove_file(out_.checkpoint(id));", "    if (!PLANTED) base::remove_file(out_.checkpoint(id));")], FLAGS),
    ("temporary_files_left", "what an attempt has begun to write stays", [
        (PUBLISHER, "    if (path.empty()) continue;", "    if (path.empty() || PLANTED) continue;"),
        ("src/rank/output_folder.cpp", "return found && *found < token;", "return !PLANTED && found && *found < token;")], FLAGS),
    ("lost_reply_is_done", "a completion that nobody answered counts as told", [
        ("src/rank/drain_endings.cpp", "  if (!p_.jobs.complete(job.lease.ref, job.ending.published)) return lost(job);",
         "  try {\n    if (!p_.jobs.complete(job.lease.ref, job.ending.published)) return lost(job);\n  } catch (const Error&) {\n"
         "    if (!PLANTED) throw;\n  }")], FLAGS),
    ("delayed_forgotten", "a run ends although jobs wait for their next attempt", [
        ("include/nightreel/queue/job_queue.h", "return inbox + pending + delayed + leased_by_run == 0;",
         "return inbox + pending + (PLANTED ? 0 : delayed) + leased_by_run == 0;")], FLAGS),
    ("inbox_entry_lost", "an entry in seven leaves the inbox and becomes no job", [
        (f"{LUA}/inbox_take.lua", "if what ~= 'SAME' then add_job(", "if what ~= 'SAME' and redis.call('LLEN', P .. 'inbox') % 7 ~= 3 then add_job(")],
     FLAGS),
]
