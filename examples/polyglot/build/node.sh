# Builds the Node package where page.mjs imports it from.
set -eu
. "$(dirname "$0")/environment.sh"
package=$here/page/node_modules/copo
mkdir -p "$package"
for file in package.json package-lock.json index.js index.mjs index.d.ts; do
    cp "$root/bindings-node/$file" "$package/"
done
cd "$package"
npm ci --no-audit --no-fund --loglevel=error
case $profile in release) how=--release ;; *) how= ;; esac
# shellcheck disable=SC2086 # no word at all for dev
npx napi build --platform $how --js native.js --dts native.d.ts \
    --manifest-path "$root/bindings-node/Cargo.toml" --package-json-path "$package/package.json" \
    --output-dir "$package" --target-dir "$target/node"
copo report "the Node addon is built"
