//! Puts the locks of loom in the place of those of std.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=other_locks");
    println!("cargo::rustc-check-cfg=cfg(other_locks)");
    // The library has features that are not built here.
    println!("cargo::rustc-check-cfg=cfg(feature, values(any()))");
}
