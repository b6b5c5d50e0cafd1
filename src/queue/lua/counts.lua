-- ARGV: a run's id or ''. Returns inbox, pending, delayed, running, done, failed, cancelled, leased by that run, whether its list is content
-- (0/1).
return counts(ARGV[1])
