# A suite: tests that run while their peers do. Sourced by run.

failures=() skipped=()

# suite NAME "PEERS" TESTS PACKAGES...: installs and starts the peers, runs the
# tests whose names begin so, ends the peers. SHARDLINE_PEER_X_Y tells the tests
# where the peer x-y is: a server's URL, a Java library's class path.
suite() {
  local name=$1 peers=$2 tests=$3 peer variable environment=() status=0 log=$home/log/$1.test.log
  shift 3
  for peer in $peers; do
    if ! reason=$(install "$peer") || ! start "$peer"; then
      unavailable "$name" "$reason"
      stop_servers
      return
    fi
    variable=SHARDLINE_PEER_${peer^^}
    environment+=("${variable//[-.]/_}=$place")
  done
  say "$name: ${environment[*]} in $*"
  env "${environment[@]}" AWS_EC2_METADATA_DISABLED=true \
    go test -count=1 -v -p 1 -timeout 15m -run "^$tests" "$@" >"$log" 2>&1 || status=$?
  stop_servers
  if ((status)); then
    cat "$log"
    failures+=("$name: the suite fails")
    return
  fi
  # What ran, and what the suite leaves out on this peer and why.
  grep -E '^ *--- |^ok |left out' "$log" || true
  if grep -Eq '^ *--- SKIP' "$log"; then
    grep -E -B 3 '^ *--- SKIP' "$log"
    failures+=("$name: a test skips although its peers run")
  elif (($(grep -Ec '^ok ' "$log") != $#)) || grep -Eq 'no tests to run' "$log"; then
    failures+=("$name: no test named $tests… in some of $*")
  fi
}

unavailable() {
  if [[ ${CI:-} == true ]]; then
    failures+=("$1: not available: $2")
  else
    say "$1 SKIPPED: $2"
    skipped+=("$1")
  fi
}
