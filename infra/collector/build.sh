#!/bin/sh
# Builds the Collector of builder.yaml once, into a folder outside the repository, and prints the path of the binary.
# usage: sh infra/collector/build.sh [folder]     default: ${XDG_CACHE_HOME:-$HOME/.cache}/homeostat/collector
# Needs Go >= 1.25 and a module proxy; about 3 minutes with an empty Go cache, 250 MB of it, 46 MB of binary.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/homeostat/collector}
core=v0.155.0    # keep in step with builder.yaml
confmap=v1.61.0  # the release of core's stable modules that belongs to it
ocb=v0.161.0     # the builder generates sources for any core; this release runs on Go 1.25
contrib=github.com/open-telemetry/opentelemetry-collector-contrib

# A binary of another manifest lacks parts that the configurations here name.
if [ -x "$out/otelcol" ] && cmp -s "$here/builder.yaml" "$out/builder.yaml"; then
  echo "$out/otelcol"
  exit 0
fi
command -v go >/dev/null || { echo 'build.sh: go is not on PATH; install Go 1.25 or newer' >&2; exit 1; }

mkdir -p "$out"
work=$(mktemp -d "$out/build.XXXXXX") # Beside the result, so that the last step is a rename: a broken build leaves no binary.
trap 'rm -rf "$work"' EXIT
cp "$here/builder.yaml" "$work/"
GOBIN=$work go install "go.opentelemetry.io/collector/cmd/builder@$ocb" >&2
cd "$work"
./builder --config builder.yaml --skip-compilation --skip-get-modules >&2

# The builder would end in `go mod tidy`, which asks for the newest release of modules that only tests need. Our own go.mod
# names what the manifest names, and Go resolves the rest while it builds.
cd otelcol-build
{
  printf 'module otelcol\n\ngo 1.25.0\n\nrequire (\n'
  awk '$1 == "-" && $2 == "gomod:" { print "\t" $3, $4 }' ../builder.yaml
  for provider in env file http https yaml; do
    printf '\tgo.opentelemetry.io/collector/confmap/provider/%sprovider %s\n' "$provider" "$confmap"
  done
  printf '\tgo.opentelemetry.io/collector/otelcol %s\n)\n' "$core"
  # The file receiver of 0.149.0 calls a function that later releases of this shared module no longer have.
  printf 'replace %s/internal/coreinternal => %s/internal/coreinternal v0.149.0\n' "$contrib" "$contrib"
} > go.mod
go build -mod=mod -trimpath -ldflags='-s -w' -o ../otelcol . >&2
mv ../otelcol "$out/otelcol"
cp "$here/builder.yaml" "$out/builder.yaml"
echo "$out/otelcol"
