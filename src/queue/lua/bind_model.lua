-- ARGV: model digest. Returns {'OK', ''} or {'OTHER_MODEL', the digest that the queue is bound to}.
local other = bound_elsewhere(ARGV[1])
if other then return {'OTHER_MODEL', other} end
bind(ARGV[1])
return {'OK', ''}
