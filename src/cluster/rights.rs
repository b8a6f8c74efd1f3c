//! What the user of a kubeconfig may do, asked of the API server.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::Cluster;
use super::error::ClusterError;
use crate::plan::grants::{Gives, Grant, rights_of};
use crate::plan::rights::Right;

impl Cluster {
    /// Whether one may do everything, as administrators may: then nothing more need be asked.
    pub(crate) async fn may_do_everything(&self) -> Result<bool, ClusterError> {
        self.may(&Right::everything(), None).await
    }

    /// The rights that one does not have, of those that are needed.
    pub(crate) async fn missing(
        &self,
        needed: BTreeSet<Right>,
        concurrency: usize,
    ) -> Result<BTreeSet<Right>, ClusterError> {
        let asked = stream::iter(needed).map(|right| async move {
            let may = self.may(&right, None).await?;
            Ok::<_, ClusterError>((!may).then_some(right))
        });
        let answers: Vec<Option<Right>> = asked.buffer_unordered(concurrency.max(1)).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// The rights to escalate and to bind that one does not have, and would need: of roles and bindings that give away
    /// more than one has.
    pub(crate) async fn withheld(
        &self,
        grants: BTreeSet<Grant>,
        concurrency: usize,
    ) -> Result<BTreeSet<Right>, ClusterError> {
        let asked = stream::iter(grants).map(|grant| async move {
            let may = self.may(&grant.enough, Some(&grant.role)).await? || self.has(&grant).await?;
            Ok::<_, ClusterError>((!may).then_some(grant.enough))
        });
        let answers: Vec<Option<Right>> = asked.buffer_unordered(concurrency.max(1)).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Whether one has all that is given away.
    async fn has(&self, grant: &Grant) -> Result<bool, ClusterError> {
        let rights = match &grant.gives {
            Gives::Rights(rights) => rights.clone(),
            Gives::Of(place) => match self.role(&grant.role, place.as_deref()).await {
                Ok(Some(role)) => rights_of(&role, grant.enough.namespace.as_deref()),
                // Who may not look at it may have all of it nevertheless, and cannot be known to.
                Ok(None) | Err(kube::Error::Api(_)) => return Ok(false),
                Err(error) => return Err(ClusterError::from_kube("get", &grant.role, error)),
            },
        };
        for right in rights {
            if !self.may(&right, None).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn role(&self, name: &str, namespace: Option<&str>) -> Result<Option<Value>, kube::Error> {
        let client = self.client().clone();
        let role = if let Some(namespace) = namespace {
            let role = Api::<Role>::namespaced(client, namespace).get_opt(name).await?;
            role.map(|role| json!({ "rules": role.rules }))
        } else {
            let role = Api::<ClusterRole>::all(client).get_opt(name).await?;
            role.map(|role| json!({ "rules": role.rules }))
        };
        Ok(role)
    }

    async fn may(&self, right: &Right, name: Option<&str>) -> Result<bool, ClusterError> {
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client().clone());
        let (resource, part) = match right.resource.split_once('/') {
            Some((resource, part)) => (resource, Some(part.to_owned())),
            None => (right.resource.as_str(), None),
        };
        let attributes = ResourceAttributes {
            group: Some(right.group.clone()),
            resource: Some(resource.to_owned()),
            subresource: part,
            name: name.map(str::to_owned),
            namespace: right.namespace.clone(),
            verb: Some(right.verb.clone().into_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = api.create(&PostParams::default(), &review).await;
        let answer =
            answer.map_err(|error| ClusterError::from_kube("create", "a SelfSubjectAccessReview", error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
