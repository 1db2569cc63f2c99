#!/usr/bin/env bash
# Runs one task of a shop for Tilt, such as its setup. Argument as for serve.sh. What it prints goes
# to its log too.
set -u -o pipefail
export SERVING=yes
source "$1"
cd "$cwd" || exit 1
"${command[@]}" 2>&1 </dev/null | tee -a "$log"
