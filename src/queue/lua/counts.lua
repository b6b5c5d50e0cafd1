-- ARGV: a run's id or ''. Returns inbox, pending, delayed, running, done, failed, cancelled, leased by that run.
return counts(ARGV[1])
