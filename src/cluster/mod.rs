//! The cluster's side: the only user of kube's client. Connecting, discovery,
//! applying, observing, watching, the inventory and the lock.

#[cfg(test)]
mod absent_tests;
mod again;
pub(crate) mod apply;
mod capped;
mod charts;
mod connect;
pub(crate) mod error;
mod follow;
pub(crate) mod inventory;
mod known;
mod kubeconfig;
pub(crate) mod lease;
pub(crate) mod nodes;
pub(crate) mod observe;
mod owned;
mod provided;
mod rights;
pub(crate) mod suspend;
mod told;
pub(crate) mod turns;
mod verdict;
pub(crate) mod watch;
#[cfg(test)]
mod watch_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

pub(crate) use apply::ApplyMode;
use connect::Connection;
pub(crate) use connect::{connect, connect_text, reach};
use jiff::Timestamp;
use kube::Resource as _;
use kube::api::{Api, DynamicObject, GetParams, ListMeta, ListParams, TypeMeta};
use kube::core::Request;
use kube::discovery::{ApiResource, Discovery, Scope};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;

use self::error::ClusterError;
use crate::health::around::{self, Kept};
pub(crate) use crate::model::kept::SYSTEM_NAMESPACE;
use crate::model::object::{GroupKind, Object, ObjectId};

/// The one field manager of everything that cozy applies.
pub(crate) const FIELD_MANAGER: &str = "cozy";

/// How many objects are listed at a time.
const PAGE: u32 = 500;

/// The same, where that many are too large an answer.
const SMALL_PAGE: u32 = 50;

/// The versions at which a kind is served, the preferred one first.
type Served = BTreeMap<GroupKind, Vec<(ApiResource, Scope)>>;

/// What is asked for when a cluster is asked what it serves.
const DISCOVERY: &str = "the API's discovery";

/// A cluster that can be reached.
pub(crate) struct Cluster {
    connection: Connection,
    served: RwLock<Arc<Served>>,
    /// What is served was asked of a server that was ready: one that has just started does not know all of it yet.
    whole: AtomicBool,
}

/// What there is that discovery may not know.
#[derive(Debug, Default)]
struct Defined {
    /// The kinds that CRDs define.
    kinds: BTreeSet<GroupKind>,
    /// Groups whose own servers do not answer.
    away: BTreeSet<String>,
}

/// What became of the look for an object.
enum Look {
    Here(Value),
    /// There is no such object.
    Nothing,
    /// Its kind is not known here, or not where it was asked for.
    Unserved,
}

impl Cluster {
    /// Takes a connection, and asks what the cluster serves.
    pub(crate) async fn new(connection: impl Into<Connection>) -> Result<Self, ClusterError> {
        let cluster = Self::unknown(connection);
        cluster.discover().await?;
        Ok(cluster)
    }

    fn unknown(connection: impl Into<Connection>) -> Self {
        Self { connection: connection.into(), served: RwLock::default(), whole: AtomicBool::default() }
    }

    /// The same once the API server is ready: one that has just started refuses everything until it has read its roles,
    /// and does not know all that it serves.
    pub(crate) async fn once_ready(connection: impl Into<Connection>) -> Result<Self, ClusterError> {
        let cluster = Self::unknown(connection);
        cluster.ready().await?;
        cluster.learn(true).await?;
        Ok(cluster)
    }

    fn client(&self) -> &kube::Client {
        self.connection.client()
    }

    /// A client that shares no connection with that of most requests.
    fn another_client(&self) -> Result<kube::Client, ClusterError> {
        self.connection.another()
    }

    /// The same cluster over another connection.
    pub(crate) fn through(self, client: kube::Client) -> Self {
        Self { connection: client.into(), ..self }
    }

    /// The version of Kubernetes, `v1.36.3`.
    pub(crate) async fn version(&self) -> Result<String, ClusterError> {
        let info = self.client().apiserver_version().await;
        info.map(|info| info.git_version).map_err(|error| ClusterError::from_kube("get", "/version", error))
    }

