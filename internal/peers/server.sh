# Peers that are servers: what runs each, from its start to its end. Sourced by
# run.

# server PEER sets command: a single process, so that its id ends it. It writes
# its port to the file that PEER_PORT_FILE names.
server() {
  local modules=$home/$1/node_modules
  case $1 in
    dynalite) command=(node -r "$here/loopback.js" "$modules/dynalite/cli.js" --createTableMs 0) ;;
    kinesalite) command=(node -r "$here/loopback.js" "$modules/kinesalite/cli.js"
      --createStreamMs 0 --updateStreamMs 0 --deleteStreamMs 0 --shardLimit 1000) ;;
    kinesis-mock) command=(env "KINESIS_MOCK_CERT_PATH=$modules/kinesis-local/server.json"
      node -r "$here/loopback.js" "$modules/kinesis-local/main.js") ;;
    moto) command=("$home/moto/bin/python" "$here/moto_serial.py") ;;
    dynamodb-local) command=(java -Xmx512m -XX:+UseSerialGC -cp "$(class_path "$1")"
      LoopbackDynamoDB -inMemory -sharedDb -disableTelemetry) ;;
    elasticmq) command=(java -Xmx256m -XX:+UseSerialGC -cp "$(class_path "$1")" LoopbackElasticMQ) ;;
  esac
}

# class_path PEER: of a peer that install_java installed.
class_path() { printf '%s' "$home/$1/classes:$home/$1/lib/*"; }

pids=()
stop_servers() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  pids=()
}
trap stop_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# answers PORT: the server gives an HTTP status line, whatever it says.
answers() {
  timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" &&
    printf "GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" >&3 &&
    IFS= read -r line <&3 && [[ $line == HTTP/* ]]' answers "$1" 2>/dev/null
}

# start PEER sets place, its URL, or reason.
start() {
  local file=$home/$1.port log=$home/log/$1.log pid deadline=$((SECONDS + 60)) command
  place='' reason=''
  if [[ $1 == kcl-* ]]; then # no server: tests start its workers
    place=$(class_path "$1")
    return 0
  fi
  rm -f "$file" "$file.part"
  server "$1"
  # In a directory that git ignores: some leave files where they run.
  (cd "$home" && PEER_PORT_FILE=$file exec "${command[@]}") >"$log" 2>&1 </dev/null &
  pid=$!
  pids+=("$pid")
  while ((SECONDS < deadline)); do
    if ! kill -0 "$pid" 2>/dev/null; then
      reason="$1 ended at its start: $(tail -n 3 "$log" | tr '\n' ' ')"
      return 1
    fi
    if [[ -s $file ]] && answers "$(<"$file")"; then
      place=http://127.0.0.1:$(<"$file")
      return 0
    fi
    sleep 0.1
  done
  reason="$1 does not answer after 60 s: $(tail -n 3 "$log" | tr '\n' ' ')"
  return 1
}
