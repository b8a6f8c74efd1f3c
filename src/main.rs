//! Parses, installs the TLS provider, and turns the end into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A second provider in the tree would make clients panic: there is one, and it is named here.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    ExitCode::from(cozy::main().code())
}
