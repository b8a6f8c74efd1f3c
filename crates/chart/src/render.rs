//! From a chart and values to manifests: what Helm does between `helm template`
//! and its output (Helm's `action/install.go` and `engine/engine.go`).

mod schema;

pub use schema::schema_weight;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::capabilities::Capabilities;
use crate::chart::{Chart, dependencies};
use crate::environment::Environment;
use crate::error::Error;
use crate::exec::{Engine, without_no_value};
use crate::funcs::semver::{Constraint, Version};
use crate::limits::Limits;
use crate::manifest::{self, Crd, Rendered};
use crate::object::Object;
use crate::value::{Entries, MapKind, Value};
use crate::values::{Values, coalesce};

/// The release that a chart is rendered for.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Whether it is an upgrade, not an installation.
    pub is_upgrade: bool,
    /// What `.Release.Revision` says; `helm template` says 1, also of upgrades.
    pub revision: u32,
    /// What templates are told of the cluster.
    pub capabilities: Capabilities,
    /// `--skip-schema-validation`
    pub skip_schema: bool,
    /// What the chart may cost.
    pub limits: Limits,
}

impl Release {
    /// A release as `helm template NAME --namespace NAMESPACE` has it.
    pub fn new(name: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            is_upgrade: false,
            revision: 1,
            capabilities: Capabilities::default(),
            skip_schema: false,
            limits: Limits::default(),
        }
    }
}

/// Renders a chart.
///
/// # Errors
/// Where Helm refuses the chart, the values or a template, or a limit is reached.
pub fn render(
    chart: &Chart,
    values: &Values,
    release: &Release,
    environment: &mut dyn Environment,
) -> Result<Rendered, Error> {
    check_name(&release.name)?;
    if chart.metadata.kind == "library" {
        return Err(Error::Chart {
            chart: chart.name().to_owned(),
            problem: "library charts are not installable".to_owned(),
        });
    }
    dependencies::check_present(chart)?;
    let mut chart = chart.clone();
    dependencies::process(&mut chart, &values.0)?;
    let merged = coalesce::values(&chart, &values.0, false)?;
    if !release.skip_schema {
        schema::check(&chart, &merged, &mut |url| environment.schema(url))?;
    }
    check_kube(&chart, &release.capabilities)?;
    let mut scope = Scope {
        release: Value::map_from([
            ("Name", Value::text(&release.name)),
            ("Namespace", Value::text(&release.namespace)),
            ("IsUpgrade", Value::Bool(release.is_upgrade)),
            ("IsInstall", Value::Bool(!release.is_upgrade)),
            ("Revision", Value::Int(i64::from(release.revision))),
            ("Service", Value::text("Helm")),
        ]),
        capabilities: release.capabilities.to_value(),
        templates: BTreeMap::new(),
        crds: Vec::new(),
    };
    scope.chart(&chart, None, &merged);
    let crds = std::mem::take(&mut scope.crds);
    let mut files = execute(scope.templates, environment, &release.limits)?;
    let notes_path = format!("{}/templates/NOTES.txt", chart.name());
    let notes = files.iter().find(|(path, _)| **path == *notes_path).map(|(_, text)| text.clone());
    files.retain(|(path, _)| !path.ends_with("NOTES.txt"));
    let (manifests, hooks) = manifest::sort(&files)?;
    Ok(Rendered { crds, manifests, hooks, notes: notes.unwrap_or_default() })
}

