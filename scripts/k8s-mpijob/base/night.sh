#!/bin/sh
# Starts the MPIJob again as it stands, unless one is still at work. The queue knows which videos are there.
set -eu
name=${1:-nightreel}

condition() {
  kubectl get mpijob "$name" -o "jsonpath={.status.conditions[?(@.type==\"$1\")].status}"
}

kubectl get mpijob "$name" -o name >/dev/null # fails, and says why, where there is none
if [ "$(condition Succeeded)" != True ] && [ "$(condition Failed)" != True ]; then
  echo "night.sh: $name has not finished: nothing is started" >&2
  exit 3
fi
# --force: deleted, and made anew under the same name.
kubectl get mpijob "$name" -o yaml | kubectl replace --force -f -
