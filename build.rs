//! The catalogue is embedded by `include_dir`, which does not tell cargo of its files.
fn main() {
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-changed=bundles");
}
