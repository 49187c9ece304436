#!/bin/sh
# Builds what judges the files here, once, into a folder outside the repository, and prints that folder:
#   helm          renders and lints infra/helm/homeostat             kubeconform   checks the result against Kubernetes' schemas
#   compose       the Compose specification's own reader             schemas/      of the Kubernetes release below, strict
# usage: sh infra/tools.sh [folder]     default: ${XDG_CACHE_HOME:-$HOME/.cache}/homeostat/infra
# Needs Go >= 1.25, Node and a module proxy; 75 s on 2 cores with an empty Go cache (helm takes 67 of them), 95 MB.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/homeostat/infra}
helm=v3.20.2
kubeconform=v0.7.0
compose=v2.16.2
kubernetes=v1.34.3

stamp="helm $helm kubeconform $kubeconform compose $compose kubernetes $kubernetes"
if [ "$(cat "$out/versions" 2>/dev/null)" = "$stamp" ]; then
  echo "$out"
  exit 0
fi
command -v go >/dev/null || { echo 'tools.sh: go is not on PATH; install Go 1.25 or newer' >&2; exit 1; }

mkdir -p "$out"
work=$(mktemp -d "$out/build.XXXXXX") # Beside the result, so that the last steps are renames: a broken build leaves nothing half.
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
install() { GOBIN=$work/bin go install -trimpath -ldflags='-s -w' "$1" >&2; }
install "helm.sh/helm/v3/cmd/helm@$helm"
install "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform"
install "github.com/compose-spec/compose-go/v2/cmd@$compose"

# Kubernetes' sources hold the description of its API; of the 40 MB only that file is kept.
GOMODCACHE=$work/modules GOFLAGS=-modcacherw go mod download "k8s.io/kubernetes@$kubernetes" >&2
node "$here/helm/kubernetes-schemas.mjs" "$work/modules/k8s.io/kubernetes@$kubernetes/api/openapi-spec/swagger.json" "$work/schemas" >&2

mv "$work/bin/helm" "$work/bin/kubeconform" "$out/"
mv "$work/bin/cmd" "$out/compose"
rm -rf "$out/schemas"
mv "$work/schemas" "$out/schemas"
echo "$stamp" > "$out/versions"
echo "$out"
