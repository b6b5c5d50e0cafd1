-- ARGV: a run's id or ''. Returns inbox, pending, delayed, running, done, failed, cancelled, leased by that run, whether its list is content
-- (0/1), when the first and the last of all leases end (ms; 0: none).
return counts(ARGV[1])
