//! `cozy host`: what runs on hosts, started by systemd.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::error::Exit;

/// What runs on hosts.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Forward to the API servers that are healthy
    Proxy {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:7443")]
        listen: SocketAddr,
        /// The list of API servers, one ADDRESS:PORT a line
        #[arg(long, default_value = "/etc/cozy/servers")]
        servers: PathBuf,
    },
}

/// Runs the command.
pub(super) fn run(args: Args) -> anyhow::Result<Exit> {
    let Args::Proxy { listen, servers } = args;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(crate::proxy::serve(listen, servers))?;
    Ok(Exit::Failed)
}
