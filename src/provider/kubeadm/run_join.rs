//! Does joins, and does them again: what an earlier one left on the host and in
//! the cluster is cleared first.

use super::documents::{self, Credentials, ENCRYPTION};
use super::members::{Known, Membership, Turn, keeps_quorum};
use super::run::{PHASE, Runner, UPLOADING, phase, soon, take_out};
use super::settings::Settings;
use super::steps::Planned;
use super::{Node, STATE, scripts};
use crate::host::{Content, HostError, Session, Trouble, Upload};
use crate::model::cloud::Role;
use crate::plan::PlanError;

/// How long it is waited for members of etcd, in seconds, less than [`PHASE`]: one that quorum needs may be about to
/// start.
const STARTS: u32 = 180;

impl Runner {
    /// Lets a host join, or waits for a join that is at work.
    pub(super) async fn join(
        &self,
        node: &Node,
        session: &Session,
        planned: &Planned,
        say: &dyn Fn(String),
    ) -> Result<(), HostError> {
        let (_, leader, _) = self.led()?;
        match self.try_join((node, session), leader, planned, say).await {
            // On a slow machine the patience of kubeadm with etcd, 40 s that nothing changes, may be too short. And one
            // that was at work already may have been another run's.
            Err(HostError { trouble: Trouble::Failed { what, detail, .. }, .. }) if what == "phase join" => {
                say(format!("it failed, and is done once more: {detail}"));
                self.try_join((node, session), leader, planned, say).await
            }
            tried => tried,
        }
    }

    async fn try_join(
        &self,
        (node, session): (&Node, &Session),
        leader: &Session,
        planned: &Planned,
        say: &dyn Fn(String),
    ) -> Result<(), HostError> {
        let is = session.sh("looking for a join", &scripts::joining()).await?;
        let is = is.trim();
        if !matches!(is, "working" | "joined") {
            // The host may have been away in the middle of an earlier try of this very run, or of another's that was
            // at work when this one looked.
            let again = !self.joins.borrow_mut().insert(node.name.clone());
            if is == "begun" || again || planned.clear || !planned.former.is_empty() {
                clear(node, session, leader, say).await?;
            }
            if planned.upload {
                soon(leader, UPLOADING, &scripts::upload_settings()).await?;
            }
            self.hand_over(node, session, leader, say).await?;
        }
        say("kubeadm join".to_owned());
        let settings = Settings::of_join(&self.site(), node);
        phase(session, "join", &scripts::join(node, &settings)).await?;
        if node.labels.is_empty() { Ok(()) } else { self.label(node, session, say).await }
    }

    /// Gives a host what it needs to join.
    async fn hand_over(
        &self,
        node: &Node,
        session: &Session,
        leader: &Session,
        say: &dyn Fn(String),
    ) -> Result<(), HostError> {
        say("making a token to join".to_owned());
        let credentials = credentials(leader, node.role).await?;
        if node.role == Role::Server {
            let path = format!("{ENCRYPTION}/config.yaml");
            let key = leader.sh("reading the encryption configuration", &format!("cat {path}")).await?;
            session
                .upload(Upload { path: &path, content: Content::Bytes(key.as_bytes()), mode: 0o600 })
                .await?;
        }
        let document = documents::join(&self.site(), node, &credentials);
        let path = format!("{STATE}/join.json");
        let content = Content::Bytes(document.as_bytes());
        session.upload(Upload { path: &path, content, mode: 0o600 }).await
    }
}

/// Clears what an interrupted join left. First of all out of etcd: as long as its member is one of it, what is on the
/// host may be what a quorum needs.
async fn clear(
    node: &Node,
    session: &Session,
    leader: &Session,
    say: &dyn Fn(String),
) -> Result<(), HostError> {
    say("clearing what an interrupted join left".to_owned());
    if node.role == Role::Server {
        let what = "asking who is in the cluster";
        let text = leader.must(what, &scripts::soon(&scripts::membership(), STARTS), &[], PHASE).await?;
        let membership = Membership::read(&text);
        let former = membership.members(&Known::of(node));
        let turns = former.iter().map(|member| Turn::Out(&node.name, member));
        keeps_quorum(&membership.members, turns).map_err(|error| leader.error(too_risky(&error)))?;
        let former: Vec<String> = former.into_iter().map(|member| member.id.clone()).collect();
        take_out(leader, &former, say).await?;
    }
    session.must("clearing what a join left", &scripts::clear(), &[], PHASE).await?;
    // Its kubelet would have brought it back before.
    let script = scripts::delete_node(&node.name);
    soon(leader, "removing the node of a former life", &script).await.map(drop)
}

/// A plan's refusal that is found only while hosts are worked on.
fn too_risky(error: &PlanError) -> Trouble {
    Trouble::Quorum { problem: error.to_string(), hint: error.hint().into_owned() }
}

async fn credentials(leader: &Session, role: Role) -> Result<Credentials, HostError> {
    let text = soon(leader, "making a token to join", &scripts::credentials(role)).await?;
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    match (value("token="), value("ca=")) {
        (Some(token), Some(ca)) => Ok(Credentials { token, ca, key: value("key=") }),
        _ => Err(leader.error(Trouble::NoToken)),
    }
}
