#!/usr/bin/env bash
# Runs one process of a shop for Tilt, which neither restarts a process that was killed nor stops
# several in order. Argument: a file of platform/supervise/tilt-files.ts with the command, its
# environment and how to stop it. It holds secrets, so Tilt is told no more than its name: what a
# Tiltfile says is in Tilt's log and its API.
#
# - What the process says is written to its log as well, and after Tilt's end to that alone: Tilt
#   ends 2 s after Ctrl-C, and a sidecar that writes to a closed pipe dies before it has left its
#   consumer group.
# - A process that is killed is started again. One that ends by itself within 10 s has a reason that
#   somebody must see to: this script ends too, and Tilt shows the error.
# - Ctrl-C gives all processes SIGTERM at the same time. A server then waits for those that need it
#   until they have stopped. One that is stopped alone, by a button or an edit, waits for none.
set -u
export SERVING=yes
source "$1"
cd "$cwd" || exit 1

pid_file=$state/$name.pid
stopping=$state/$name.stopping
pid=0
restarts=0
rm -f "$stopping"

if [ -f "$log" ] && [ "$(wc -c <"$log")" -gt 20000000 ]; then mv -f "$log" "$log.1"; fi
# Unmoved by signals to the group, and by a pipe that Tilt has closed.
exec > >(trap '' TERM INT HUP PIPE && exec tee -a "$log" 2>/dev/null) 2>&1
tee_pid=$!

# Ends with a code, once all has been said.
finish() {
  trap '' TERM INT HUP
  rm -f "$pid_file" "$stopping" "$state/$name.wrapper"
  exec >/dev/null 2>&1
  local waited=0
  while kill -0 "$tee_pid" 2>/dev/null && [ "$waited" -lt 40 ]; do
    sleep 0.05
    waited=$((waited + 1))
  done
  exit "$1"
}

# Whether a process that needs this one still runs and is about to stop too.
is_needed() {
  local other
  for other in $stops_after; do
    [ -f "$state/$other.pid" ] && [ -f "$state/$other.stopping" ] && return 0
  done
  return 1
}

# `tilt ci` stops one process after the other, in any order, and waits for each: the first one
# passes it on to all.
stop_all() {
  local other
  for other in "$state"/*.wrapper; do
    [ "$other" = "$state/$name.wrapper" ] || kill "$(cat "$other")" 2>/dev/null
  done
}

stop() {
  trap '' TERM INT HUP
  : >"$stopping"
  [ -f "$state/stop-all" ] && stop_all
  local waited=0
  if [ -n "$stops_after" ]; then
    # Until the others have their signal too.
    sleep "$settle_seconds"
    while is_needed && [ "$waited" -lt 100 ]; do
      sleep 0.2
      waited=$((waited + 1))
    done
  fi
  if [ "$pid" -ne 0 ]; then
    kill -s "$stop_signal" "$pid" 2>/dev/null
    set -m
    { sleep "$stop_seconds" && kill -KILL -- "-$pid"; } >/dev/null 2>&1 &
    local killer=$!
    # So that bash does not report its end.
    disown "$killer"
    set +m
    wait "$pid"
    kill -KILL -- "-$killer" 2>/dev/null
  fi
  finish 0
}
trap stop TERM INT HUP
echo $$ >"$state/$name.wrapper"

while true; do
  # A group of its own: Tilt's signals reach this script alone.
  set -m
  "${command[@]}" </dev/null &
  pid=$!
  set +m
  echo "$pid $restarts" >"$pid_file.new" && mv "$pid_file.new" "$pid_file"
  started=$SECONDS
  wait "$pid"
  code=$?
  pid=0
  rm -f "$pid_file"
  if [ "$code" -lt 128 ] && [ $((SECONDS - started)) -lt 10 ]; then
    echo "$name ended with code $code"
    finish $((code == 0 ? 1 : code))
  fi
  echo "$name ended with code $code and is started again"
  restarts=$((restarts + 1))
  sleep 1 &
  wait $!
done
