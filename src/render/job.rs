//! The rendering of one component: its templates, its source, the user's
//! patches, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind};
use serde_json::{Value, json};

use super::world::Lookup;
use super::{Known, Missing, Refused, RenderError, Rendered, limits, patch, scope, stand_in, template, yaml};
use crate::code::Code;
use crate::model::artefact::Digest;
use crate::model::component::{NamespaceSpec, PodSecurity, Resolved};
use crate::model::kept::Kept;
use crate::model::kinds;
use crate::model::mask::Masks;
use crate::model::object::Object;
use crate::model::secret;
use crate::plan::Stage;

/// The rendering of one component.
pub(super) struct Job<'a> {
    pub(super) resolved: &'a Resolved,
    pub(super) environment: &'a Environment<'static>,
    pub(super) facts: &'a [(&'a str, minijinja::Value)],
    pub(super) known: &'a Known,
    /// The API versions that a chart sees.
    pub(super) apis: &'a BTreeSet<String>,
}

/// What a component's chart has to do with the world.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// What is kept of it, with the Secret.
    pub(super) kept: Option<(Kept, Object)>,
    /// What it asked of a cluster, and was not told.
    pub(super) asked: BTreeSet<Lookup>,
    /// Its hooks that have no turn now.
    pub(super) idle: Vec<Object>,
}

/// One component rendered, or why not, with what its chart asked of a cluster.
pub(super) type Done = (Result<Rendered, Vec<RenderError>>, BTreeSet<Lookup>);

