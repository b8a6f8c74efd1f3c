//! Which subcharts are part of a release, under which name, and what their
//! parents take from their values (Helm's `chart/v2/util/dependencies.go`).

use std::rc::Rc;

use super::{Chart, Dependency};
use crate::error::Error;
use crate::funcs::semver::{Constraint, Version};
use crate::value::{Entries, Value};
use crate::values::{coalesce, path};

/// Makes subcharts that are not wanted disappear, gives aliases their charts,
/// and imports values.
pub(crate) fn process(chart: &mut Chart, values: &Value) -> Result<(), Error> {
    let path = chart.name().to_owned();
    enable(chart, values, "", &path)?;
    import(chart)
}

/// Refuses a chart that names a dependency which is not within it.
pub(crate) fn check_present(chart: &Chart) -> Result<(), Error> {
    let wanted = chart.metadata.dependencies.iter().flatten();
    let missing: Vec<&str> = wanted
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !chart.dependencies.iter().any(|within| within.name() == *name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "found in Chart.yaml, but missing in charts/ directory: {}; `helm dependency build` fetches them",
        missing.join(", ")
    );
    Err(super::chart_error(chart.name(), &problem))
}

fn compatible(constraint: &str, version: &str) -> bool {
    let (Ok(version), Ok(constraint)) = (Version::parse(version), Constraint::parse(constraint)) else {
        return false;
    };
    constraint.allows(&version)
}

/// The path of a chart that is within one with a path.
fn path_of(chart: &Chart, path: &str) -> String {
    format!("{}/charts/{}", chart.above.as_deref().unwrap_or(path), chart.name())
}

/// The chart that a dependency means, under its alias; the charts are those within one with a path.
fn aliased(charts: &[Chart], dependency: &Dependency, path: &str) -> Option<Chart> {
    let found = charts.iter().find(|chart| {
        chart.name() == dependency.name && compatible(&dependency.version, &chart.metadata.version)
    })?;
    let mut chart = found.clone();
    // Helm copies the charts within it, too, but not those within them: for these, the original is still around them.
    let path = path_of(found, path);
    for within in &mut chart.dependencies {
        let path = path_of(within, &path);
        within.above = None;
        for below in &mut within.dependencies {
            below.above.get_or_insert_with(|| path.clone());
        }
    }
    if !dependency.alias.is_empty() {
        dependency.alias.clone_into(&mut chart.metadata.name);
    }
    Some(chart)
}

fn enable(chart: &mut Chart, values: &Value, prefix: &str, path: &str) -> Result<(), Error> {
    let Some(mut wanted) = chart.metadata.dependencies.take() else { return Ok(()) };
    let within = std::mem::take(&mut chart.dependencies);
    let named = |chart: &Chart| {
        wanted
            .iter()
            .any(|wanted| wanted.name == chart.name() && compatible(&wanted.version, &chart.metadata.version))
    };
    let mut all: Vec<Chart> = within.iter().filter(|chart| !named(chart)).cloned().collect();
    for dependency in &mut wanted {
        all.extend(aliased(&within, dependency, path));
        if !dependency.alias.is_empty() {
            dependency.name = dependency.alias.clone();
        }
        dependency.enabled = true;
    }
    for chart in &mut all {
        chart.above = None;
    }
    chart.dependencies = all;
    let seen = coalesce::values(chart, values, false)?;
    by_tags(&mut wanted, &seen);
    by_conditions(&mut wanted, &seen, prefix);
    let disabled: Vec<String> =
        wanted.iter().filter(|one| !one.enabled).map(|one| one.name.clone()).collect();
    chart.dependencies.retain(|chart| !disabled.iter().any(|name| name == chart.name()));
    wanted.retain(|dependency| !disabled.contains(&dependency.name));
    for subchart in &mut chart.dependencies {
        let prefix = format!("{prefix}{}.", subchart.name());
        let path = path_of(subchart, path);
        enable(subchart, &seen, &prefix, &path)?;
    }
    chart.metadata.dependencies = (!wanted.is_empty()).then_some(wanted);
    Ok(())
}

fn by_tags(wanted: &mut [Dependency], values: &Value) {
    let Some(tags) = values.get("tags").filter(|tags| tags.as_map().is_some()) else { return };
    for dependency in wanted {
        let set: Vec<bool> = dependency
            .tags
            .iter()
            .filter_map(|tag| match tags.get(tag) {
                Some(Value::Bool(value)) => Some(value),
                _ => None,
            })
            .collect();
        dependency.enabled = set.is_empty() || set.contains(&true);
    }
}

/// The first condition that is set decides.
fn by_conditions(wanted: &mut [Dependency], values: &Value, prefix: &str) {
    for dependency in wanted {
        for condition in dependency.condition.trim().split(',').filter(|condition| !condition.is_empty()) {
            if let Some(Value::Bool(value)) = path(values, &format!("{prefix}{condition}")) {
                dependency.enabled = value;
                break;
            }
        }
    }
}

fn import(chart: &mut Chart) -> Result<(), Error> {
    for subchart in &mut chart.dependencies {
        import(subchart)?;
    }
    let Some(dependencies) = chart.metadata.dependencies.clone() else { return Ok(()) };
    let values = coalesce::values(chart, &Value::Nil, true)?;
    let mut taken = Value::map(Entries::new());
    for dependency in &dependencies {
        for import in &dependency.imports {
            let Some((child, parent)) = import.places() else { continue };
            let table = path(&values, &format!("{}.{child}", dependency.name));
            let Some(table) = table.filter(|table| table.as_map().is_some()) else { continue };
            // Of what is empty, Helm takes a copy.
            let table = if table.as_map().is_some_and(|map| map.len() == 0) {
                Value::map(Entries::new())
            } else {
                table
            };
            taken = coalesce::tables(taken, nested(parent, table), true);
        }
    }
    chart.values = Some(coalesce::tables(values.deep_copy(), taken, true));
    Ok(())
}

/// A table at a path.
fn nested(path: &str, table: Value) -> Value {
    if path == "." {
        return table;
    }
    path.split('.').rev().fold(table, |inner, key| Value::map([(Rc::from(key), inner)].into_iter().collect()))
}
