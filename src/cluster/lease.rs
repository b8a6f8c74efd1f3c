//! The lock that makes runs exclusive: a Lease in `cozy-system`, renewed while
//! a run works. A holder that provably died on this host is taken over at
//! once, any other when it has not renewed its lock for as long as it lives:
//! by the API server's clock, because those of two hosts may differ.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::error::ClusterError;
use super::suspend::SuspendCheck;
use super::{Cluster, FIELD_MANAGER, SYSTEM_NAMESPACE, time};

/// The Lease's name.
const NAME: &str = "cozy";

/// The Lease, for people.
const LEASE: &str = "Lease cozy-system/cozy";

/// The annotation with the holder, as JSON.
const HOLDER: &str = "cozy/holder";

/// How long a lock lives without being renewed.
const LIFETIME: Duration = Duration::from_secs(30);

/// How much earlier its holder takes it for lost: the server's times are whole seconds.
const MARGIN: Duration = Duration::from_secs(2);

/// How often it is renewed: an API server, or its etcd, that is away for 20 s costs nobody a lock.
const RENEW: Duration = Duration::from_secs(5);

/// How often one who waits for it looks whether it has expired.
const LOOK: Duration = Duration::from_secs(10);

/// How long one try to renew it may take.
const ONE_TRY: Duration = Duration::from_secs(5);

/// How long the holder sleeps before it looks whether the machine did.
const SLICE: Duration = Duration::from_secs(1);

/// How often it is given back, where a renewal that was cut off changes it meanwhile.
const GIVES: usize = 3;

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The machine, from `/etc/machine-id`.
    pub(crate) machine: String,
    /// Its boot, from `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: String,
    /// The PID namespace, from `/proc/self/ns/pid`: in another one (a container) its number means another process.
    #[serde(default)]
    pub(crate) pid_namespace: String,
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

/// What can be done with the lock of a cluster.
pub(crate) struct Locker {
    api: Api<Lease>,
}

/// A lock that is held by this process.
#[derive(Debug)]
pub(crate) struct Lock {
    api: Api<Lease>,
    lease: Lease,
    /// When it was certainly ours: before it was written last.
    renewed: Instant,
}

/// A lock that somebody holds, or held.
#[derive(Debug)]
pub(crate) struct Held {
    lease: Lease,
    /// Who, where and since when, for people.
    pub(crate) by: String,
    /// Its holder may still be at work.
    pub(crate) alive: bool,
}

impl Cluster {
    /// What can be done with the cluster's lock, over a connection of its own: where the network falls silent, each of
    /// many open connections would cost a renewal its time.
    pub(crate) fn locker(&self) -> Result<Locker, ClusterError> {
        Ok(Locker { api: Api::namespaced(self.another_client()?, SYSTEM_NAMESPACE) })
    }
}

fn failed(verb: &'static str) -> impl Fn(kube::Error) -> ClusterError {
    move |error| ClusterError::from_kube(verb, LEASE, error)
}

fn writing() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

