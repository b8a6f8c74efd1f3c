//! Components that are Helm charts: the values template, the chart itself, and
//! its hooks as stages of their own.

use bytes::Bytes;
use cozy_chart::{Event, KubeVersion, Limits, Release, ValueSource, Values};
use serde_json::{Value, json};

use super::job::{Job, Traces, source_stage};
use super::world::World;
use super::{Missing, RenderError, stand_in, yaml};
use crate::model::artefact::Digest;
use crate::model::component::Chart;
use crate::model::object::Object;
use crate::plan::Stage;

impl Job<'_> {
    /// The objects of a chart that is at hand.
    pub(super) fn chart(
        &self,
        chart: &Chart,
        bytes: &Bytes,
        traces: &mut Traces,
    ) -> Result<Vec<(Stage, Object)>, RenderError> {
        let component = &self.resolved.component;
        let fail = |problem: String| self.error(2020, "component.yaml", None, problem);
        let broken =
            |error: cozy_chart::Error| fail(format!("chart {} {}: {error}", chart.name, chart.version));
        let values = match &component.source.values {
            Some(name) => self.rendered_text(name)?,
            None => String::new(),
        };
        let raw = Value::Object(self.resolved.values.clone()).to_string();
        let name = component.source.values.as_deref().unwrap_or("values");
        let sources = [ValueSource::File(name, &values), ValueSource::File("components.values", &raw)];
        let values = Values::read(&sources).map_err(broken)?;
        let namespace = component.namespace.as_ref().map_or("default", |namespace| namespace.name.as_str());
        let mut release = Release::new(component.name.as_str(), namespace);
        if let Some(version) = self.kubernetes() {
            release.capabilities.kube = KubeVersion::parse(&version).map_err(&fail)?;
        }
        let loaded = cozy_chart::Chart::from_archive(bytes, &Limits::default()).map_err(broken)?;
        release.capabilities.api_versions = self.apis.iter().cloned().collect();
        let inputs = json!([Digest::of(bytes), release.name, namespace, values.to_json().map_err(&fail)?]);
        let mut world = World::new(&component.name, self.known, Digest::of(inputs.to_string().as_bytes()));
        (release.revision, release.is_upgrade) = (world.kept.revision, world.kept.revision > 1);
        let rendered = cozy_chart::render(&loaded, &values, &release, &mut world);
        let World { kept, used, asked, .. } = world;
        traces.asked = asked;
        let secret = kept.object(&component.name, &used);
        // Also where rendering failed, so that the error is masked.
        let secret = secret.map(|secret| traces.kept.insert((kept, secret)));
        let rendered = rendered.map_err(broken)?;
        secret.map_err(|size| {
            let what = format!("chart {} {} generates values", chart.name, chart.version);
            self.error(
                2022,
                "component.yaml",
                None,
                format!("{what} of {size} bytes, more than a Secret holds"),
            )
        })?;
        let crds = rendered.crds.iter().map(|crd| (None, crd.path.as_str(), crd.text.as_str()));
        let manifests = rendered.manifests.iter().map(|one| (None, one.path.as_str(), one.text.as_str()));
        let hooks = rendered.hooks.iter().filter_map(|hook| {
            let stage = hook_stage(&hook.events)?;
            Some((Some(stage), hook.manifest.path.as_str(), hook.manifest.text.as_str()))
        });
        let mut objects = Vec::new();
        for (stage, path, text) in crds.chain(manifests).chain(hooks) {
            let documents =
                yaml::read(text).map_err(|error| self.error(2005, path, Some(error.line), error.problem))?;
            let found = self.objects(path, documents, "of what it renders")?;
            objects.extend(
                found.into_iter().map(|object| (stage.unwrap_or_else(|| source_stage(&object)), object)),
            );
        }
        if self.known.missing == Missing::StandIn {
            // Kinds that the component's operator defines when it runs.
            let known: Vec<_> = objects.iter().filter_map(|(_, object)| object.defines()).collect();
            let made = stand_in::objects(component).into_iter();
            let kinds = made.filter(|object| object.defines().is_some_and(|kind| !known.contains(&kind)));
            objects.extend(kinds.map(|object| (Stage::Crds, object)));
        }
        Ok(objects)
    }

    /// The Kubernetes version that templates see.
    fn kubernetes(&self) -> Option<String> {
        let (_, cluster) = self.facts.iter().find(|(name, _)| *name == "cluster")?;
        let version = cluster.get_attr("version").ok()?;
        version.as_str().map(str::to_owned)
    }
}

/// When a hook takes its turn in an installation; `None`: never.
fn hook_stage(events: &[Event]) -> Option<Stage> {
    if events.contains(&Event::PreInstall) {
        Some(Stage::PreInstall)
    } else if events.contains(&Event::PostInstall) {
        Some(Stage::PostInstall)
    } else {
        None
    }
}
