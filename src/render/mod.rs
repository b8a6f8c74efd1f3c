//! From resolved components to the objects they consist of: minijinja
//! templates, plain manifests, and stand-ins for what is not at hand.
//!
//! No I/O and no time: what the cluster and earlier runs know comes in as
//! [`Known`]. The same input renders the same bytes, but for what a chart
//! generates for a cluster that has kept nothing of it yet.

mod apis;
mod chart;
mod hooks;
mod job;
mod limits;
mod mistakes;
mod patch;
pub(crate) mod scope;
mod stand_in;
mod template;
#[cfg(test)]
mod tests;
mod world;
pub(crate) mod yaml;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value};

pub(crate) use self::apis::served;
use self::job::{Done, Job};
pub(crate) use self::mistakes::{in_contract, mistakes, written};
pub(crate) use self::world::Lookup;
use crate::code::Code;
use crate::model::component::Resolved;
use crate::model::kept::Kept;
use crate::model::names::ComponentName;
use crate::model::object::Object;
use crate::parallel::in_parallel;
use crate::plan::Stage;

/// One component's objects, in the order in which they are applied.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    /// Whose.
    pub(crate) component: ComponentName,
    /// Stage and object. Invariant: sorted by stage, then as rendered.
    pub(crate) objects: Vec<(Stage, Arc<Object>)>,
    /// Why the source was stood in for by the contract, if it was.
    pub(crate) stood_in: Option<String>,
    /// What is kept of its chart, if it is one.
    pub(crate) kept: Option<Kept>,
    /// Its chart's hooks that have no turn now.
    pub(crate) idle: Vec<Arc<Object>>,
}

/// What to do with a source that is not at hand (charts and manifest URLs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Make objects from what the component declares that it provides.
    StandIn,
    /// Refuse.
    Refuse,
}

/// Why a component could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("component `{component}`{}: {problem}", place(.file.as_deref(), *.line))]
pub(crate) struct RenderError {
    /// The stable code.
    pub(crate) code: Code,
    /// Which component.
    pub(crate) component: ComponentName,
    /// The file in its folder.
    pub(crate) file: Option<String>,
    /// The line in that file, from 1.
    pub(crate) line: Option<u64>,
    /// The path in the cloud's file, where it is that which is wrong.
    pub(crate) in_cloud: Option<Vec<String>>,
    /// What is wrong.
    pub(crate) problem: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

fn place(file: Option<&str>, line: Option<u64>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!(", {file}:{line}"),
        (Some(file), None) => format!(", {file}"),
        (None, _) => String::new(),
    }
}

/// What rendering knows besides the components: of the cluster, and of earlier runs.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// What to do with sources that are not at hand.
    pub(crate) missing: Missing,
    /// What time it is; `None`: nothing reaches a cluster, and what charts generate is made up, the same each time.
    pub(crate) now: Option<Timestamp>,
    /// The API versions that the cluster serves without the components; `None`: what Kubernetes has built in.
    pub(crate) apis: Option<BTreeSet<String>>,
    /// What is kept of charts in the cluster.
    pub(crate) kept: BTreeMap<ComponentName, Kept>,
    /// Charts whose hooks of the first installation have not all run yet.
    pub(crate) unfinished: BTreeSet<ComponentName>,
    /// What an earlier attempt of this run generated.
    pub(crate) made: BTreeMap<ComponentName, Kept>,
    /// What the cluster says to the lookups of charts.
    pub(crate) answers: BTreeMap<Lookup, Option<Value>>,
}