impl Locker {
    /// Takes the lock, or says who holds it.
    ///
    /// # Errors
    /// [`ClusterError::Locked`] when somebody else has it.
    pub(crate) async fn take(&self, holder: &Holder, liveness: &dyn Liveness) -> Result<Lock, ClusterError> {
        let mut wanted = lease(holder, Timestamp::now());
        let renewed = Instant::now();
        let written = match self.api.create(&writing(), &wanted).await {
            Err(kube::Error::Api(status)) if status.code == 409 => match self.held(liveness).await? {
                // It was given back just now.
                None => self.api.create(&writing(), &wanted).await,
                Some(Held { by, alive: true, lease }) if self::holder(&lease).as_ref() != Some(holder) => {
                    return Err(ClusterError::Locked { holder: by });
                }
                // Its holder is dead; or it is this run's own: the server did what was asked before, and its answer was
                // lost.
                Some(Held { lease, .. }) => {
                    wanted.metadata.resource_version = lease.metadata.resource_version;
                    self.api.replace(NAME, &writing(), &wanted).await
                }
            },
            written => written,
        };
        match written {
            Ok(lease) => Ok(Lock { api: self.api.clone(), lease, renewed }),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(ClusterError::Locked { holder: "another run that started at the same moment".to_owned() })
            }
            Err(error) => Err(failed("update")(error)),
        }
    }

    /// Who holds the lock; `None`: nobody.
    pub(crate) async fn held(&self, liveness: &dyn Liveness) -> Result<Option<Held>, ClusterError> {
        match self.api.get_opt(NAME).await.map_err(failed("get"))? {
            Some(lease) => Ok(Some(self.judge(lease, liveness).await)),
            None => Ok(None),
        }
    }

    async fn judge(&self, lease: Lease, liveness: &dyn Liveness) -> Held {
        let holder = holder(&lease);
        let dead = holder.as_ref().is_some_and(|holder| liveness.is_dead(holder));
        // By no other clock: a lock whose age nobody knows is alive.
        let alive = !dead && self.server_time().await.is_none_or(|now| !is_expired(&lease, now));
        Held { by: describe(&lease, holder.as_ref()), alive, lease }
    }

    /// The API server's time, from an object that is not created, or else from an answer's head; `None`: it does not
    /// say.
    async fn server_time(&self) -> Option<Timestamp> {
        let mut question = Lease::default();
        question.metadata.generate_name = Some(format!("{NAME}-clock-"));
        let answer = self.api.create(&PostParams { dry_run: true, ..writing() }, &question).await;
        match answer.ok().and_then(|lease| lease.metadata.creation_timestamp) {
            Some(time) => Some(time.0),
            None => time(&self.api.clone().into_client()).await,
        }
    }

    /// Waits until the lock may be had, at most until `end`.
    ///
    /// # Errors
    /// [`ClusterError::Locked`] when it is still held then.
    pub(crate) async fn wait(&self, liveness: &dyn Liveness, end: Instant) -> Result<(), ClusterError> {
        // Where it may not be watched, it is looked at all the same.
        let mut changes = pin!(watch_object(self.api.clone(), NAME).default_backoff());
        let mut by = "another run".to_owned();
        while Instant::now() < end {
            // Its end shows as a change, and its holder's death as nothing at all.
            let look = end.min(Instant::now() + LOOK);
            if let Ok(None | Some(Ok(None))) = timeout_at(look, changes.next()).await {
                return Ok(());
            }
            match self.held(liveness).await {
                Ok(Some(held)) if held.alive => by = held.by,
                Ok(_) => return Ok(()),
                Err(error) if error.is_transient() => {
                    sleep_until(Instant::now() + Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(ClusterError::Locked { holder: by })
    }

    /// Takes the lock away from whoever holds it. `false`: it has changed since it was looked at.
    pub(crate) async fn remove(&self, held: &Held) -> Result<bool, ClusterError> {
        match self.api.delete(NAME, &exactly(&held.lease)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(failed("delete")(error)),
        }
    }
}

impl Lock {
    /// Renews the lock as long as it is polled, and at once where the machine has slept. Ends when it is lost, and says why.
    pub(crate) async fn keep(&mut self, suspends: &SuspendCheck) -> String {
        let mut wait = RENEW;
        loop {
            let end = self.renewed + LIFETIME - MARGIN;
            let next = end.min(Instant::now() + wait);
            while Instant::now() < next && !(wait == RENEW && suspends.was_suspended()) {
                sleep_until(next.min(Instant::now() + SLICE)).await;
            }
            let (begun, ahead) = (Instant::now(), suspends.ahead());
            if begun >= end {
                return format!(
                    "the lock could not be renewed for {} s, and another run may take it: nothing more is written",
                    self.renewed.elapsed().as_secs()
                );
            }
            // A connection that died without a word is given up, and the next try gets another one.
            wait = match timeout(ONE_TRY.min(end - begun), self.renew(Timestamp::now())).await {
                Ok(Ok(())) => {
                    self.renewed = begun;
                    suspends.confirm(ahead);
                    RENEW
                }
                Ok(Err(ClusterError::Locked { holder })) => {
                    return format!("the lock was taken over by {holder}");
                }
                Ok(Err(_)) | Err(_) => Duration::from_secs(1),
            };
        }
    }

    /// Renews the lock once. A conflict means that it was lost, or that the server did what was asked before and
    /// its answer was.
    async fn renew(&mut self, now: Timestamp) -> Result<(), ClusterError> {
        if let Some(spec) = &mut self.lease.spec {
            spec.renew_time = Some(MicroTime(now));
        }
        let written = match self.api.replace(NAME, &writing(), &self.lease).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                let found = self.api.get_opt(NAME).await.map_err(failed("get"))?;
                match found {
                    Some(found) if self.is_ours(&found) => {
                        self.lease.metadata.resource_version = found.metadata.resource_version;
                        self.api.replace(NAME, &writing(), &self.lease).await
                    }
                    Some(other) => {
                        return Err(ClusterError::Locked {
                            holder: describe(&other, holder(&other).as_ref()),
                        });
                    }
                    None => {
                        return Err(ClusterError::Locked {
                            holder: "somebody who removed it (`cozy unlock`)".to_owned(),
                        });
                    }
                }
            }
            written => written,
        };
        self.lease = written.map_err(failed("update"))?;
        Ok(())
    }

    fn is_ours(&self, found: &Lease) -> bool {
        found.metadata.uid == self.lease.metadata.uid
            && found.metadata.annotations == self.lease.metadata.annotations
    }

    /// Gives the lock back; it may be somebody else's by now.
    pub(crate) async fn release(self) -> Result<(), ClusterError> {
        let mut seen = self.lease.clone();
        for left in (0..GIVES).rev() {
            match self.api.delete(NAME, &exactly(&seen)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 && left > 0 => {}
                answer => return answer.map(drop).map_err(failed("delete")),
            }
            // A renewal that was cut off may have been done all the same.
            match self.api.get_opt(NAME).await.map_err(failed("get"))? {
                Some(found) if self.is_ours(&found) => seen = found,
                Some(_) | None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Deletes a lease only as it was seen.
fn exactly(lease: &Lease) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            resource_version: lease.metadata.resource_version.clone(),
            uid: lease.metadata.uid.clone(),
        }),
        ..DeleteParams::default()
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

fn holder(lease: &Lease) -> Option<Holder> {
    serde_json::from_str(lease.metadata.annotations.as_ref()?.get(HOLDER)?).ok()
}

/// Whether a lock was not renewed for as long as it lives, at the API server's time `now`. When it was renewed, the
/// server noted by its own clock (`managedFields`).
fn is_expired(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else { return true };
    if spec.holder_identity.as_deref().is_none_or(str::is_empty) {
        return true;
    }
    let noted = lease.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref());
    let noted = noted.map(|time| time.0).max();
    let Some(renewed) = noted.or(spec.renew_time.as_ref().map(|time| time.0)) else { return true };
    let lifetime = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0));
    Duration::try_from(now.duration_since(renewed)).is_ok_and(|age| age > lifetime)
}

