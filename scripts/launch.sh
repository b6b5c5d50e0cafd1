# shellcheck shell=sh
# What all launch scripts share; POSIX sh, sourced. The caller has `set -eu`.
#
#   launch OUT COMMAND...   runs COMMAND (mpirun, srun or a script around one, that runs `nightreel run --out OUT`),
#                           hands signals on, and leaves the run's exit code in launch_code
#
# Why not simply `mpirun ...`: Open MPI's mpirun returns 1 when it is itself sent TERM or INT, whatever the ranks say, and
# ends them by its own clock. So the script takes the signal, and mpirun gets USR1, which it forwards:
#   USR1 to the script             one USR1: the videos in hand are finished, then the run stops
#   TERM, INT, HUP to the script   two: leases are given back at once, exit code 75
# With LAUNCH_FINISH_SECONDS above 0 a run that was told to finish and has not is told to stop after that time.

launch_pid=
launch_asked=
launch_caught=
launch_timer=

launch_say() { printf "%s: %s\n" "${SLURM_JOB_NAME:-$(basename "$0")}" "$*" >&2; }

# launch_fail CODE TEXT...: the codes are nightreel's (2 usage, 3 the environment is wrong).
launch_fail() {
  launch_failed=$1
  shift
  launch_say "$*"
  exit "$launch_failed"
}

# launch_number NAME VALUE: VALUE, which must be digits. Shells run what stands in an arithmetic expression
# (`a[$(command)]`), so what was read from a file or the environment goes through here before it is counted with.
launch_number() {
  case $2 in
    '' | *[!0-9]*) launch_fail 2 "$1 is no number" ;;
  esac
  printf '%s\n' "$2"
}

# launch_find_program HOME: the nightreel to run, in launch_program: LAUNCH_PROGRAM, or that of HOME (an image's tree, an
# installed share/nightreel, or a checkout), or the one in PATH.
launch_find_program() {
  launch_program=${LAUNCH_PROGRAM:-}
  for launch_place in "$1/bin/nightreel" "${1%/share/nightreel}/bin/nightreel" "$1/build/release/bin/nightreel" "$1/build/demo/bin/nightreel" \
    "$(command -v nightreel || true)"; do
    if [ -z "$launch_program" ] && [ -x "$launch_place" ]; then launch_program=$launch_place; fi
  done
  [ -n "$launch_program" ] || launch_fail 3 "no nightreel under $1 or in PATH: set LAUNCH_PROGRAM to its path"
  [ -x "$launch_program" ] || launch_fail 3 "$launch_program is no program: set LAUNCH_PROGRAM to nightreel's path"
}

launch_need() {
  for launch_word in "$@"; do
    command -v "$launch_word" >/dev/null || launch_fail 3 "$launch_word is not in PATH: install it or load its module"
  done
}

# mpirun's options for every launch, in launch_mpirun_options (words): nothing is bound, because the renderer's and the
# encoder's threads would end up on one core; what names a Redis, a setting or NCCL's ways reaches all hosts by name,
# never by value.
launch_set_mpirun_options() {
  launch_mpirun_options="--bind-to none"
  [ "$(id -u)" != 0 ] || launch_mpirun_options="$launch_mpirun_options --allow-run-as-root"
  for launch_word in $(env | sed -n 's/^\([A-Z][A-Z0-9_]*\)=.*/\1/p'); do
    case $launch_word in
      REDIS_* | NIGHTREEL_* | NCCL_* | UCX_*) launch_mpirun_options="$launch_mpirun_options -x $launch_word" ;;
    esac
  done
}

# launch_slots FILE: the ranks that a host file asks for; a host without slots= has one, as for mpirun.
launch_slots() {
  [ -r "$1" ] || launch_fail 3 "$1 cannot be read: LAUNCH_HOSTFILE names the list of hosts"
  awk '{ sub(/#.*/, "") } NF { n = 1; for (i = 2; i <= NF; i++) if ($i ~ /^slots=/) n = substr($i, 7); sum += n } END { print sum + 0 }' "$1"
}

# --- signals

launch_send() { kill -USR1 "$launch_pid" 2>/dev/null || true; }