impl Job<'_> {
    pub(super) fn run(&self) -> Done {
        let mut traces = Traces::default();
        let rendered = self.rendered(&mut traces);
        (rendered, traces.asked)
    }

    fn rendered(&self, traces: &mut Traces) -> Result<Rendered, Vec<RenderError>> {
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
                Err(mut found) => errors.append(&mut found),
            }
        }
        match self.source(traces) {
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
                Err(mut found) => errors.append(&mut found),
            }
        }
        errors.extend(patch::apply(self.resolved, &mut objects));
        errors.extend(objects.iter().filter_map(|(_, object)| self.leak(object)));
        let placed = objects.iter_mut().map(|(_, object)| object).chain(&mut traces.idle);
        errors.extend(placed.filter_map(|object| self.misplaced(object)));
        let kept = traces.kept.take();
        if !errors.is_empty() {
            let masks = Masks::of_texts(kept.iter().flat_map(|(kept, _)| kept.secrets()));
            for error in &mut errors {
                error.problem = masks.mask(&error.problem);
            }
            return Err(errors);
        }
        for (_, object) in &mut objects {
            self.leave_to_others(object);
        }
        let (kept, secret) = kept.unzip();
        objects.extend(secret.map(|secret| (Stage::Generated, secret)));
        objects.sort_by_key(|(stage, _)| *stage);
        let objects = objects.into_iter().map(|(stage, object)| (stage, Arc::new(object))).collect();
        let idle = std::mem::take(&mut traces.idle).into_iter().map(Arc::new).collect();
        Ok(Rendered { component: component.name.clone(), objects, stood_in, kept, idle })
    }

    fn context(&self) -> minijinja::Value {
        let component = &self.resolved.component;
        let namespace = component.namespace.as_ref().map(|namespace| namespace.name.as_str());
        let own = [
            ("settings", self.settings()),
            ("namespace", minijinja::Value::from(Serde(namespace))),
            ("component", minijinja::Value::from(component.name.as_str())),
        ];
        let all: BTreeMap<&str, minijinja::Value> = self.facts.iter().cloned().chain(own).collect();
        minijinja::Value::from_pairs(all)
    }

    /// The settings, with the secrets among them.
    fn settings(&self) -> minijinja::Value {
        if self.resolved.secrets.is_empty() {
            return minijinja::Value::from(Serde(&self.resolved.settings));
        }
        let mut settings = Value::Object(self.resolved.settings.clone());
        self.resolved.secrets.iter().for_each(|secret| secret.put(&mut settings));
        minijinja::Value::from(Serde(settings))
    }

    pub(super) fn error(&self, code: u16, file: &str, line: Option<u64>, problem: String) -> RenderError {
        RenderError {
            code: Code(code),
            component: self.resolved.component.name.clone(),
            file: Some(file.to_owned()),
            line,
            in_cloud: None,
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
        std::str::from_utf8(bytes).map_err(|error| {
            let read = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = read.split(|byte| *byte == b'\n').count() as u64;
            let mut error = self.error(2002, name, Some(line), "the file is not UTF-8".to_owned());
            error.hint = Some("save it as UTF-8".to_owned());
            error
        })
    }

    /// A template's text; or all expressions that are glued to others, and why it cannot be rendered.
    fn rendered_with(&self, name: &str, context: &minijinja::Value) -> Result<String, Vec<RenderError>> {
        let source = self.text(name).map_err(|error| vec![error])?;
        let faults = template::check(source).into_iter().map(|fault| {
            let mut error = self.error(2003, name, Some(fault.line as u64), fault.problem);
            error.hint = Some(fault.fix);
            error
        });
        let mut errors: Vec<RenderError> = faults.collect();
        match self.evaluated(name, source, context) {
            Ok(text) if errors.is_empty() => Ok(text),
            Ok(_) => Err(errors),
            Err(error) => {
                errors.push(error);
                Err(errors)
            }
        }
    }

    fn evaluated(&self, name: &str, source: &str, context: &minijinja::Value) -> Result<String, RenderError> {
        let failed = |error: &minijinja::Error| {
            let line = error.line().map(|line| line as u64);
            let mut failed = self.error(2004, name, line, message_of(error));
            failed.hint = hint_of(error).map(str::to_owned);
            failed
        };
        let full = |problem: String| {
            let mut error = self.error(2004, name, None, problem);
            error.hint = Some("render less: what is this long is read by nobody".to_owned());
            error
        };
        let template =
            self.environment.template_from_named_str(name, source).map_err(|error| failed(&error))?;
        let mut output = limits::Output::with_capacity(source.len());
        let written = template.render_captured_to(context, &mut output);
        if output.is_full() || written.as_ref().is_err_and(limits::TooLong::is) {
            return Err(full(limits::TooLong.to_string()));
        }
        written.map_err(|error| failed(&error))?;
        output.text().map_err(full)
    }

    /// A template's text with what every template sees.
    pub(super) fn rendered_text(&self, name: &str) -> Result<String, RenderError> {
        self.rendered_with(name, &self.context()).map_err(|mut errors| errors.swap_remove(0))
    }

    fn template(&self, name: &str, context: &minijinja::Value) -> Result<Vec<Object>, Vec<RenderError>> {
        let text = self.rendered_with(name, context)?;
        let documents = yaml::read(&text).map_err(|error| {
            let shown =
                text.lines().nth(usize::try_from(error.line).unwrap_or(1).saturating_sub(1)).unwrap_or("");
            let problem = format!(
                "what it renders is not YAML: line {} of the output, `{}`: {}",
                error.line,
                shortened(shown.trim()),
                error.problem
            );
            let mut error = self.error(2005, name, None, problem);
            error.hint = Some("check its indentation, and what `{% … %}` leaves out around it".to_owned());
            vec![error]
        })?;
        self.objects(name, documents, "of the output").map_err(|error| vec![error])
    }

    pub(super) fn objects(
        &self,
        name: &str,
        documents: Vec<yaml::Document>,
        of: &str,
    ) -> Result<Vec<Object>, RenderError> {
        let mut objects = Vec::with_capacity(documents.len());
        for yaml::Document { line, value } in documents {
            let fail = |problem: String| {
                let mut error = self.error(2006, name, None, format!("line {line} {of}: {problem}"));
                let hint = "each document is one object, with `apiVersion`, `kind` and `metadata.name`";
                error.hint = Some(hint.to_owned());
                error
            };
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

    fn source(&self, traces: &mut Traces) -> Result<Sourced, RenderError> {
        let component = &self.resolved.component;
        if let Some(manifest) = &component.source.manifest {
            if let Some(file) = &manifest.file {
                let found = Digest::of(self.text(file)?.as_bytes()).to_string();
                if found != manifest.sha256 {
                    let problem = format!("the sha256 of {file} is {found}, not {}", manifest.sha256);
                    let mut error = self.error(2007, "component.yaml", self.line_of("sha256:"), problem);
                    error.hint = Some("if the change is wanted, write the new digest here".to_owned());
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
                return self.chart(chart, bytes, traces).map(Sourced::Staged);
            }
            return self.not_at_hand(&format!("chart {} {}", chart.name, chart.version));
        }
        Ok(Sourced::Objects(Vec::new()))
    }

    /// The line of component.yaml that a key stands on.
    fn line_of(&self, key: &str) -> Option<u64> {
        let text = std::str::from_utf8(self.resolved.files.get("component.yaml")?).ok()?;
        text.lines().position(|line| line.contains(key)).map(|line| line as u64 + 1)
    }

    fn not_at_hand(&self, what: &str) -> Result<Sourced, RenderError> {
        match self.known.missing {
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
        if object.id.kind.is("", "Secret") {
            return None;
        }
        let secret = secret::found_in(&object.value, &self.resolved.secrets)?;
        Some(RenderError {
            code: Code(2013),
            component: self.resolved.component.name.clone(),
            file: None,
            line: None,
            in_cloud: None,
            problem: format!("the secret setting `{}` ends up in {}", secret.name(), object.id),
            hint: Some("put it into a Secret, and refer to that".to_owned()),
        })
    }

    /// Puts an object of a built-in kind where it belongs, or says why it belongs nowhere.
    fn misplaced(&self, object: &mut Object) -> Option<RenderError> {
        let component = &self.resolved.component;
        let namespace = component.namespace.as_ref().map(|namespace| namespace.name.as_str());
        let scope = kinds::built_in(&object.id.kind)?;
        scope::placed(object, scope, namespace, &component.name).err()
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
}

enum Sourced {
    Objects(Vec<Object>),
    StoodIn(String),
    /// A chart's objects, in their stages.
    Staged(Vec<(Stage, Object)>),
}

/// The stage of an object that comes from a component's source.
pub(super) fn source_stage(object: &Object) -> Stage {
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

pub(super) fn message_of(error: &minijinja::Error) -> String {
    let refused = std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<Refused>);
    match error.detail() {
        Some(detail) if refused => detail.to_owned(),
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// What to do about a template that cannot be rendered.
fn hint_of(error: &minijinja::Error) -> Option<&'static str> {
    let refused = std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<Refused>);
    if refused {
        return None;
    }
    match error.kind() {
        ErrorKind::UndefinedError => Some(
            "templates see `cloud`, `cluster`, `network`, `storage`, `components`, `settings`, `namespace` \
             and `component`; a setting needs a default in the schema",
        ),
        ErrorKind::OutOfFuel => {
            Some("let loops and macros end sooner: nothing that is read takes that many steps")
        }
        ErrorKind::TemplateNotFound | ErrorKind::BadInclude => Some(
            "a template stands alone, without `include`, `import` and `extends`: write out what it needs",
        ),
        ErrorKind::UnknownFunction
        | ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownMethod => {
            Some("templates have what https://docs.rs/minijinja lists, and `fail` and `text`")
        }
        ErrorKind::SyntaxError => Some("check `{{`, `{%` and what ends them here and above"),
        _ if error.detail().is_some_and(|detail| detail.contains("recursion limit")) => {
            Some("let the macro, or the recursive loop, end")
        }
        _ => None,
    }
}

/// A line of output for an error: its beginning, where it is long.
fn shortened(line: &str) -> String {
    const MOST: usize = 120;
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
