-- Takes back leases that have run out. Returns how many.
keep_going_when_full()
return reap(now_ms())
