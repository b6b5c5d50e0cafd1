#!/bin/sh
# The launcher pod of an MPIJob: waits, with an end, until every worker answers, then one mpirun over the operator's host
# file. Its exit code is the run's; its last words stand in the termination log (kubectl describe pod).
#
#   launcher.sh JOBS.jsonl [options of nightreel run...]
set -eu
model=${NIGHTREEL_MODEL:-/models/Wan2.2-T2V-A14B}
out=${NIGHTREEL_OUT:-/videos/tonight}
hostfile=${LAUNCH_HOSTFILE:-/etc/mpi/hostfile} # the operator writes it: a line a pod, slots = slotsPerWorker
wait_given=${LAUNCH_WAIT_SECONDS:-300}         # for each worker's name and sshd
ssh_port=${LAUNCH_SSH_PORT:-2222}
ssh_user=${LAUNCH_SSH_USER:-mpiuser}
last_words=${LAUNCH_TERMINATION_LOG:-/dev/termination-log}
home=${LAUNCH_HOME:-$(cd "$(dirname "$0")/../.." && pwd)}

# shellcheck source=scripts/launch.sh
. "$home/scripts/launch.sh"
launch_need mpirun ssh
wait_seconds=$(launch_number LAUNCH_WAIT_SECONDS "$wait_given")
launch_find_program "$home"
ranks=$(launch_slots "$hostfile")

# No agent, no questions, no file to write: the pod's keys come from a Secret, the host keys with every job anew.
ssh_words="-p $ssh_port -l $ssh_user -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5"

leave() {
  printf '%s\n' "$2" >"$last_words" 2>/dev/null || true
  launch_fail "$1" "$2"
}

# The launcher itself may be in the list (runLauncherAsWorker): it has no sshd and needs none.
answers() {
  [ "${1%%.*}" != "$(hostname -s)" ] || return 0
  # shellcheck disable=SC2086  # words
  getent hosts "$1" >/dev/null && ssh $ssh_words "$1" true </dev/null 2>/dev/null
}

# Names come up late, and sshd after them.
wait_for() {
  until answers "$1"; do
    [ -z "$launch_asked" ] || leave 75 "told to stop while waiting for $1"
    [ "$(date +%s)" -lt "$give_up" ] ||
      leave 3 "$1 did not answer on port $ssh_port within $wait_seconds s: kubectl describe and logs of that pod say why"
    sleep 1
  done
}

trap 'launch_asked=stop' TERM INT HUP USR1
give_up=$(($(date +%s) + wait_seconds))
hosts=$(awk '{ sub(/#.*/, "") } NF { print $1 }' "$hostfile")
for host in $hosts; do wait_for "$host"; done

# The operator's own variables are Open MPI 4's; 5 ignores them and would start every rank here, so both get the host
# file and the ssh words by the names that each knows.
export PRTE_MCA_plm_ssh_args="$ssh_words" PRTE_MCA_prte_keep_fqdn_hostnames=true PRTE_MCA_prte_default_hostfile="$hostfile"
# The launcher is started again before the leases of a killed one have run out: their jobs are waited for.
export NIGHTREEL_WAIT_FOR_ALL="${NIGHTREEL_WAIT_FOR_ALL:-true}"
launch_set_mpirun_options
# shellcheck disable=SC2086  # words
launch "$out" mpirun $launch_mpirun_options --mca plm_rsh_args "$ssh_words" --hostfile "$hostfile" -np "$ranks" \
  ${LAUNCH_MPIRUN_OPTIONS:-} "$launch_program" run --model "$model" --out "$out" --expect-ranks "$ranks" "$@"
printf 'exit code %s, %s%s\n' "$launch_code" "$(launch_explain "$launch_code")" "${launch_summary:+ ($launch_summary)}" \
  >"$last_words" 2>/dev/null || true
exit "$launch_code"
