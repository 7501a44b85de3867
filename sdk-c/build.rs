//! Gives the shared library the name it is installed under: Cargo would call it libcopo_c.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let name = match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux" | "android" | "freebsd" | "netbsd" | "openbsd" | "dragonfly") => "-Wl,-soname,libcopo.so.0",
        Ok("macos") => "-Wl,-install_name,@rpath/libcopo.0.dylib",
        _ => return, // A Windows DLL is found by its file name.
    };
    println!("cargo:rustc-cdylib-link-arg={name}");
}