    /// Whether the API server is ready, with its roles read.
    pub(crate) async fn ready(&self) -> Result<(), ClusterError> {
        self.ready_for("/readyz").await
    }

    /// The same, asked for the sake of something else.
    async fn ready_for(&self, about: &str) -> Result<(), ClusterError> {
        let failed = |error| ClusterError::from_kube("get", about, error);
        let request = http::Request::get("/readyz").body(Vec::new());
        let request = request.map_err(|error| failed(kube::Error::HttpError(error)))?;
        self.client().request_text(request).await.map(drop).map_err(failed)
    }

    /// The API server's time, to the second, as its answers tell it; `None`: they do not.
    pub(crate) async fn time(&self) -> Option<Timestamp> {
        time(self.client()).await
    }

    /// Asks again what the cluster serves.
    pub(crate) async fn discover(&self) -> Result<(), ClusterError> {
        let whole = match self.ready_for(DISCOVERY).await {
            // Who may not ask that, or whose way there does not know it, would learn nothing by waiting.
            Ok(()) | Err(ClusterError::Refused { code: 401 | 403 | 404, .. }) => true,
            Err(ClusterError::Refused { .. }) => false,
            Err(error) => return Err(error),
        };
        self.learn(whole).await
    }

    /// Asks what is served. `whole`: the server was ready before that.
    async fn learn(&self, whole: bool) -> Result<(), ClusterError> {
        let discovery = Discovery::new(self.client().clone())
            .run_aggregated()
            .await
            .map_err(|error| ClusterError::from_kube("get", DISCOVERY, error))?;
        let mut served = Served::new();
        for group in discovery.groups() {
            let mut versions: Vec<&str> = group.versions().collect();
            let preferred = group.preferred_version_or_latest();
            versions.sort_by_key(|version| *version != preferred);
            for version in versions {
                for (resource, capabilities) in group.versioned_resources(version) {
                    let kind = GroupKind::new(resource.group.as_str(), resource.kind.as_str());
                    served.entry(kind).or_default().push((resource, capabilities.scope));
                }
            }
        }
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
        self.whole.store(whole, Ordering::Relaxed);
        Ok(())
    }

    /// Makes sure that all is known that the cluster serves.
    ///
    /// # Errors
    /// What the API server says when it is not ready.
    pub(crate) async fn know_all(&self) -> Result<(), ClusterError> {
        if !self.whole.load(Ordering::Relaxed) {
            self.ready().await?;
            self.learn(true).await?;
        }
        Ok(())
    }

    /// Takes what is known for all that the cluster serves: for those who only look, at an API server that is not ready.
    pub(crate) fn take_as_whole(&self) {
        self.whole.store(true, Ordering::Relaxed);
    }

    /// What there is that discovery may not know.
    async fn defined(&self) -> Result<Defined, ClusterError> {
        let (kinds, away) = futures::try_join!(self.defined_kinds(), self.groups_away())?;
        Ok(Defined { kinds, away })
    }

