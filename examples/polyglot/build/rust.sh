# Builds the archive.
set -eu
. "$(dirname "$0")/environment.sh"
cd "$root"
CARGO_TARGET_DIR=$target cargo build --profile "$profile" -p copo-examples --bin archive
case $profile in dev) folder=debug ;; *) folder=$profile ;; esac
cp "$target/$folder/archive" "$out/archive.new"
mv "$out/archive.new" "$out/archive"
copo report "the archive is built"
