#!/bin/sh
# One night: tonight's jobs into a folder named by the date, then what earlier nights left. Prints where the summaries and
# reports are, and ends with the worst exit code of the night (docs/running.md).
#
#   scripts/nightly/night.sh [CONFIG]     CONFIG: /etc/nightreel/night.conf, see night.conf.example
#
# Started twice on one date it goes on where the first stopped; started while another is at work it is refused.
set -eu
config=${1:-/etc/nightreel/night.conf}
date=${LAUNCH_DATE:-$(date +%F)} # the run id: the day on which the night begins
home=${LAUNCH_HOME:-$(cd "$(dirname "$0")/../.." && pwd)}

# shellcheck source=scripts/launch.sh
. "$home/scripts/launch.sh"
[ -r "$config" ] || launch_fail 3 "$config cannot be read: copy $home/scripts/nightly/night.conf.example"
case $config in */*) ;; *) config=./$config ;; esac
set -a
# shellcheck source=/dev/null
. "$config"
set +a
nights=${LAUNCH_NIGHTS:?"$config does not set it: the folder that holds a folder a night"}
jobs=${LAUNCH_JOBS:?"$config does not set it: the job file of the night"}
command=${LAUNCH_COMMAND:-$home/scripts/mpirun/run.sh}
launch_find_program "$home"
launch_need flock

mkdir -p "$nights"
lock=$nights/.night.lock
# Held by every process of the night, this script's death included; on NFS for all hosts.
exec 9>>"$lock"
flock -n 9 || launch_fail 3 "another night is at work: $(cat "$lock"); nothing is started"
printf 'night %s, pid %s on %s\n' "$date" "$$" "$(hostname)" >"$lock"

worst=0
# Worst first: a launcher's own codes, then the order of docs/running.md.
rank_of() {
  case $1 in 0) echo 0 ;; 1) echo 1 ;; 75) echo 2 ;; 3) echo 3 ;; 2) echo 4 ;; 4) echo 5 ;; *) echo 6 ;; esac
}

# use NIGHT: its folder, and its own queue where several nights share a Redis.
use() {
  export NIGHTREEL_OUT="$nights/$1" NIGHTREEL_QUEUE="night-$1"
}

# night NIGHT: the same command as ever for this night, so that one that stopped goes on.
night() {
  use "$1"
  list=$(cat "$NIGHTREEL_OUT/night.jobs")
  case $list in -?*) list=./$list ;; esac # a file's name, whoever wrote it: never an option
  launch "$NIGHTREEL_OUT" "$command" "$list"
  printf 'night %s: exit code %s, %s%s\n' "$1" "$launch_code" "$(launch_explain "$launch_code")" \
    "${launch_summary:+, $launch_summary}"
  [ ! -e "$NIGHTREEL_OUT/index.html" ] || printf 'night %s: report %s\n' "$1" "$NIGHTREEL_OUT/index.html"
  [ "$(rank_of "$launch_code")" -le "$(rank_of "$worst")" ] || worst=$launch_code
}

# The code of a night's last run; nothing where it has none.
code_of() {
  launch_out=$nights/$1
  last=$(launch_summaries | tail -n 1)
  [ -z "$last" ] || launch_exit_code_of "$last"
}

mkdir -p "$nights/$date"
printf '%s\n' "$jobs" >"$nights/$date/night.jobs"
earlier=$(cd "$nights" && for each in ????-??-??; do [ ! -e "$each/night.jobs" ] || echo "$each"; done |
  awk -v today="$date" '$0 < today')

# Tonight first: what earlier nights left must not cost it its time.
night "$date"
last_night=$(printf '%s\n' "$earlier" | tail -n 1)
for each in $earlier; do
  case $(code_of "$each") in
    75 | 3 | '') night "$each" ;;
    1)
      # Failures get one more night, the next.
      if [ "$each" = "$last_night" ] && [ ! -e "$nights/$each/.failures-retried" ] && [ -z "$launch_asked" ]; then
        touch "$nights/$each/.failures-retried"
        use "$each"
        "$launch_program" retry --all --out "$NIGHTREEL_OUT" >&2
        night "$each"
      fi
      ;;
  esac
done
exit "$worst"