/// Refuses names that Helm refuses.
fn check_name(name: &str) -> Result<(), Error> {
    let label = |label: &str| {
        let end =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let bytes = label.as_bytes();
        end(bytes.first())
            && end(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
    };
    if name.len() <= 53 && name.split('.').all(label) {
        return Ok(());
    }
    Err(Error::Values(format!(
        "release name {name:?} is invalid: it has at most 53 small letters, digits, `-` and `.`, and starts and ends with a letter or digit"
    )))
}

fn check_kube(chart: &Chart, capabilities: &Capabilities) -> Result<(), Error> {
    let wanted = &chart.metadata.kube_version;
    if wanted.is_empty() {
        return Ok(());
    }
    let fits = match (Constraint::parse(wanted), Version::parse(&capabilities.kube.normalized)) {
        (Ok(constraint), Ok(version)) => constraint.allows(&version),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let problem = format!(
        "it requires kubeVersion: {wanted} which is incompatible with Kubernetes {}",
        capabilities.kube.version
    );
    Err(Error::Chart { chart: chart.name().to_owned(), problem })
}

/// A template with what it sees.
struct Renderable {
    source: Rc<[u8]>,
    data: Value,
    base: Value,
}

/// Collects the templates of a chart and its subcharts.
struct Scope {
    release: Value,
    capabilities: Value,
    templates: BTreeMap<Rc<str>, Renderable>,
    crds: Vec<Crd>,
}

impl Scope {
    /// Helm's `recAllTpls`: answers what the chart's templates see.
    fn chart(&mut self, chart: &Chart, parent: Option<(&str, &Value)>, root_values: &Value) -> Value {
        let path = match parent {
            Some((around, _)) => {
                format!("{}/charts/{}", chart.above.as_deref().unwrap_or(around), chart.name())
            }
            None => chart.name().to_owned(),
        };
        let values = match parent {
            None => Some(root_values.clone()),
            Some((_, scope)) => crate::values::path(scope, &format!("Values.{}", chart.name()))
                .filter(|values| values.as_map().is_some()),
        };
        let values = values
            .map_or_else(|| Value::map_of(MapKind::Values, Entries::new()), |values| values.as_values());
        let files =
            chart.files.iter().map(|file| (Rc::from(file.path.as_str()), Rc::clone(&file.data))).collect();
        let subcharts = Value::map(Entries::new());
        let data = Value::map_from([
            ("Chart", chart.metadata.to_value(parent.is_none())),
            ("Files", Value::Object(Rc::new(Object::Files(files)))),
            ("Release", self.release.clone()),
            ("Capabilities", self.capabilities.clone()),
            ("Values", values),
            ("Subcharts", subcharts.clone()),
        ])
        .as_values();
        for file in &chart.files {
            let name = file.path.to_ascii_lowercase();
            if file.path.starts_with("crds/")
                && [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
            {
                let text = String::from_utf8_lossy(&file.data).into_owned();
                self.crds.push(Crd { path: format!("{path}/{}", file.path), text });
            }
        }
        for subchart in &chart.dependencies {
            let below = self.chart(subchart, Some((&path, &data)), root_values);
            if let Some(map) = subcharts.as_map() {
                map.set(subchart.name(), below.as_plain());
            }
        }
        let base = Value::text(format!("{path}/templates"));
        let is_library = chart.metadata.kind.eq_ignore_ascii_case("library");
        for template in &chart.templates {
            let file = template.path.rsplit('/').next().unwrap_or_default();
            if is_library && !file.starts_with('_') {
                continue;
            }
            let renderable =
                Renderable { source: Rc::clone(&template.data), data: data.clone(), base: base.clone() };
            self.templates.insert(Rc::from(format!("{path}/{}", template.path)), renderable);
        }
        data
    }
}

/// Executes all templates; answers the files that they render, by path.
fn execute(
    templates: BTreeMap<Rc<str>, Renderable>,
    environment: &mut dyn Environment,
    limits: &Limits,
) -> Result<Vec<(Rc<str>, String)>, Error> {
    // The deepest first, so that a chart's definitions win over its subcharts'; else the last by name.
    let mut order: Vec<(Rc<str>, Renderable)> = templates.into_iter().rev().collect();
    order.sort_by_cached_key(|(path, _)| Reverse(path.matches('/').count()));
    let mut engine = Engine::new(environment, limits);
    // Bytes that are not UTF-8 are read as U+FFFD. They may stand in comments,
    // but not in what is rendered.
    let mut damaged = false;
    for (path, renderable) in &order {
        let source = String::from_utf8_lossy(&renderable.source);
        damaged |= matches!(source, Cow::Owned(_));
        engine.read(path, &source)?;
    }
    let [template, name, base] = ["Template", "Name", "BasePath"].map(Rc::<str>::from);
    let mut files = Vec::new();
    for (path, renderable) in &order {
        if path.rsplit('/').next().is_some_and(|file| file.starts_with('_')) {
            continue;
        }
        if let Some(map) = renderable.data.as_map() {
            let own = [
                (Rc::clone(&base), renderable.base.clone()),
                (Rc::clone(&name), Value::Text(Rc::clone(path))),
            ];
            map.set(Rc::clone(&template), Value::map_of(MapKind::Values, own.into_iter().collect()));
        }
        let out = without_no_value(engine.render(path, &renderable.data)?);
        let text = match String::from_utf8(out) {
            Ok(text) if !damaged || path.ends_with("NOTES.txt") || !text.contains('\u{fffd}') => text,
            Err(error) if path.ends_with("NOTES.txt") => {
                String::from_utf8_lossy(error.as_bytes()).into_owned()
            }
            Ok(_) | Err(_) => {
                let problem = "invalid leading UTF-8 octet: it has bytes that are not UTF-8".to_owned();
                return Err(Error::Rendered { file: path.to_string(), problem });
            }
        };
        files.push((Rc::clone(path), text));
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files)
}
