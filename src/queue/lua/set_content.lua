-- ARGV: run, for how many seconds. Every job of the run's files has ended, says its first rank (counts tells it).
keep_going_when_full()
redis.call('SET', content_key(ARGV[1]), 1, 'EX', ARGV[2])
return 'OK'
