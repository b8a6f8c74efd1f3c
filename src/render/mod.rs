//! From resolved components to the objects they consist of: minijinja
//! templates, plain manifests, and stand-ins for what is not at hand.
//!
//! No I/O, no time, no randomness: the same input renders the same bytes.

mod chart;
mod limits;
mod scope;
mod stand_in;
mod template;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value, json};

use crate::error::Code;
use crate::model::artefact::Digest;
use crate::model::cloud::ObjectPatch;
use crate::model::component::{NamespaceSpec, PodSecurity, Resolved};
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object};
use crate::model::secret;
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

/// Renders all components. `facts` is what every template sees (cloud,
/// cluster, network, storage, components); `settings`, `namespace` and
/// `component` are added for each. All errors are returned, not the first.
pub(crate) fn render(
    components: &[Resolved],
    facts: &Map<String, Value>,
    missing: Missing,
) -> Result<Vec<Rendered>, Vec<RenderError>> {
    let environment = environment();
    let facts: Vec<(&str, minijinja::Value)> =
        facts.iter().map(|(key, value)| (key.as_str(), minijinja::Value::from(Serde(value)))).collect();
    let render_all = |part: &[Resolved]| -> Vec<Result<Rendered, Vec<RenderError>>> {
        part.iter()
            .map(|resolved| Job { resolved, environment: &environment, facts: &facts, missing }.run())
            .collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let part = components.len().div_ceil(threads).max(16);
    let results: Vec<_> = if components.len() <= part {
        render_all(components)
    } else {
        std::thread::scope(|scope| {
            let workers: Vec<_> =
                components.chunks(part).map(|chunk| scope.spawn(|| render_all(chunk))).collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    };
    let mut rendered = Vec::with_capacity(results.len());
    let mut errors = Vec::new();
    for result in results {
        match result {
            Ok(component) => rendered.push(component),
            Err(mut found) => errors.append(&mut found),
        }
    }
    if errors.is_empty() { scope::finish(&mut rendered, components).map(|()| rendered) } else { Err(errors) }
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
    environment.add_filter("text", text_filter);
    environment
}

/// Prints a value as raw text in a block scalar. Further lines are indented by
/// `indent` columns; without it, a value of several lines is refused, because
/// it would leave the scalar.
fn text_filter(
    value: &minijinja::Value,
    indent: Option<usize>,
) -> Result<minijinja::Value, minijinja::Error> {
    let text = value.to_string();
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

/// The rendering of one component.
struct Job<'a> {
    resolved: &'a Resolved,
    environment: &'a Environment<'static>,
    facts: &'a [(&'a str, minijinja::Value)],
    missing: Missing,
}

impl Job<'_> {
    fn run(&self) -> Result<Rendered, Vec<RenderError>> {
        let component = &self.resolved.component;
        let mut errors = Vec::new();
        let mut stood_in = None;
        let mut objects = Vec::new();
        if let Some(namespace) = &component.namespace {
            objects.extend(namespace_object(namespace).map(|object| (Stage::Namespaces, object)));
        }
        let context = self.context();
        for name in component.source.templates.iter().flatten() {
            match self.template(name, &context) {
                Ok(found) => objects.extend(found.into_iter().map(|object| (source_stage(&object), object))),
                Err(error) => errors.push(error),
            }
        }
        match self.source() {
            Ok(Sourced::Objects(found)) => {
                objects.extend(found.into_iter().map(|object| (source_stage(&object), object)));
            }
            Ok(Sourced::Staged(found)) => objects.extend(found),
            Ok(Sourced::StoodIn(why)) => {
                stood_in = Some(why);
                objects.extend(
                    stand_in::objects(component).into_iter().map(|object| (source_stage(&object), object)),
                );
            }
            Err(error) => errors.push(error),
        }
        for name in &component.resources {
            match self.template(name, &context) {
                Ok(found) => objects.extend(found.into_iter().map(|object| {
                    let stage = source_stage(&object);
                    // A webhook waits for whoever answers it, and that may stand beside it.
                    let with_the_others =
                        stage == Stage::Objects || object.id.kind.kind.ends_with("WebhookConfiguration");
                    (if with_the_others { Stage::Resources } else { stage }, object)
                })),
                Err(error) => errors.push(error),
            }
        }
        if let Err(mut found) = self.patch(&mut objects) {
            errors.append(&mut found);
        }
        errors.extend(objects.iter().filter_map(|(_, object)| self.leak(object)));
        if !errors.is_empty() {
            return Err(errors);
        }
        for (_, object) in &mut objects {
            self.leave_to_others(object);
        }
        objects.sort_by_key(|(stage, _)| *stage);
        let objects = objects.into_iter().map(|(stage, object)| (stage, Arc::new(object))).collect();
        Ok(Rendered { component: component.name.clone(), objects, stood_in })
    }

    fn context(&self) -> minijinja::Value {
        let component = &self.resolved.component;
        let namespace = component.namespace.as_ref().map(|namespace| namespace.name.as_str());
        let mut settings = Value::Object(self.resolved.settings.clone());
        self.resolved.secrets.iter().for_each(|secret| secret.put(&mut settings));
        let own = [
            ("settings", minijinja::Value::from(Serde(&settings))),
            ("namespace", minijinja::Value::from(Serde(namespace))),
            ("component", minijinja::Value::from(component.name.as_str())),
        ];
        let all: BTreeMap<&str, minijinja::Value> = self.facts.iter().cloned().chain(own).collect();
        minijinja::Value::from(Serde(all))
    }

    fn error(&self, code: u16, file: &str, line: Option<u64>, problem: String) -> RenderError {
        RenderError {
            code: Code(code),
            component: self.resolved.component.name.clone(),
            file: Some(file.to_owned()),
            line,
            problem: secret::mask(problem, &self.resolved.secrets),
            hint: None,
        }
    }

    fn text(&self, name: &str) -> Result<&str, RenderError> {
        let bytes = self
            .resolved
            .files
            .get(name)
            .ok_or_else(|| self.error(2001, name, None, "the file does not exist".to_owned()))?;
        std::str::from_utf8(bytes)
            .map_err(|_| self.error(2002, name, None, "the file is not UTF-8".to_owned()))
    }

    fn rendered_with(&self, name: &str, context: &minijinja::Value) -> Result<String, RenderError> {
        let source = self.text(name)?;
        if let Some(fault) = template::check(source).into_iter().next() {
            let mut error = self.error(2003, name, Some(fault.line as u64), fault.problem);
            error.hint = Some(fault.fix);
            return Err(error);
        }
        let failed = |error: &minijinja::Error| {
            let line = error.line().map(|line| line as u64);
            let mut failed = self.error(2004, name, line, message_of(error));
            if error.kind() == ErrorKind::UndefinedError {
                failed.hint = Some(
                    "templates see `cloud`, `cluster`, `network`, `storage`, `components`, `settings`, `namespace` \
                     and `component`; a setting needs a default in the schema"
                        .to_owned(),
                );
            }
            failed
        };
        let template =
            self.environment.template_from_named_str(name, source).map_err(|error| failed(&error))?;
        let mut output = limits::Output::default();
        let written = template.render_captured_to(context, &mut output);
        if output.is_full() {
            let problem = format!("it renders more than {} MiB", limits::LARGEST >> 20);
            return Err(self.error(2004, name, None, problem));
        }
        written.map_err(|error| failed(&error))?;
        output.text().map_err(|problem| self.error(2004, name, None, problem))
    }

    /// A template's text with what every template sees.
    fn rendered_text(&self, name: &str) -> Result<String, RenderError> {
        self.rendered_with(name, &self.context())
    }

    fn template(&self, name: &str, context: &minijinja::Value) -> Result<Vec<Object>, RenderError> {
        let text = self.rendered_with(name, context)?;
        let documents = yaml::read(&text).map_err(|error| {
            let shown =
                text.lines().nth(usize::try_from(error.line).unwrap_or(1).saturating_sub(1)).unwrap_or("");
            let problem = format!(
                "what it renders is not YAML: line {} of the output, `{}`: {}",
                error.line,
                shown.trim(),
                error.problem
            );
            self.error(2005, name, None, problem)
        })?;
        self.objects(name, documents, "of the output")
    }

    fn objects(
        &self,
        name: &str,
        documents: Vec<yaml::Document>,
        of: &str,
    ) -> Result<Vec<Object>, RenderError> {
        let mut objects = Vec::with_capacity(documents.len());
        for yaml::Document { line, value } in documents {
            let fail = |problem: String| self.error(2006, name, None, format!("line {line} {of}: {problem}"));
            let is_list =
                value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
            match value {
                Value::Null => {}
                Value::Object(mut map) if is_list && map.contains_key("items") => {
                    let Some(Value::Array(items)) = map.remove("items") else {
                        return Err(fail("`items` is not a list".to_owned()));
                    };
                    for item in items {
                        objects.push(Object::from_value(item).map_err(|error| fail(error.to_string()))?);
                    }
                }
                value => objects.push(Object::from_value(value).map_err(|error| fail(error.to_string()))?),
            }
        }
        Ok(objects)
    }

    fn source(&self) -> Result<Sourced, RenderError> {
        let component = &self.resolved.component;
        if let Some(manifest) = &component.source.manifest {
            if let Some(file) = &manifest.file {
                let found = Digest::of(self.text(file)?.as_bytes()).to_string();
                if found != manifest.sha256 {
                    let problem =
                        format!("its sha256 is {found}, but component.yaml pins {}", manifest.sha256);
                    let mut error = self.error(2007, file, None, problem);
                    error.hint =
                        Some("if the change is wanted, write the new digest into component.yaml".to_owned());
                    return Err(error);
                }
                let documents = yaml::read(self.text(file)?)
                    .map_err(|error| self.error(2005, file, Some(error.line), error.problem))?;
                return self.objects(file, documents, "of the file").map(Sourced::Objects);
            }
            let url = manifest.url.as_deref().unwrap_or_default();
            if let Some(bytes) = &self.resolved.artefact {
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| self.error(2002, url, None, "the manifest is not UTF-8".to_owned()))?;
                let documents = yaml::read(text)
                    .map_err(|error| self.error(2005, url, Some(error.line), error.problem))?;
                return self.objects(url, documents, "of the manifest").map(Sourced::Objects);
            }
            return self.not_at_hand(&format!("manifest {url}"));
        }
        if let Some(chart) = &component.source.chart {
            if let Some(bytes) = &self.resolved.artefact {
                return self.chart(chart, bytes).map(Sourced::Staged);
            }
            return self.not_at_hand(&format!("chart {} {}", chart.name, chart.version));
        }
        Ok(Sourced::Objects(Vec::new()))
    }

    fn not_at_hand(&self, what: &str) -> Result<Sourced, RenderError> {
        match self.missing {
            Missing::StandIn => Ok(Sourced::StoodIn(what.to_owned())),
            Missing::Refuse => {
                let mut error = self.error(2008, "component.yaml", None, format!("{what} is not at hand"));
                error.hint =
                    Some("fetch it with `cozy fetch`, or stand in for it with --stand-in".to_owned());
                Err(error)
            }
        }
    }

    /// A secret in an object that is no Secret.
    fn leak(&self, object: &Object) -> Option<RenderError> {
        if object.id.kind == GroupKind::new("", "Secret") {
            return None;
        }
        let secret = secret::found_in(&object.value, &self.resolved.secrets)?;
        Some(RenderError {
            code: Code(2013),
            component: self.resolved.component.name.clone(),
            file: None,
            line: None,
            problem: format!("the secret setting `{}` ends up in {}", secret.name(), object.id),
            hint: Some("put it into a Secret, and refer to that".to_owned()),
        })
    }

    /// Takes out the fields that the component leaves to other managers.
    fn leave_to_others(&self, object: &mut Object) {
        let fields = self.resolved.component.ignore_fields.iter().filter(|fields| {
            fields.kind == object.id.kind.kind
                && fields.name.as_ref().is_none_or(|name| *name == object.id.name)
        });
        for pointer in fields.flat_map(|fields| &fields.paths) {
            let Some((parent, key)) = pointer.rsplit_once('/') else { continue };
            let key = key.replace("~1", "/").replace("~0", "~");
            if let Some(map) = object.value.pointer_mut(parent).and_then(Value::as_object_mut) {
                map.shift_remove(&key);
            }
        }
    }

    fn patch(&self, objects: &mut [(Stage, Object)]) -> Result<(), Vec<RenderError>> {
        let mut errors = Vec::new();
        for (index, patch) in self.resolved.patches.iter().enumerate() {
            let fail = |problem: String| RenderError {
                code: Code(2009),
                component: self.resolved.component.name.clone(),
                file: None,
                line: None,
                problem: format!("patches[{index}]: {problem}"),
                hint: None,
            };
            let operations: json_patch::Patch =
                match serde_json::from_value(Value::Array(patch.patch.clone())) {
                    Ok(operations) => operations,
                    Err(error) => {
                        errors.push(fail(format!("not a JSON patch (RFC 6902): {error}")));
                        continue;
                    }
                };
            let mut matched = false;
            for (_, object) in objects.iter_mut().filter(|(_, object)| targets(patch, object)) {
                matched = true;
                if let Err(error) = json_patch::patch(&mut object.value, &operations) {
                    errors.push(fail(format!("{}: {error}", object.id)));
                    continue;
                }
                match Object::from_value(std::mem::take(&mut object.value)) {
                    Ok(patched) => *object = patched,
                    Err(error) => errors.push(fail(format!("{}: {error}", object.id))),
                }
            }
            if !matched {
                errors.push(fail(format!("matches no object of kind `{}`", patch.target.kind)));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

enum Sourced {
    Objects(Vec<Object>),
    StoodIn(String),
    /// A chart's objects, in their stages.
    Staged(Vec<(Stage, Object)>),
}

fn targets(patch: &ObjectPatch, object: &Object) -> bool {
    let target = &patch.target;
    let agrees = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    target.kind == object.id.kind.kind
        && agrees(&target.group, Some(&object.id.kind.group))
        && agrees(&target.name, Some(&object.id.name))
        && agrees(&target.namespace, object.id.namespace.as_deref())
}

/// The stage of an object that comes from a component's source.
fn source_stage(object: &Object) -> Stage {
    match (object.id.kind.group.as_str(), object.id.kind.kind.as_str()) {
        ("", "Namespace") => Stage::Namespaces,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Stage::Crds,
        ("admissionregistration.k8s.io", _) | ("apiregistration.k8s.io", "APIService") => Stage::Webhooks,
        _ => Stage::Objects,
    }
}

/// The namespace of a component, with its Pod Security Standards level.
fn namespace_object(namespace: &NamespaceSpec) -> Option<Object> {
    let level = match namespace.pod_security {
        PodSecurity::Privileged => "privileged",
        PodSecurity::Baseline => "baseline",
        PodSecurity::Restricted => "restricted",
    };
    Object::from_value(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace.name.as_str(),
            "labels": { "pod-security.kubernetes.io/enforce": level },
        },
    }))
    .ok()
}

fn message_of(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
