//! `cozy host`: what runs on hosts, started by systemd or by another cozy.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::error::Exit;
use crate::etcd::Etcd;
use crate::provider::kubeadm::certificates;
use crate::ui::Ui;

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
    /// Print how many seconds each certificate of this host has left
    Certificates,
    /// Look at etcd's members, or take one out
    #[command(subcommand)]
    Etcd(EtcdArgs),
}

/// What can be done with etcd's members.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub(super) enum EtcdArgs {
    /// Print them: ID, name, address, voter or learner, up or down
    Members,
    /// Take one out; one that is out already is no error
    Remove {
        /// Its ID in hexadecimal
        #[arg(value_parser = |text: &str| u64::from_str_radix(text, 16))]
        id: u64,
    },
}

/// Runs the command.
pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    match args {
        Args::Proxy { listen, servers } => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .context("cannot start the async runtime")?;
            runtime.block_on(crate::proxy::serve(listen, servers))?;
            Ok(Exit::Failed)
        }
        Args::Certificates => {
            ui.data(&certificates::here(Timestamp::now().as_second()))?;
            Ok(Exit::Done)
        }
        Args::Etcd(args) => super::flow::runtime()?.block_on(async {
            let etcd = Etcd::here()?;
            match args {
                EtcdArgs::Members => {
                    let lines: Vec<String> =
                        etcd.members().await?.iter().map(|member| format!("{member}\n")).collect();
                    ui.data(&lines.concat())?;
                }
                EtcdArgs::Remove { id } => etcd.remove(id).await?,
            }
            Ok(Exit::Done)
        }),
    }
}