    /// The groups whose own servers are away: discovery has them without kinds (`kube-aggregator`).
    async fn groups_away(&self) -> Result<BTreeSet<String>, ClusterError> {
        let services = GroupKind::new("apiregistration.k8s.io", "APIService");
        let keep = |live: Value| {
            live.pointer("/spec/service").filter(|service| service.is_object())?;
            let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
            let mut conditions = conditions.into_iter().flatten();
            let available = conditions.any(|one| one["type"] == "Available" && one["status"] == "True");
            let group = live.pointer("/spec/group")?.as_str()?;
            (!available).then(|| group.to_owned())
        };
        match self.list((&services, None), "v1", keep).await {
            Ok(groups) => Ok(groups.into_iter().collect()),
            // Who may not see them, or where there are none, knows what discovery says.
            Err(ClusterError::NoSuchKind { .. }) => Ok(BTreeSet::new()),
            Err(error) if error.is_forbidden() => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// The kinds that CRDs define, whether they are served already or not.
    async fn defined_kinds(&self) -> Result<BTreeSet<GroupKind>, ClusterError> {
        let definitions = GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition");
        let keep = |live: Value| {
            let conditions = live.pointer("/status/conditions")?.as_array()?;
            let mut conditions = conditions.iter();
            conditions.find(|one| one["type"] == "Established" && one["status"] == "True")?;
            // Of one that no version serves discovery never knows.
            let mut versions = live.pointer("/spec/versions")?.as_array()?.iter();
            versions.find(|version| version["served"] == true)?;
            Object::from_value(live.clone()).ok()?.defines()
        };
        match self.list((&definitions, None), "v1", keep).await {
            Ok(kinds) => Ok(kinds.into_iter().collect()),
            // Who may not see them knows what discovery says.
            Err(error) if error.is_forbidden() => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether a kind is defined, and only not served yet, or its server is away. `defined` keeps [`Self::defined`] for
    /// further ones.
    async fn is_hidden(&self, kind: &GroupKind, defined: &OnceCell<Defined>) -> Result<bool, ClusterError> {
        if self.served().contains_key(kind) {
            return Ok(false);
        }
        let defined = defined.get_or_try_init(|| self.defined()).await?;
        Ok(defined.kinds.contains(kind) || defined.away.contains(&kind.group))
    }

    fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The kinds that are served.
    pub(crate) fn kinds(&self) -> BTreeSet<GroupKind> {
        self.served().keys().cloned().collect()
    }

    /// The versions at which kinds are served.
    pub(crate) fn versions(&self) -> BTreeMap<GroupKind, BTreeSet<String>> {
        let of = |versions: &Vec<(ApiResource, Scope)>| {
            versions.iter().map(|(resource, _)| resource.version.clone()).collect()
        };
        self.served().iter().map(|(kind, versions)| (kind.clone(), of(versions))).collect()
    }

    /// Whether a kind is served at a version.
    pub(crate) fn serves(&self, kind: &GroupKind, version: &str) -> bool {
        self.served()
            .get(kind)
            .is_some_and(|versions| versions.iter().any(|(resource, _)| resource.version == version))
    }

    /// How a kind is served; `version` empty: the preferred one.
    fn resource(&self, kind: &GroupKind, version: &str) -> Option<(ApiResource, Scope)> {
        let served = self.served();
        let mut versions = served.get(kind)?.iter();
        versions.find(|(resource, _)| version.is_empty() || resource.version == version).cloned()
    }

    /// The API of an object's kind and namespace; `version` empty: the preferred one.
    fn api(&self, id: &ObjectId, version: &str) -> Result<Api<DynamicObject>, ClusterError> {
        let served = self
            .resource(&id.kind, version)
            .ok_or_else(|| ClusterError::NoSuchKind { object: id.to_string() })?;
        Ok(self.api_of(&served, id.namespace.as_deref()))
    }

    /// The API of a kind that is served, in a namespace if it has any.
    fn api_of(
        &self,
        (resource, scope): &(ApiResource, Scope),
        namespace: Option<&str>,
    ) -> Api<DynamicObject> {
        match (scope, namespace) {
            (Scope::Namespaced, Some(namespace)) => {
                Api::namespaced_with(self.client().clone(), namespace, resource)
            }
            (Scope::Namespaced | Scope::Cluster, _) => Api::all_with(self.client().clone(), resource),
        }
    }

    /// The requests of an object's kind and namespace; `version` empty: the preferred one.
    fn requests(&self, id: &ObjectId, version: &str) -> Result<Request, ClusterError> {
        let served = self
            .resource(&id.kind, version)
            .ok_or_else(|| ClusterError::NoSuchKind { object: id.to_string() })?;
        Ok(requests(&served, id.namespace.as_deref()))
    }

    /// Reads all objects of a kind in a namespace, or everywhere, page by page, and keeps what `keep` makes of them.
    /// Each says what it is, as items of lists do not. `version` empty: the preferred one.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchKind`] when it is not served.
    async fn list<T>(
        &self,
        (kind, namespace): (&GroupKind, Option<&str>),
        version: &str,
        keep: impl Fn(Value) -> Option<T>,
    ) -> Result<Vec<T>, ClusterError> {
        let mut pages = self.pages((kind, namespace), version)?;
        let mut kept = Vec::new();
        while let Some(page) = pages.next(self).await? {
            kept.extend(page.into_iter().filter_map(&keep));
        }
        Ok(kept)
    }

    /// Reads of a kind's objects what rules look at.
    async fn list_parts(&self, kind: &GroupKind, version: &str) -> Result<Arc<Kept>, ClusterError> {
        let mut pages = self.pages((kind, None), version)?;
        if let Some(params) = &mut pages.params {
            params.field_selector = around::fields(kind).map(str::to_owned);
        }
        let mut kept = Kept::default();
        while let Some(page) = pages.next(self).await? {
            for object in page {
                kept.put(kind, &object);
            }
        }
        Ok(Arc::new(kept))
    }

    /// Begins to read all objects of a kind in a namespace, or everywhere; `version` empty: the preferred one.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchKind`] when it is not served.
    fn pages(
        &self,
        (kind, namespace): (&GroupKind, Option<&str>),
        version: &str,
    ) -> Result<Pages, ClusterError> {
        let served = self
            .resource(kind, version)
            .ok_or_else(|| ClusterError::NoSuchKind { object: kind.to_string() })?;
        Ok(Pages {
            requests: requests(&served, namespace),
            types: types(&served.0),
            params: Some(ListParams::default().limit(PAGE)),
            remaining: None,
        })
    }

    /// Reads an object; `None`: it, or its kind, is not there.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchKind`] when that cannot be told: the API server has just started, or something in front of
    /// it has answered.
    pub(crate) async fn get(&self, id: &ObjectId, version: &str) -> Result<Option<Value>, ClusterError> {
        let unknown = || ClusterError::NoSuchKind { object: id.to_string() };
        for last in [false, true] {
            match self.look(id, version).await? {
                Look::Here(found) => return Ok(Some(found)),
                Look::Nothing => return Ok(None),
                Look::Unserved => {}
            }
            if self.resource(&id.kind, version).is_none() && self.whole.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if !last {
                let asked = self.discover().await;
                asked.map_err(|error| if error.is_not_found() { unknown() } else { error })?;
            }
        }
        Err(unknown())
    }

    /// Looks for an object once.
    async fn look(&self, id: &ObjectId, version: &str) -> Result<Look, ClusterError> {
        let Ok(requests) = self.requests(id, version) else { return Ok(Look::Unserved) };
        let request = requests.get(&segment(&id.name), &GetParams::default());
        match self.asked(request).await {
            Ok(found) => Ok(Look::Here(found)),
            // An API server names what is not there; a path that it does not serve, and a proxy's page, say nothing.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
                Ok(if named { Look::Nothing } else { Look::Unserved })
            }
            Err(error) => Err(ClusterError::from_kube("get", &id.to_string(), error)),
        }
    }

    /// Sends a request, and gives the answer as plain JSON: kube's own types would be turned into it once more.
    async fn asked<T: serde::de::DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, kube::Error> {
        self.client().request(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// Asks an API group at a version for anything at all: behind an aggregated one stands a server of its own.
    ///
    /// # Errors
    /// A transient one, too, when it is not known there: each of several API servers hears of a group by itself.
    pub(crate) async fn answers(&self, group: &str, version: &str) -> Result<(), ClusterError> {
        let path = format!("/apis/{group}/{version}");
        let failed = |error| {
            let error = ClusterError::from_kube("get", &path, error);
            if error.is_not_found() { error.passing() } else { error }
        };
        let request = http::Request::get(&path).body(Vec::new());
        let request = request.map_err(|error| failed(kube::Error::HttpError(error)))?;
        self.client().request_text(request).await.map(drop).map_err(failed)
    }

    /// The plural under which a kind's objects are served.
    pub(crate) fn plural(&self, kind: &GroupKind) -> Option<String> {
        let served = self.served();
        Some(served.get(kind)?.first()?.0.plural.clone())
    }
}

/// The API server's time, to the second, as its answers tell it; `None`: they do not.
async fn time(client: &kube::Client) -> Option<Timestamp> {
    let request = http::Request::get("/version").body(Vec::new()).ok()?;
    let answer = client.send(request.map(kube::client::Body::from)).await.ok()?;
    let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(date).ok()?.timestamp())
}

/// The requests of a kind that is served, in a namespace if it has any.
fn requests((resource, scope): &(ApiResource, Scope), namespace: Option<&str>) -> Request {
    let namespace = namespace.filter(|_| *scope == Scope::Namespaced);
    Request::new(DynamicObject::url_path(resource, namespace))
}

/// A name as it stands in a path: those of roles may have nearly any character.
fn segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

/// A list that is read page by page, so that whole clusters need not fit.
struct Pages {
    requests: Request,
    types: TypeMeta,
    /// What is asked for next; `None`: all pages were read.
    params: Option<ListParams>,
    /// How many objects the pages have that are still to be read, if the server says so.
    remaining: Option<i64>,
}

/// One page of a list.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: ListMeta,
    /// `null` where a server has nothing.
    items: Option<Vec<Value>>,
}

impl Pages {
    /// Reads the next page; each object says what it is, as items of lists do not.
    async fn next(&mut self, cluster: &Cluster) -> Result<Option<Vec<Value>>, ClusterError> {
        let Some(mut params) = self.params.take() else { return Ok(None) };
        let page: Page = loop {
            let asked = cluster.asked(self.requests.list(&params)).await;
            match asked.map_err(|error| ClusterError::from_kube("list", &self.types.kind, error)) {
                Ok(page) => break page,
                // Some objects are as large as objects may be: fewer of them at a time.
                Err(ClusterError::TooLarge { .. }) if params.limit > Some(SMALL_PAGE) => {
                    params.limit = Some(SMALL_PAGE);
                }
                Err(error) => return Err(error),
            }
        };
        self.remaining = page.metadata.remaining_item_count;
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        self.params = params.continue_token.is_some().then_some(params);
        let mut items = page.items.unwrap_or_default();
        for object in items.iter_mut().filter_map(Value::as_object_mut) {
            object.insert("apiVersion".to_owned(), Value::from(self.types.api_version.as_str()));
            object.insert("kind".to_owned(), Value::from(self.types.kind.as_str()));
        }
        Ok(Some(items))
    }
}

/// What the objects of a resource say that they are.
fn types(resource: &ApiResource) -> TypeMeta {
    TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() }
}

/// An object of kube's as plain JSON, `apiVersion` and `kind` included.
fn to_value(object: DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

impl Cluster {
    /// The API of a kind in a namespace or everywhere, for lists; `None`: not served.
    pub(crate) fn list_api(&self, kind: &GroupKind, namespace: Option<&str>) -> Option<Api<DynamicObject>> {
        let id =
            ObjectId { kind: kind.clone(), namespace: namespace.map(str::to_owned), name: String::new() };
        self.api(&id, "").ok()
    }

    /// All Secrets of a namespace.
    pub(crate) async fn secrets(&self, namespace: &str) -> Result<Vec<Value>, ClusterError> {
        self.list((&GroupKind::new("", "Secret"), Some(namespace)), "v1", Some).await
    }

    /// What a container wrote.
    pub(crate) async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        params: &kube::api::LogParams,
    ) -> Result<String, ClusterError> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client().clone(), namespace);
        let log = pods.logs(pod, params).await;
        log.map_err(|error| {
            ClusterError::from_kube("get", &format!("the log of Pod {namespace}/{pod}"), error)
        })
    }
}
