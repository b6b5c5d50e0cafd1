"""The table of planted bugs: (name, what it is, [(file, old text, new text)], flags of the chaos run that is to find it).

Each old text stands once in its file. In C++ PLANTED is true where the bug is wanted.
"""
# How a script stands in the program: what is put round it is up to planted.py.
WHOLE_SCRIPT = r"lua::k_\w+"

LUA = "src/queue/lua"
PUBLISHER = "src/rank/publisher.cpp"
DRAIN = "src/rank/drain.cpp"
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
        (PUBLISHER, "  if (!still_ours()) return false;\n  take_names(", "  if (!PLANTED && !still_ours()) return false;\n  take_names("),
        (PUBLISHER, "    if (!still_ours()) return false;\n    if (!new_name", "    if (!PLANTED && !still_ours()) return false;\n    if (!new_name"),
        (PUBLISHER, "  if (!still_ours()) return false;\n  replace ?", "  if (!PLANTED && !still_ours()) return false;\n  replace ?"),
        (DRAIN, "if (hand.lease.earlier) p_.out", "if (hand.lease.earlier && !PLANTED) p_.out"),
        ("src/rank/drain_endings.cpp", "Ending::Kind::complete && job.held.look().lost)", "Ending::Kind::complete && !PLANTED && job.held.look().lost)"),
        ("src/rank/drain_events.cpp", "if (!state.lost && !state", "if ((PLANTED || !state.lost) && !state")], FLAGS),
    ("link_made_rename", "a video that stands is not seen, and replaced", [
        (PUBLISHER, "return look(id, hash, anew).kept;", "return PLANTED ? std::nullopt : look(id, hash, anew).kept;"),
        (PUBLISHER, "const Look stands = look(f.id, f.lease.hash, f.anew);", "const Look stands = PLANTED ? Look() : look(f.id, f.lease.hash, f.anew);"),
        (PUBLISHER, "replace ? base::rename_file(from.video, to.video)", "replace || PLANTED ? base::rename_file(from.video, to.video)")], FLAGS),
    ("standing_not_seen", "a video that stands is not seen before its job is rendered again", [
        (DRAIN, "if (const auto stands = p_.publisher.standing(hand.job.id, hand.lease.hash, anew(hand))) {",
         "if (const auto stands = PLANTED ? std::nullopt : p_.publisher.standing(hand.job.id, hand.lease.hash, anew(hand))) {"),
        (PUBLISHER, "  if (stands.kept) {", "  if (!PLANTED && stands.kept) {")], FLAGS),
    ("sidecar_last", "the video gets its name before its sidecar", [
        (PUBLISHER, "  take_names(f, from, to, replace);", "  if (PLANTED && !replace) give_name(from.video, to.video);\n  take_names(f, from, to, replace);"),
        (PUBLISHER, ": give_name(from.video, to.video);\n  const std::string stamp", ": PLANTED ? void() : give_name(from.video, to.video);\n  const std::string stamp")],
     FLAGS),
    ("states_left", "the state of a job that is done stays", [
        (PUBLISHER, "    base::remove_file(out_.checkpoint(id));", "    if (!PLANTED) base::remove_file(out_.checkpoint(id));")], FLAGS),
    ("temporary_files_left", "what an attempt has begun to write stays", [
        (PUBLISHER, "    if (path.empty()) continue;", "    if (path.empty() || PLANTED) continue;"),
        ("src/rank/output_folder.cpp", "    if (!found) return false;", "    if (!found || PLANTED) return false;")], FLAGS),
    ("lost_reply_is_done", "a completion that nobody answered counts as told", [
        ("src/rank/drain_endings.cpp", "  if (!p_.jobs.complete(job.lease.ref, job.ending.published)) return lost(job);",
         "  try {\n    if (!p_.jobs.complete(job.lease.ref, job.ending.published)) return lost(job);\n  } catch (const Error&) {\n"
         "    if (!PLANTED) throw;\n  }")], FLAGS),
    ("delayed_forgotten", "a run ends although jobs wait for their next attempt", [
        ("include/nightreel/queue/job_queue.h", "return inbox + pending + delayed + leased_by_run == 0;",
         "return inbox + pending + (PLANTED ? 0 : delayed) + leased_by_run == 0;")], FLAGS),
    ("inbox_entry_lost", "an entry in ten leaves the inbox and becomes no job", [
        (f"{LUA}/inbox_turn.lua", "if what ~= 'SAME' then add_job(", "if what ~= 'SAME' and string.sub(id, -1) ~= '7' then add_job(")], FLAGS),
    ("list_not_compared", "what the queue has lost of a run's list is not missed", [
        ("src/rank/own_list.cpp", "if (!own.stands) out.push_back(lost(own));", "if (!own.stands && !PLANTED) out.push_back(lost(own));"),
        ("src/rank/own_list.cpp", "if (own.missing) return own.stands ||", "if (own.missing) return PLANTED || own.stands ||"),
        ("src/rank/own_list.cpp", "    return counts ? own->seen : now;", "    return counts || PLANTED ? own->seen : now;")], (*FLAGS, "--also", "vanish")),
    ("out_not_looked_at", "a video that is gone or changed is not missed", [
        ("src/rank/standing.cpp", "if (stamp.empty()) missing", "if (stamp.empty() && !PLANTED) missing"),
        ("src/rank/standing.cpp", "if (!stamp.empty() && stamp", "if (!PLANTED && !stamp.empty() && stamp")], (*FLAGS, "--also", "writer")),
    ("changed_video_removed", "what somebody put in a video's place is removed", [
        ("src/rank/output_folder.cpp", "    if (!base::publish(video, name)) continue;",
         "    if (PLANTED) base::remove_file(video);\n    if (PLANTED) return name;\n    if (!base::publish(video, name)) continue;")],
     (*FLAGS, "--also", "writer")),
    ("sigpipe_deadly", "a rank dies with the reader of its output", [
        ("src/rank/signals.cpp", "::signal(SIGPIPE, SIG_IGN);", "::signal(SIGPIPE, PLANTED ? SIG_DFL : SIG_IGN);"),
        ("src/app/common/outputs.cpp", "::signal(SIGPIPE, SIG_IGN);", "::signal(SIGPIPE, PLANTED ? SIG_DFL : SIG_IGN);")],
     ("--ranks", "1", "--also", "pipe")),
]
