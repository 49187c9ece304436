#!/bin/sh
# Fetches the jars of pom.xml once, into a folder outside the repository, and prints the path of that folder.
# usage: sh infra/kafka/fetch.sh [broker|tools]     below ${XDG_CACHE_HOME:-$HOME/.cache}/homeostat/kafka/<version>
# Needs Maven (../fetch-jars.sh); 10 to 40 s, 44 MB (tools: 54 MB).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
what=${1:-broker}
version=$(sed -n 's/.*<kafka.version>\(.*\)<\/kafka.version>.*/\1/p' "$here/pom.xml")
out=${XDG_CACHE_HOME:-$HOME/.cache}/homeostat/kafka/$version/$what
case $what in
  broker) sh "$here/../fetch-jars.sh" "$here/pom.xml" "$out" ;;
  tools) sh "$here/../fetch-jars.sh" "$here/pom.xml" "$out" -Ptools ;;
  *) echo "fetch.sh: broker or tools, not $what" >&2; exit 1 ;;
esac
echo "$out"
