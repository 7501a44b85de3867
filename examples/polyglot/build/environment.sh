# Read by the build scripts: where things are, and nothing of the cargo that may have started copo.
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(cd "$here/../.." && pwd)
out=$here/out
mkdir -p "$out"
target=${CARGO_TARGET_DIR:-$root/target}
for name in $(env | sed -n 's/^\(CARGO_[A-Z0-9_]*\)=.*/\1/p'); do
    case $name in
    CARGO_HOME | CARGO_BUILD_JOBS | CARGO_NET_OFFLINE) ;;
    *) unset "$name" ;;
    esac
done
unset RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