launch_hand_on() {
  [ -n "$launch_pid" ] || return 0
  launch_send
  if [ "$launch_asked" = stop ]; then
    sleep 0.3 # two signals at once would be one
    launch_send
  elif [ "$launch_finish" -gt 0 ] && [ -z "$launch_timer" ]; then
    launch_start_timer
  fi
}

# Its own sleep ends with it: one left over would hold the log open.
launch_start_timer() {
  (
    trap - USR1 INT HUP
    sleep "$launch_finish" &
    launch_sleep=$!
    trap 'kill "$launch_sleep" 2>/dev/null; exit 0' TERM
    wait "$launch_sleep"
    launch_send
  ) &
  launch_timer=$!
}

launch_ask() {
  launch_caught=yes
  [ "$launch_asked" = stop ] || launch_asked=$1
  launch_hand_on
}

# A trap ends `wait` early: then wait again. 127: the code was fetched before the trap ran.
launch_wait() {
  launch_code=0
  wait "$launch_pid" || launch_code=$?
  while [ -n "$launch_caught" ]; do
    launch_caught=
    launch_again=0
    wait "$launch_pid" || launch_again=$?
    [ "$launch_again" -eq 127 ] || launch_code=$launch_again
  done
  launch_pid=
  [ -z "$launch_timer" ] || kill "$launch_timer" 2>/dev/null || true
  launch_timer=
}

# --- the code

launch_summaries() {
  for launch_file in "$launch_out"/runs/*.json; do
    if [ -e "$launch_file" ]; then printf '%s\n' "$launch_file"; fi
  done
}

# The summaries that this run, or another one on the same OUT, has written since; the newest one in launch_summary.
launch_new_summaries() {
  launch_summaries | while IFS= read -r launch_file; do
    case "
$launch_before
" in
      *"
$launch_file
"*) ;;
      *) printf '%s\n' "$launch_file" ;;
    esac
  done
}

launch_exit_code_of() { sed -n 's/^.*"exit_code": *\([0-9][0-9]*\).*$/\1/p' "$1"; }

# The launcher's code is the ranks' own, except 1 and those of signals, which may be the launcher's; then runs/RUN.json
# says what the ranks agreed upon. A run that ends with 1 has written one, so 1 without it is a launcher that started none
# (a host that does not answer, an srun without PMIx): 3. More than one new summary: others share this OUT, and to be run
# again does no harm.
launch_judge() {
  launch_new=$(launch_new_summaries)
  launch_summary=$(printf '%s\n' "$launch_new" | tail -n 1)
  case $launch_code in
    1 | 12[89] | 1[3-9]? | 2??) ;;
    *) return 0 ;;
  esac
  launch_told=
  [ -z "$launch_new" ] || launch_told=$(launch_exit_code_of "$launch_summary")
  if [ -n "$launch_asked" ]; then
    launch_code=75
    [ "$(printf '%s\n' "$launch_new" | wc -l)" -ne 1 ] || launch_code=${launch_told:-75}
  elif [ "$launch_code" -eq 1 ] && [ "$launch_told" = 75 ]; then
    launch_code=75 # the launcher alone was sent a signal
  elif [ "$launch_code" -eq 1 ] && [ -z "$launch_told" ]; then
    launch_say "the launcher ended with 1 before the ranks began"
    launch_code=3
  fi
}

launch_explain() {
  case $1 in
    0) echo "every job is done" ;;
    1) echo "drained, but some jobs failed for good" ;;
    2) echo "usage or a bad job file" ;;
    3) echo "the environment is wrong" ;;
    4) echo "internal error" ;;
    75) echo "stopped early, work is left: run the same command again" ;;
    *) echo "the launcher's own: see its words above" ;;
  esac
}

launch() {
  launch_out=$1
  shift
  launch_finish=$(launch_number LAUNCH_FINISH_SECONDS "${LAUNCH_FINISH_SECONDS:-0}")
  launch_before=$(launch_summaries)
  launch_summary=
  launch_code=75
  launch_caught=
  trap 'launch_ask finish' USR1
  trap 'launch_ask stop' TERM INT HUP
  if [ -z "$launch_asked" ]; then
    "$@" &
    launch_pid=$!
    [ -z "$launch_asked" ] || launch_hand_on # one that came while the process started
    launch_wait
    launch_judge
  fi
  launch_say "exit code $launch_code, $(launch_explain "$launch_code")${launch_summary:+ ($launch_summary)}"
}
