# Builds the archive.
set -eu
. "$(dirname "$0")/environment.sh"
cd "$root"
CARGO_TARGET_DIR=$target cargo build --release -p copo-examples --bin archive
cp "$target/release/archive" "$out/archive.new"
mv "$out/archive.new" "$out/archive"
copo report "the archive is built"
