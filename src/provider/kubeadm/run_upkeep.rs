//! Does the steps of hosts that belong to the cluster: settings that changed,
//! and certificates.

use super::certificates::{Asked, Renewal};
use super::run::{Runner, SETTLE, UPLOADING, phase, settled, soon};
use super::settings::{Part, Settings, label_and_taint};
use super::steps::Planned;
use super::{Node, scripts, scripts_upkeep};
use crate::host::{Content, HostError, Session, Trouble, Upload};
use crate::model::cloud::Role;

/// How often it is looked whether a kubelet asks for a certificate: each of its starts makes a request that only
/// it can use.
const LOOKS: usize = 20;

impl Runner {
    /// Applies settings that changed, and waits until the node works with them. The control plane's come first:
    /// with those that it has, there may be no API server that takes anything.
    pub(super) async fn configure(
        &self,
        node: &Node,
        session: &Session,
        planned: &Planned,
        say: &dyn Fn(String),
    ) -> Result<(), HostError> {
        let (_, leader, _) = self.led()?;
        let change = &planned.change;
        session.sh("noting what is about to change", &change.forgotten()).await?;
        if change.has(Part::ControlPlane) {
            say("writing the control plane's manifests".to_owned());
            phase(session, "configure", &scripts_upkeep::control_plane()).await?;
            settled(session, false, true, say).await?;
        }
        if change.has(Part::Names) {
            say("making a new certificate for the API server".to_owned());
            phase(session, "configure", &scripts_upkeep::new_names(&self.site().endpoint())).await?;
        }
        if change.is_shared() {
            soon(leader, UPLOADING, &scripts::upload_settings()).await?;
        }
        if change.has(Part::Kubelet) {
            say("writing the kubelet's configuration".to_owned());
            soon(session, "configuring the kubelet", scripts_upkeep::KUBELET_CONFIG).await?;
            settled(session, true, false, say).await?;
        }
        if change.has(Part::KubeProxy) {
            say("writing kube-proxy's configuration".to_owned());
            soon(session, "configuring kube-proxy", &scripts_upkeep::kube_proxy()).await?;
        }
        if change.has(Part::Node) {
            self.label(node, session, say).await?;
        }
        applied(session, &Settings::of(&self.site(), node)).await
    }

    /// Gives a Node its labels and taints, and takes those away that it is not to have any more.
    pub(super) async fn label(
        &self,
        node: &Node,
        session: &Session,
        say: &dyn Fn(String),
    ) -> Result<(), HostError> {
        let (_, leader, _) = self.led()?;
        say("setting labels and taints".to_owned());
        let before = format!("cat {} 2>/dev/null || true", crate::host::quote(&Part::Node.path()));
        let before = session.sh("reading the labels and taints that it has", &before).await?;
        let script = label_and_taint(&self.site(), node, &before);
        soon(leader, "setting labels and taints", &script).await?;
        applied(session, &Settings::of(&self.site(), node).only(Part::Node)).await
    }

    /// Renews what is about to end, and approves what the kubelet asks for.
    pub(super) async fn certify(
        &self,
        node: &Node,
        session: &Session,
        planned: &Planned,
        say: &dyn Fn(String),
    ) -> Result<(), HostError> {
        let Renewal { leaves, client, serving, again } = planned.renewal;
        let (_, leader, _) = self.led()?;
        if leaves.is_some() {
            say("renewing certificates, and restarting the control plane".to_owned());
            phase(session, "certify", &scripts_upkeep::renew()).await?;
            settled(session, false, node.role == Role::Server, say).await?;
        }
        if client {
            say("making a new certificate for the kubelet".to_owned());
            let what = "making a certificate for the kubelet";
            let text = leader.sh(what, &scripts_upkeep::kubelet_kubeconfig(&node.name)).await?;
            let content = Content::Bytes(text.as_bytes());
            let path = "/etc/kubernetes/kubelet.conf";
            session.upload(Upload { path, content, mode: 0o600 }).await?;
            session.must("restarting kubelet", scripts_upkeep::NEW_CLIENT, &[], SETTLE).await?;
        }
        if again {
            session.must("restarting kubelet", &scripts_upkeep::ask_again(), &[], SETTLE).await?;
        }
        if serving {
            serve(node, session, leader, say).await?;
        }
        Ok(())
    }
}

/// Marks on a host that it has these settings.
async fn applied(session: &Session, settings: &Settings) -> Result<(), HostError> {
    let script = format!("set -eu\n{}", settings.marked());
    session.must("keeping what was applied", &script, &[], SETTLE).await.map(drop)
}

/// Lets a kubelet have its serving certificate.
async fn serve(
    node: &Node,
    session: &Session,
    leader: &Session,
    say: &dyn Fn(String),
) -> Result<(), HostError> {
    say("waiting for the kubelet to ask for its serving certificate".to_owned());
    for look in 0..LOOKS {
        approve(node, leader).await?;
        let what = "waiting for the kubelet's certificate";
        if session.run(what, &scripts_upkeep::served(), &[], SETTLE).await?.status == 0 {
            return Ok(());
        }
        if look == 0 {
            // Its request may be lost, or it may not know that its certificate is: it asks when it starts.
            session.must("restarting kubelet", &scripts_upkeep::ask_again(), &[], SETTLE).await?;
        }
    }
    let trouble = "its kubelet asks for no serving certificate, or takes none".to_owned();
    Err(session.error(Trouble::NoCertificate(trouble)))
}

/// Approves what a kubelet asks for, if it is nothing but what its node is.
async fn approve(node: &Node, leader: &Session) -> Result<(), HostError> {
    let what = format!("waiting for a request of {}'s kubelet", node.name);
    let text = leader.must(&what, &scripts_upkeep::asked(&node.name), &[], SETTLE).await?;
    let all: Vec<Asked> = text.lines().filter_map(Asked::read).collect();
    let (good, bad): (Vec<&Asked>, Vec<&Asked>) = all.iter().partition(|one| one.judge(node).is_ok());
    if let Some(why) = bad.first().filter(|_| good.is_empty()).and_then(|one| one.judge(node).err()) {
        let trouble = format!("{}'s kubelet asks for a certificate that it must not get: {why}", node.name);
        return Err(leader.error(Trouble::NoCertificate(trouble)));
    }
    if good.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = good.iter().map(|one| one.name.as_str()).collect();
    let what = format!("approving the certificate of {}'s kubelet", node.name);
    soon(leader, &what, &scripts_upkeep::approve(&names)).await.map(drop)
}
