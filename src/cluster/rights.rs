//! What the user of a kubeconfig may do, asked of the API server.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};

use super::Cluster;
use super::error::ClusterError;
use crate::plan::rights::Right;

impl Cluster {
    /// The rights that one does not have, of those that are needed.
    pub(crate) async fn missing(
        &self,
        needed: BTreeSet<Right>,
        concurrency: usize,
    ) -> Result<BTreeSet<Right>, ClusterError> {
        // Administrators may do everything, and are asked once.
        if self.may(&Right::everything()).await? {
            return Ok(BTreeSet::new());
        }
        let asked = stream::iter(needed).map(|right| async move {
            let may = self.may(&right).await?;
            Ok::<_, ClusterError>((!may).then_some(right))
        });
        let answers: Vec<Option<Right>> = asked.buffer_unordered(concurrency.max(1)).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }

    async fn may(&self, right: &Right) -> Result<bool, ClusterError> {
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client().clone());
        let attributes = ResourceAttributes {
            group: Some(right.group.clone()),
            resource: Some(right.resource.clone()),
            namespace: right.namespace.clone(),
            verb: Some(right.verb.to_owned()),
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
