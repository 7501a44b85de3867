# Builds the Node addon and puts the package where page.mjs imports it from.
set -eu
. "$(dirname "$0")/environment.sh"
cd "$root/bindings-node"
npm ci --no-audit --no-fund --loglevel=error
npm run --silent build -- --target-dir "$target/node"
mkdir -p "$here/page/node_modules"
ln -sfn "$root/bindings-node" "$here/page/node_modules/copo"
copo report "the Node addon is built"
