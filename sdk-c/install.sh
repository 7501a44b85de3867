#!/bin/sh
# Builds the C SDK and lays it out as a C program expects it:
#
#   sdk-c/install.sh PREFIX
#
#   PREFIX/include/copo.h
#   PREFIX/lib/libcopo.a, libcopo.so -> libcopo.so.0 -> libcopo.so.<version>   (macOS: libcopo.0.dylib, libcopo.dylib)
#   PREFIX/lib/pkgconfig/copo.pc
#
# Then: cc main.c $(PKG_CONFIG_PATH=PREFIX/lib/pkgconfig pkg-config --cflags --libs copo)
# CARGO, CARGO_TARGET_DIR and COPO_PROFILE (release, or dev) are respected. On Windows take copo_c.dll and copo_c.dll.lib
# from the target folder.
set -eu

prefix=${1:?"usage: $0 PREFIX"}
here=$(cd "$(dirname "$0")" && pwd)
profile=${COPO_PROFILE:-release}
case $profile in dev) folder=debug ;; *) folder=$profile ;; esac

${CARGO:-cargo} build --manifest-path "$here/Cargo.toml" -p copo-c --lib --profile "$profile" >&2

built=${CARGO_TARGET_DIR:-$here/../target}/$folder
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
mkdir -p "$prefix/include" "$prefix/lib/pkgconfig"
prefix=$(cd "$prefix" && pwd)

# Puts a file in place whole, so that a program that has the old one mapped keeps it.
put() {
    cp "$1" "$2.new" && mv -f "$2.new" "$2"
}

put "$here/include/copo.h" "$prefix/include/copo.h"
put "$built/libcopo_c.a" "$prefix/lib/libcopo.a"
case $(uname -s) in
Darwin)
    put "$built/libcopo_c.dylib" "$prefix/lib/libcopo.0.dylib"
    ln -sf libcopo.0.dylib "$prefix/lib/libcopo.dylib"
    native="-framework CoreFoundation -lSystem -lc -lm"
    ;;
*)
    put "$built/libcopo_c.so" "$prefix/lib/libcopo.so.$version"
    ln -sf "libcopo.so.$version" "$prefix/lib/libcopo.so.0"
    ln -sf libcopo.so.0 "$prefix/lib/libcopo.so"
    native="-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc"
    ;;
esac
sed -e "s|@PREFIX@|$prefix|" -e "s|@VERSION@|$version|" -e "s|@NATIVE@|$native|" "$here/copo.pc.in" >"$prefix/lib/pkgconfig/copo.pc"
