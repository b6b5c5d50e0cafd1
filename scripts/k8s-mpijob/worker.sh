#!/bin/sh
# A worker pod of an MPIJob: sshd as the normal user that the pod runs as, on a port above 1024, with the job's keys only.
set -eu
port=${LAUNCH_SSH_PORT:-2222}
keys=${LAUNCH_SSH_KEYS:-$HOME/.ssh} # sshAuthMountPath: id_rsa and authorized_keys, the operator's
sshd=${LAUNCH_SSHD:-/usr/sbin/sshd} # sshd insists on its full path
listen=${LAUNCH_SSH_LISTEN:-0.0.0.0}

for file in "$keys/id_rsa" "$keys/authorized_keys"; do
  [ -r "$file" ] || {
    echo "worker.sh: $file cannot be read by $(id -un): see sshAuthMountPath and securityContext.runAsUser" >&2
    exit 3
  }
done
state=$(mktemp -d)
# sshd refuses a host key that others may read, and a Secret's modes are the cluster's to choose.
(umask 077 && cp "$keys/id_rsa" "$state/host_key")
cat >"$state/config" <<CONFIG
Port $port
ListenAddress $listen
HostKey $state/host_key
PidFile none
AuthorizedKeysFile $keys/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
CONFIG
exec "$sshd" -De -f "$state/config"