impl Known {
    /// What is known where no cluster is meant.
    pub(crate) fn nothing(missing: Missing) -> Self {
        Self {
            missing,
            now: None,
            apis: None,
            kept: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            made: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }
}

/// What came of rendering all components.
#[derive(Debug)]
pub(crate) struct Rendering {
    /// The components in their order, or all errors.
    pub(crate) result: Result<Vec<Rendered>, Vec<RenderError>>,
    /// What charts asked of a cluster, and were not told: nothing was there, as far as they know.
    pub(crate) asked: BTreeSet<Lookup>,
}

/// Renders all components. `facts` is what every template sees (cloud,
/// cluster, network, storage, components); `settings`, `namespace` and
/// `component` are added for each. All errors are returned, not the first.
pub(crate) fn render(components: &[Resolved], facts: &Map<String, Value>, known: &Known) -> Rendering {
    let environment = environment();
    let version = facts.get("cluster").and_then(|cluster| cluster.get("version")).and_then(Value::as_str);
    let mut apis = known.apis.clone().unwrap_or_else(|| apis::built_in(version.unwrap_or_default()));
    let facts: Vec<(&str, minijinja::Value)> =
        facts.iter().map(|(key, value)| (key.as_str(), minijinja::Value::from(Serde(value)))).collect();
    let render_one = |resolved: &Resolved, apis: &BTreeSet<String>| {
        Job { resolved, environment: &environment, facts: &facts, known, apis }.run()
    };
    let none = BTreeSet::new();
    let part = |part: &[Resolved]| -> Vec<Option<Done>> {
        part.iter().map(|resolved| (!resolved.is_chart()).then(|| render_one(resolved, &none))).collect()
    };
    let mut done = in_parallel(components, part);
    if components.iter().any(Resolved::is_chart) {
        // A chart sees what the components before it bring.
        for index in apis::order(components) {
            let (Some(resolved), Some(slot)) = (components.get(index), done.get_mut(index)) else { continue };
            let (result, _) = slot.get_or_insert_with(|| render_one(resolved, &apis));
            if let Ok(rendered) = result {
                apis.extend(apis::brought(resolved, rendered));
            }
        }
    }
    let (mut rendered, mut of) = (Vec::with_capacity(done.len()), Vec::with_capacity(done.len()));
    let (mut errors, mut asked) = (Vec::new(), BTreeSet::new());
    for (done, resolved) in done.into_iter().zip(components) {
        let Some((result, lookups)) = done else { continue };
        asked.extend(lookups);
        match result {
            Ok(component) => {
                rendered.push(component);
                of.push(resolved);
            }
            Err(mut found) => errors.append(&mut found),
        }
    }
    // What could be rendered may have mistakes of its own.
    if let Err(mut found) = scope::finish(&mut rendered, &of) {
        errors.append(&mut found);
    }
    let result = if errors.is_empty() { Ok(rendered) } else { Err(errors) };
    Rendering { result, asked }
}

/// Whether any template of the components may see a fact.
pub(crate) fn sees(components: &[Resolved], fact: &str) -> bool {
    let environment = environment();
    components.iter().any(|resolved| {
        let source = &resolved.component.source;
        let named =
            source.templates.iter().flatten().chain(&source.values).chain(&resolved.component.resources);
        let files =
            named.filter_map(|name| Some((name, std::str::from_utf8(resolved.files.get(name)?).ok()?)));
        // Most are plain objects.
        let mut templates = files.filter(|(_, text)| ["{{", "{%"].iter().any(|begin| text.contains(begin)));
        templates.any(|(name, text)| {
            // `debug()` shows all.
            let shown = |names: HashSet<String>| names.contains(fact) || names.contains("debug");
            let parsed = environment.template_from_named_str(name, text);
            parsed.map_or(true, |template| shown(template.undeclared_variables(false)))
        })
    })
}

/// The template engine: strict, and with `text` for block scalars.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(limits::FUEL));
    let whitespace =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(whitespace.expect("the default delimiters are valid"));
    environment.set_auto_escape_callback(|_| AutoEscape::Json);
    environment.set_formatter(limits::print);
    environment.add_filter("tojson", limits::tojson);
    environment.add_filter("text", text_filter);
    environment.add_filter("default", given_or);
    environment.add_filter("d", given_or);
    environment.add_test("defined", is_given);
    environment.add_test("undefined", |value: &minijinja::Value| !is_given(value));
    environment.add_function("fail", fail);
    environment
}

/// Whether somebody gave a value. A setting that nobody gives and that has no default is null, so that `{% if %}` can ask
/// for it, and `is defined` says the same as `{% if %}` does.
fn is_given(value: &minijinja::Value) -> bool {
    !value.is_undefined() && !value.is_none()
}

/// Another value in the place of one that was not given; with `lax`, also of one that is empty, false or 0.
fn given_or(
    value: &minijinja::Value,
    other: Option<minijinja::Value>,
    lax: Option<bool>,
) -> minijinja::Value {
    if is_given(value) && (value.is_true() || !lax.unwrap_or(false)) {
        value.clone()
    } else {
        other.unwrap_or_else(|| minijinja::Value::from(""))
    }
}

/// What a template says of settings that cannot be rendered, as Helm's `fail`.
#[derive(Debug, thiserror::Error)]
#[error("the template refuses its settings")]
struct Refused;

/// Ends a template with words of its own.
fn fail(words: &str) -> Result<minijinja::Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, words.to_owned()).with_source(Refused))
}

/// Prints a value as raw text in a block scalar. Further lines are indented by
/// `indent` columns; without it, a value of several lines is refused, because
/// it would leave the scalar.
fn text_filter(
    state: &minijinja::State<'_, '_>,
    value: &minijinja::Value,
    indent: Option<usize>,
) -> Result<minijinja::Value, minijinja::Error> {
    let text = limits::text(state, value)?;
    let text = match indent {
        Some(columns) => text.trim_end_matches('\n').replace('\n', &format!("\n{}", " ".repeat(columns))),
        None if text.contains(['\n', '\r']) => {
            return Err(minijinja::Error::new(
                ErrorKind::InvalidOperation,
                "the value has several lines: give `text` the indentation of the block, `text(4)`",
            ));
        }
        None => text,
    };
    Ok(minijinja::Value::from_safe_string(text))
}
