# Read by the build scripts: where things are, and nothing of the cargo that may have started copo.
#
# POLYGLOT_ROOT: the sources of Copo (default: the clone this example lies in). POLYGLOT_PROFILE: release (default) or dev.
here=$(cd "$(dirname "$0")/.." && pwd)
root=${POLYGLOT_ROOT:-$(cd "$here/../.." && pwd)}
out=$here/out
profile=${POLYGLOT_PROFILE:-release}
mkdir -p "$out"
target=${CARGO_TARGET_DIR:-$root/target}
for name in $(env | sed -n 's/^\(CARGO_[A-Z0-9_]*\)=.*/\1/p'); do
    case $name in
    CARGO_HOME | CARGO_BUILD_JOBS | CARGO_NET_OFFLINE) ;;
    *) unset "$name" ;;
    esac
done
unset RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
