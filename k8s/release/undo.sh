#!/usr/bin/env bash
# Takes every Deployment of the shop back to the version that ran before its last roll-out, callers
# before the services that they call: the order of an upgrade, the other way round.
#   k8s/release/undo.sh [namespace]
set -euo pipefail
namespace=${1:-shop}

for name in edge gateway orders payments inventory catalog users; do
  # Paused by a canary (docs/releasing.md), it cannot be undone. Unknown, it was never there.
  kubectl --namespace "$namespace" rollout resume "deployment/$name" > /dev/null 2>&1 || true
  kubectl --namespace "$namespace" get "deployment/$name" > /dev/null 2>&1 || continue
  kubectl --namespace "$namespace" rollout undo "deployment/$name"
  kubectl --namespace "$namespace" rollout status --timeout 10m "deployment/$name"
done