/// Who holds a lock, for people.
fn describe(lease: &Lease, holder: Option<&Holder>) -> String {
    let spec = lease.spec.as_ref();
    let since = spec.and_then(|spec| spec.acquire_time.as_ref());
    let since =
        since.map_or_else(String::new, |time| format!(" since {}", time.0.strftime("%Y-%m-%d %H:%M:%S UTC")));
    if let Some(holder) = holder {
        return format!("`{}` (pid {}) on {}{since}", holder.command, holder.pid, holder.host);
    }
    let identity = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or("somebody");
    format!("{identity}{since}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};

    use super::*;

    fn held(pid: u32, now: Timestamp) -> Lease {
        let text = |text: &str| text.to_owned();
        let holder = Holder {
            machine: text("m"),
            boot: text("b"),
            pid_namespace: text("pid:[1]"),
            pid,
            started: 1,
            host: text("node-1"),
            command: text("cozy install"),
        };
        lease(&holder, now)
    }

    #[test]
    fn a_lock_expires_by_the_servers_clock() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later = |seconds: u64| now + Duration::from_secs(seconds);
        let mut lease = held(7, now);
        assert_eq!((is_expired(&lease, later(30)), is_expired(&lease, later(31))), (false, true));
        // Its holder's clock is an hour late: the server noted when it wrote.
        lease.spec.as_mut().unwrap().renew_time = Some(MicroTime(now - Duration::from_secs(3600)));
        lease.metadata.managed_fields =
            Some(vec![ManagedFieldsEntry { time: Some(Time(later(10))), ..ManagedFieldsEntry::default() }]);
        assert_eq!((is_expired(&lease, later(40)), is_expired(&lease, later(41))), (false, true));
        assert!(is_expired(&Lease::default(), now));
    }

    /// Nobody is known to be dead.
    struct Unknown;

    impl Liveness for Unknown {
        fn is_dead(&self, _: &Holder) -> bool {
            false
        }
    }

    fn run(pid: u32) -> Holder {
        holder(&held(pid, Timestamp::UNIX_EPOCH)).unwrap()
    }

    fn refusal(verb: &str, code: u16) -> cozy_sim::Refusal {
        cozy_sim::Refusal::of(verb, "leases", code, "Refused", "no")
    }

    /// The embedded cluster, which says in the heads of its answers that it is this late.
    async fn bed(date: Option<&'static str>) -> (cozy_sim::Cluster, Locker) {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let server = simulated.server();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let mut server = server.clone();
            async move {
                let mut answer = tower::Service::call(&mut server, request).await?;
                if let Some(date) = date {
                    answer.headers_mut().insert(http::header::DATE, http::HeaderValue::from_static(date));
                }
                Ok::<_, kube::Error>(answer)
            }
        });
        let cluster = Cluster::new(kube::Client::new(service, "default")).await.unwrap();
        cluster.ensure_system_namespace().await.unwrap();
        (simulated, cluster.locker().unwrap())
    }

    /// Found by reading: its holder stopped to renew it just when the server had done so, and took it for another's.
    #[tokio::test(start_paused = true)]
    async fn a_lock_is_given_back_whatever_became_of_its_last_renewal() {
        let (_, locker) = bed(None).await;
        let lock = locker.take(&run(7), &Unknown).await.unwrap();
        let mut cut_off = Lock { api: lock.api.clone(), lease: lock.lease.clone(), renewed: lock.renewed };
        cut_off.renew(Timestamp::now()).await.unwrap();
        assert_ne!(cut_off.lease.metadata.resource_version, lock.lease.metadata.resource_version);
        lock.release().await.unwrap();
        assert!(locker.held(&Unknown).await.unwrap().is_none());
        // Another's stays.
        let lock = locker.take(&run(7), &Unknown).await.unwrap();
        let before = locker.held(&Unknown).await.unwrap().unwrap();
        assert!(locker.remove(&before).await.unwrap());
        locker.take(&run(8), &Unknown).await.unwrap();
        lock.release().await.unwrap();
        assert!(locker.held(&Unknown).await.unwrap().is_some());
    }

    /// Found by reading: without the server's time, this machine's was taken for it.
    #[tokio::test(start_paused = true)]
    async fn a_lock_whose_age_nobody_tells_is_alive() {
        // The embedded cluster's clock begins with 2026, this machine's is later, or wrong.
        for (date, alive) in [
            (None, true),
            (Some("yesterday"), true),
            (Some("Thu, 01 Jan 2026 00:00:20 GMT"), true),
            (Some("Thu, 01 Jan 2026 00:01:00 GMT"), false),
        ] {
            let (simulated, locker) = bed(date).await;
            locker.take(&run(7), &Unknown).await.unwrap();
            simulated.refuse(cozy_sim::Refusal { object: String::new(), ..refusal("create", 403) });
            let held = locker.held(&Unknown).await.unwrap().unwrap();
            assert_eq!(held.alive, alive, "{date:?}");
        }
    }

    /// Found by reading: where Leases may be read and not watched, the server was asked without a pause.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_lock_does_not_flood_the_server() {
        let (simulated, locker) = bed(None).await;
        locker.take(&run(7), &Unknown).await.unwrap();
        simulated.refuse(refusal("list", 403));
        simulated.refuse(refusal("watch", 403));
        let end = Instant::now() + Duration::from_secs(20);
        let refused = locker.wait(&Unknown, end).await.unwrap_err();
        assert!(matches!(refused, ClusterError::Locked { .. }), "{refused}");
        let asked = simulated.requests().reads();
        assert!((3..40).contains(&asked), "{asked} requests in 20 s");
    }

    /// Found by reading: what was renewed 10 s before an outage of 20 s could not be renewed in time after it.
    #[tokio::test(start_paused = true)]
    async fn a_lock_outlasts_an_api_server_that_is_away_for_twenty_seconds() {
        for begins in [100, 4_900, 9_900, 14_900] {
            let (simulated, locker) = bed(None).await;
            let mut lock = locker.take(&run(7), &Unknown).await.unwrap();
            let (begun, suspends) = (Instant::now(), SuspendCheck::new(|| None));
            let work = async {
                sleep_until(begun + Duration::from_millis(begins)).await;
                simulated
                    .refuse(cozy_sim::Refusal { object: "leases/cozy".to_owned(), ..refusal("update", 500) });
                sleep_until(begun + Duration::from_millis(begins + 20_000)).await;
                simulated.refuse_nothing();
                sleep_until(begun + Duration::from_millis(begins + 60_000)).await;
            };
            tokio::select! {
                lost = lock.keep(&suspends) => panic!("{begins}: {lost}"),
                () = work => {}
            }
        }
    }

    /// A machine that has slept this long by now, and what lets it sleep.
    fn machine() -> (SuspendCheck, Arc<AtomicU64>) {
        let (begun, slept) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let asleep = Arc::clone(&slept);
        let uptime = move || Some(begun.elapsed() + Duration::from_secs(asleep.load(Ordering::Relaxed)));
        (SuspendCheck::new(uptime), slept)
    }

    /// Found by reading: for up to half a minute after its machine had slept, a run wrote on with a lock that was another's.
    #[tokio::test(start_paused = true)]
    async fn after_a_machine_has_slept_nothing_is_sure_until_the_lock_is_renewed() {
        let (simulated, locker) = bed(None).await;
        let mut lock = locker.take(&run(7), &Unknown).await.unwrap();
        let (suspends, slept) = machine();
        let begun = Instant::now();
        let sure = async || {
            suspends.sure().await;
            begun.elapsed().as_millis()
        };
        let work = async {
            assert_eq!(sure().await, 0);
            sleep_until(begun + Duration::from_secs(6)).await;
            // For three seconds after it is awake there is no network.
            simulated
                .refuse(cozy_sim::Refusal { object: "leases/cozy".to_owned(), ..refusal("update", 500) });
            slept.store(20, Ordering::Relaxed);
            let mends = async {
                sleep_until(begun + Duration::from_secs(9)).await;
                simulated.refuse_nothing();
            };
            let ((), at) = tokio::join!(mends, sure());
            assert!((9_000..11_000).contains(&at), "{at}");
            // It may have been away for as long as it likes, where nobody else was there.
            slept.store(3_600, Ordering::Relaxed);
            let at = sure().await;
            assert!(at < 13_000, "{at}");
        };
        tokio::select! {
            lost = lock.keep(&suspends) => panic!("{lost}"),
            () = work => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_another_run_took_while_the_machine_slept_is_lost_before_anything_is_sure() {
        let (_, locker) = bed(None).await;
        let mut lock = locker.take(&run(7), &Unknown).await.unwrap();
        let (suspends, slept) = machine();
        let before = locker.held(&Unknown).await.unwrap().unwrap();
        assert!(locker.remove(&before).await.unwrap());
        locker.take(&run(8), &Unknown).await.unwrap();
        slept.store(300, Ordering::Relaxed);
        let begun = Instant::now();
        tokio::select! {
            biased;
            () = suspends.sure() => panic!("it is another's"),
            lost = lock.keep(&suspends) => assert!(lost.contains("pid 8"), "{lost}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn people_are_told_who_has_it() {
        let lease = held(7, "2026-01-01T00:00:00.123Z".parse().unwrap());
        assert_eq!(
            describe(&lease, holder(&lease).as_ref()),
            "`cozy install` (pid 7) on node-1 since 2026-01-01 00:00:00 UTC"
        );
        assert_eq!(describe(&lease, None), "node-1/7 since 2026-01-01 00:00:00 UTC");
        assert_eq!(describe(&Lease::default(), None), "somebody");
    }
}
