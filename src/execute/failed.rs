//! A request's error as why a component failed.

use std::collections::BTreeMap;

use super::event::{Cause, Failure};
use crate::cluster::error::ClusterError;
use crate::code::causes;
use crate::diagnose::patterns;

/// A request's error as a component's failure.
pub(crate) fn failed(error: &ClusterError) -> Failure {
    let said = error.to_string();
    let causes = causes(std::error::Error::source(error), &said);
    let message = std::iter::once(said).chain(causes).collect::<Vec<_>>().join(": ");
    let hint = explained(&message).or_else(|| error.hint());
    Failure { code: error.code(), message, chain: owners(error), hint }
}

/// What to do about a request's error, where its words say more than its kind.
pub(crate) fn hint(error: &ClusterError) -> Option<String> {
    explained(&error.to_string()).or_else(|| error.hint())
}

fn explained(message: &str) -> Option<String> {
    patterns::explain(message).map(|found| format!("{}: {}", found.cause, found.fix))
}

/// Who owns the fields that a conflict is about, one entry a manager.
fn owners(error: &ClusterError) -> Vec<Cause> {
    let ClusterError::Conflict { object, conflicts } = error else { return Vec::new() };
    let mut fields: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        fields.entry(&conflict.manager).or_default().push(&conflict.field);
    }
    let cause = |(manager, fields): (&str, Vec<&str>)| Cause {
        object: object.clone(),
        message: format!("`{manager}` owns {}", fields.join(", ")),
    };
    fields.into_iter().map(cause).collect()
}
