#!/bin/sh
# Bare metal: one mpirun over the hosts of a host file, one rank a GPU. Its exit code is the run's (docs/running.md), 75
# included when it is sent TERM or INT: run the same command again.
#
#   scripts/mpirun/run.sh tonight.jsonl [options of nightreel run...]
#
# Parameters: set them here or in the environment. NIGHTREEL_* and REDIS_* reach all ranks.
set -eu
model=${NIGHTREEL_MODEL:-/models/Wan2.2-T2V-A14B} # the same path on all hosts
out=${NIGHTREEL_OUT:-/videos/tonight}             # one folder for all hosts
hostfile=${LAUNCH_HOSTFILE:-}                     # scripts/mpirun/hosts.example; empty: this host alone
ranks=${LAUNCH_RANKS:-}                           # empty: the host file's slots, or the GPUs of this host
options=${LAUNCH_MPIRUN_OPTIONS:-}                # more for mpirun, e.g. --mca btl_tcp_if_include eth0
home=${LAUNCH_HOME:-$(cd "$(dirname "$0")/../.." && pwd)}

# shellcheck source=scripts/launch.sh
. "$home/scripts/launch.sh"
launch_need mpirun
launch_find_program "$home"

if [ -n "$hostfile" ]; then
  slots=$(launch_slots "$hostfile")
  ranks=${ranks:-$slots}
elif [ -z "$ranks" ] && command -v nvidia-smi >/dev/null; then
  ranks=$(nvidia-smi -L | wc -l)
fi
case $ranks in
  '' | 0 | *[!0-9]*) launch_fail 2 "how many ranks? Set LAUNCH_RANKS, or LAUNCH_HOSTFILE to a file with slots=" ;;
esac

launch_set_mpirun_options
# shellcheck disable=SC2086  # words
launch "$out" mpirun $launch_mpirun_options ${hostfile:+--hostfile "$hostfile"} -np "$ranks" $options \
  "$launch_program" run --model "$model" --out "$out" --expect-ranks "$ranks" "$@"
exit "$launch_code"
