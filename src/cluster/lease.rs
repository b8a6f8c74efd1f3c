//! The lock that makes runs exclusive: a Lease in `cozy-system`, renewed while
//! a run works. A holder that provably died on this host is taken over at once.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams, Preconditions};
use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use super::{Cluster, FIELD_MANAGER, SYSTEM_NAMESPACE};

/// The Lease's name.
const NAME: &str = "cozy";

/// The annotation with the holder, as JSON.
const HOLDER: &str = "cozy/holder";

/// How long a lock lives without being renewed.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);

/// How often it is renewed.
pub(crate) const RENEW: Duration = Duration::from_secs(10);

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The machine, from `/etc/machine-id`.
    pub(crate) machine: String,
    /// Its boot, from `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: String,
    /// The process.
    pub(crate) pid: u32,
    /// When the process started, in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub(crate) started: u64,
    /// The host's name, for people.
    pub(crate) host: String,
    /// The command line, secrets masked, for people.
    pub(crate) command: String,
}

/// Whether a process of this boot of this machine still runs.
pub(crate) trait Liveness: Sync {
    /// Says that `holder` certainly does not run any more.
    fn is_dead(&self, holder: &Holder) -> bool;
}

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct Lock {
    api: Api<Lease>,
    lease: Lease,
}

impl Cluster {
    /// Takes the lock, or says who holds it.
    pub(crate) async fn lock(
        &self,
        holder: &Holder,
        liveness: &dyn Liveness,
        now: Timestamp,
    ) -> Result<Lock, ClusterError> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), SYSTEM_NAMESPACE);
        let translate = |verb, error| ClusterError::from_kube(verb, "Lease cozy-system/cozy", error);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let found = api.get_opt(NAME).await.map_err(|error| translate("get", error))?;
        let wanted = lease(holder, now);
        let written = match found {
            None => api.create(&params, &wanted).await,
            Some(found) => {
                if let Some(other) = blocking(&found, liveness, now) {
                    return Err(ClusterError::Locked { holder: other });
                }
                let mut wanted = wanted;
                wanted.metadata.resource_version.clone_from(&found.metadata.resource_version);
                api.replace(NAME, &params, &wanted).await
            }
        };
        match written {
            Ok(lease) => Ok(Lock { api, lease }),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(ClusterError::Locked { holder: "another run that started at the same moment".to_owned() })
            }
            Err(error) => Err(translate("update", error)),
        }
    }
}

impl Lock {
    /// Renews the lock. A conflict means that it was lost, or that the server
    /// did what was asked before and its answer was.
    pub(crate) async fn renew(&mut self, now: Timestamp) -> Result<(), ClusterError> {
        if let Some(spec) = &mut self.lease.spec {
            spec.renew_time = Some(MicroTime(now));
        }
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let mut written = self.api.replace(NAME, &params, &self.lease).await;
        if matches!(&written, Err(kube::Error::Api(status)) if status.code == 409)
            && let Ok(Some(found)) = self.api.get_opt(NAME).await
            && found.metadata.uid == self.lease.metadata.uid
            && found.metadata.annotations == self.lease.metadata.annotations
        {
            self.lease.metadata.resource_version = found.metadata.resource_version;
            written = self.api.replace(NAME, &params, &self.lease).await;
        }
        match written {
            Ok(lease) => {
                self.lease = lease;
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                Err(ClusterError::Locked { holder: "the lock was taken over by another run".to_owned() })
            }
            Err(error) => Err(ClusterError::from_kube("update", "Lease cozy-system/cozy", error)),
        }
    }

    /// Gives the lock back.
    pub(crate) async fn release(self) -> Result<(), ClusterError> {
        let params = kube::api::DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: self.lease.metadata.resource_version.clone(),
                uid: self.lease.metadata.uid.clone(),
            }),
            ..kube::api::DeleteParams::default()
        };
        match self.api.delete(NAME, &params).await {
            Ok(_) => Ok(()),
            // Somebody else's by now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(ClusterError::from_kube("delete", "Lease cozy-system/cozy", error)),
        }
    }
}

fn lease(holder: &Holder, now: Timestamp) -> Lease {
    let text = serde_json::to_string(holder).unwrap_or_default();
    Lease {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(SYSTEM_NAMESPACE.to_owned()),
            annotations: Some([(HOLDER.to_owned(), text)].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(format!("{}/{}", holder.host, holder.pid)),
            lease_duration_seconds: i32::try_from(LIFETIME.as_secs()).ok(),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

/// Who stands in the way, for people; `None`: the lock is free, expired, or its holder dead.
fn blocking(lease: &Lease, liveness: &dyn Liveness, now: Timestamp) -> Option<String> {
    let spec = lease.spec.as_ref()?;
    let identity = spec.holder_identity.as_deref().filter(|identity| !identity.is_empty())?;
    let holder: Option<Holder> = lease
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(HOLDER))
        .and_then(|text| serde_json::from_str(text).ok());
    if holder.as_ref().is_some_and(|holder| liveness.is_dead(holder)) {
        return None;
    }
    let renewed = spec.renew_time.as_ref()?.0;
    let lifetime = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0));
    let age = Duration::try_from(now.duration_since(renewed)).unwrap_or(Duration::ZERO);
    if age > lifetime {
        return None;
    }
    let since = spec.acquire_time.as_ref().map_or_else(String::new, |time| format!(" since {}", time.0));
    Some(match holder {
        Some(holder) => format!("`{}` (pid {}) on {}{since}", holder.command, holder.pid, holder.host),
        None => format!("{identity}{since}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(bool);

    impl Liveness for Says {
        fn is_dead(&self, _: &Holder) -> bool {
            self.0
        }
    }

    #[test]
    fn only_a_living_unexpired_holder_stands_in_the_way() {
        let holder = Holder {
            machine: "m".to_owned(),
            boot: "b".to_owned(),
            pid: 7,
            started: 1,
            host: "node-1".to_owned(),
            command: "cozy install".to_owned(),
        };
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let held = lease(&holder, now);
        let later = |seconds: u64| now + Duration::from_secs(seconds);
        assert_eq!(
            blocking(&held, &Says(false), later(30)).as_deref(),
            Some("`cozy install` (pid 7) on node-1 since 2026-01-01T00:00:00Z")
        );
        assert_eq!(blocking(&held, &Says(false), later(31)), None);
        assert_eq!(blocking(&held, &Says(true), later(1)), None);
        assert_eq!(blocking(&Lease::default(), &Says(false), now), None);
    }
}
