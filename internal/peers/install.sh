# How each peer gets into .peers/. install PEER does it once per version; on
# failure it prints its reason. Sourced by run.

install() {
  case $1 in
    dynalite) install_npm "$1" dynalite 4.0.0 ;;
    kinesalite) install_npm "$1" kinesalite 3.3.3 ;;
    kinesis-mock) install_npm "$1" kinesis-local 0.6.2 ;;
    moto) install_pip "$1" moto 5.2.5 '[server]' ;;
    dynamodb-local) install_java "$1" 2.6.1 "$here/dynamodb-local" ;;
    elasticmq) install_java "$1" 1.7.1 "$here/elasticmq" ;;
    kcl-*) install_java "$1" "${1#kcl-}" "$here/kcl" ;;
  esac
}

need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed"; return 1; }
  done
}

# logged LOG COMMAND...: the last line of what it said is the reason.
logged() {
  local log=$1
  shift
  timeout 900 "$@" >>"$log" 2>&1 || { echo "$1 ${*: -1}: $(tail -n 1 "$log")"; return 1; }
}

# fresh PEER VERSION sets dir and log and empties both; it fails when that
# version is installed already. installed marks it so.
fresh() {
  dir=$home/$1 log=$home/log/install-$1.log stamp=$home/$1/installed-$2
  [[ -e $stamp ]] && return 1
  rm -rf "$dir" "$log"
  mkdir -p "$dir"
}
installed() { touch "$stamp"; }

# Install scripts do not run.
install_npm() {
  local dir log stamp
  need node npm || return 1
  fresh "$1" "$3" || return 0
  logged "$log" npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts "$2@$3" && installed
}

install_pip() {
  local dir log stamp
  need python3 || return 1
  fresh "$1" "$3" || return 0
  virtual_environment && logged "$log" "$dir/bin/pip" install -q --disable-pip-version-check "$2$4==$3" && installed
}

# Debian keeps venv in a package of its own, which only CI may install.
virtual_environment() {
  logged "$log" python3 -m venv "$dir" && return 0
  [[ ${CI:-} == true ]] && ((EUID == 0)) && command -v apt-get >/dev/null || return 1
  rm -rf "$dir"
  logged "$log" apt-get update -q &&
    logged "$log" apt-get install -qy --no-install-recommends python3-venv &&
    logged "$log" python3 -m venv "$dir"
}

# install_java PEER VERSION DIR: the libraries of its pom.xml at that version,
# and its sources compiled against them.
install_java() {
  local dir log stamp
  need java javac mvn || return 1
  fresh "$1" "$2-$(cat "$3"/* | cksum | tr ' ' -)" || return 0
  logged "$log" mvn -q -B -Dstyle.color=never -f "$3/pom.xml" "-Dpeer.version=$2" \
    dependency:copy-dependencies "-DoutputDirectory=$dir/lib" &&
    logged "$log" javac -nowarn -cp "$dir/lib/*" -d "$dir/classes" "$3"/*.java && installed
}
