#!/bin/sh
# Fetches the jars of pom.xml once, into a folder outside the repository, and prints the path of that folder.
# usage: sh infra/kafka/fetch.sh [broker|tools]     below ${XDG_CACHE_HOME:-$HOME/.cache}/homeostat/kafka/<version>
# Needs Maven (it asks the repositories that its own settings name); 10 to 40 s, 44 MB (tools: 54 MB).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
what=${1:-broker}
version=$(sed -n 's/.*<kafka.version>\(.*\)<\/kafka.version>.*/\1/p' "$here/pom.xml")
out=${XDG_CACHE_HOME:-$HOME/.cache}/homeostat/kafka/$version
case $what in
  broker) profile= ;;
  tools) profile=-Ptools ;;
  *) echo "fetch.sh: broker or tools, not $what" >&2; exit 1 ;;
esac

if [ ! -d "$out/$what" ]; then
  command -v mvn >/dev/null || { echo 'fetch.sh: mvn is not on PATH; install Maven 3.6 or newer' >&2; exit 1; }
  mkdir -p "$out"
  if command -v flock >/dev/null; then # Maven's local repository does not like two writers.
    exec 9>"$out/fetch.lock"
    flock 9
  fi
  if [ ! -d "$out/$what" ]; then
    work=$(mktemp -d "$out/fetch.XXXXXX") # Beside the result, so that the last step is a rename: a broken download leaves nothing.
    trap 'rm -rf "$work"' EXIT
    mvn -B -ntp -q $profile -f "$here/pom.xml" dependency:copy-dependencies "-Dlibs=$work/libs" >&2
    mv "$work/libs" "$out/$what"
  fi
fi
echo "$out/$what"
