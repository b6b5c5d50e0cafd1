#!/bin/sh
# Starts the MPIJob again as it stands, unless one is still at work. The queue knows which videos are there.
#
# An MPIJob that has ended starts again only as a new one under its name, so the old one is deleted. It cannot be lost by
# that: its manifest is kept in the ConfigMap NAME-kept first, the cluster is asked whether it would take it, and where
# the new one is not made, now or because this pod was killed, it is made from what was kept.
set -eu
name=${1:-nightreel}
kept=$name-kept
tries=${LAUNCH_TRIES:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { echo "night.sh: $*" >&2; }

condition() {
  kubectl get mpijob "$name" -o "jsonpath={.status.conditions[?(@.type==\"$1\")].status}"
}

# Without what the cluster adds and refuses to be given.
manifest_of() { sed -e '/^  resourceVersion:/d' -e '/^  uid:/d' -e '/^  creationTimestamp:/d' -e '/^  generation:/d' -e '/^status:/,$d' "$1"; }

is_there() { [ -n "$(kubectl get mpijob "$name" -o name --ignore-not-found)" ]; }

create() {
  tried=0
  until is_there || kubectl create -f "$work/manifest"; do
    tried=$((tried + 1))
    if [ "$tried" -ge "$tries" ]; then
      say "$name cannot be made again; it stands in the ConfigMap $kept, from which the next night makes it"
      exit 3
    fi
    sleep "${LAUNCH_PAUSE:-10}"
  done
}

found=$(kubectl get mpijob "$name" -o name --ignore-not-found) # a cluster that does not answer ends this here
if [ -z "$found" ]; then
  kubectl get configmap "$kept" -o 'jsonpath={.data.manifest}' >"$work/manifest"
  grep -q '^kind: MPIJob$' "$work/manifest" || {
    say "there is no MPIJob $name, and none is kept: kubectl apply -k an overlay"
    exit 3
  }
  say "$name is gone: made again as it was kept"
  create
  exit 0
fi
if [ "$(condition Succeeded)" != True ] && [ "$(condition Failed)" != True ]; then
  say "$name has not finished: nothing is started"
  exit 3
fi

kubectl get mpijob "$name" -o yaml >"$work/found"
manifest_of "$work/found" >"$work/manifest"
grep -q '^kind: MPIJob$' "$work/manifest" || {
  say "what the cluster says of $name is no manifest: nothing is changed"
  exit 3
}
kubectl create configmap "$kept" --from-file=manifest="$work/manifest" --dry-run=client -o yaml | kubectl replace -f - >/dev/null
# Would it be taken? Asked under another name, as this one is there still.
sed "s/^  name: $name\$/  name: $name-check/" "$work/manifest" | kubectl create --dry-run=server -f - >/dev/null
kubectl delete mpijob "$name" --wait=true
create
