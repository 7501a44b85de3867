# Builds libcopo and the sampler against it.
set -eu
. "$(dirname "$0")/environment.sh"
COPO_PROFILE=$profile CARGO_TARGET_DIR=$target sh "$root/sdk-c/install.sh" "$out/c"
cc -std=c99 -O2 -Wall -Wextra -Werror -I"$out/c/include" "$here/sampler.c" -o "$out/sampler.new" \
    -L"$out/c/lib" -lcopo -Wl,-rpath,"$out/c/lib"
mv "$out/sampler.new" "$out/sampler"
copo report "the sampler is built"
