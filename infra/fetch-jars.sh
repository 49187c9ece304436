#!/bin/sh
# Copies the jars that a pom.xml names into a folder, once; a folder that is there is taken for whole.
# usage: sh infra/fetch-jars.sh POM FOLDER [Maven option...]
# Needs Maven (it asks the repositories that its own settings name).
set -eu

pom=$1
out=$2
shift 2
[ -d "$out" ] && exit 0
command -v mvn >/dev/null || { echo 'fetch-jars.sh: mvn is not on PATH; install Maven 3.6 or newer' >&2; exit 1; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/homeostat
mkdir -p "$(dirname "$out")" "$cache"
if command -v flock >/dev/null; then # Maven's local repository does not like two writers.
  exec 9>"$cache/maven.lock"
  flock 9
fi
[ -d "$out" ] && exit 0
work=$(mktemp -d "$out.XXXXXX") # Beside the result, so that the last step is a rename: a broken download leaves nothing.
trap 'rm -rf "$work"' EXIT
mvn -B -ntp -q "$@" -f "$pom" dependency:copy-dependencies "-Dlibs=$work/libs" >&2
mv "$work/libs" "$out"
