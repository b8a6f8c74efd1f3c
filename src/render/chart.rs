//! Components that are Helm charts: the values template, the chart itself, and
//! its hooks as stages of their own.

use bytes::Bytes;
use cozy_chart::{KubeVersion, Limits, Release, ValueSource, Values};
use serde_json::json;

use super::hooks;
use super::job::{Job, Traces, source_stage};
use super::world::World;
use super::{RenderError, yaml};
use crate::model::artefact::{Artefact, Digest};
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
        let broken = |error: cozy_chart::Error| {
            let mut broken = fail(format!("chart {} {}: {error}", chart.name, chart.version));
            if let cozy_chart::Error::Elsewhere { urls, .. } = &error {
                let place = urls.first().map(|url| Artefact::schema(url).id.path()).unwrap_or_default();
                broken.hint = Some(format!(
                    "`cozy fetch` fetches and locks it; without a way there, put it into the mirror, as `{place}`"
                ));
            }
            broken
        };
        let values = match &component.source.values {
            Some(name) => self.rendered_text(name)?,
            None => String::new(),
        };
        let name = component.source.values.as_deref().unwrap_or("values");
        let read = Values::read(&[ValueSource::File(name, values.as_bytes())]).map_err(broken)?;
        let values = read.with_json(self.resolved.values.clone());
        let namespace = component.namespace.as_ref().map_or("default", |namespace| namespace.name.as_str());
        let mut release = Release::new(component.name.as_str(), namespace);
        if let Some(version) = self.kubernetes() {
            release.capabilities.kube = KubeVersion::parse(&version).map_err(&fail)?;
        }
        let loaded = cozy_chart::Chart::from_archive(bytes, &Limits::default()).map_err(broken)?;
        release.capabilities.api_versions = self.apis.iter().cloned().collect();
        let inputs = json!([Digest::of(bytes), release.name, namespace, values.to_json().map_err(&fail)?]);
        let mut world = World::new(self.resolved, self.known, Digest::of(inputs.to_string().as_bytes()));
        (release.revision, release.is_upgrade) = (world.kept.revision, world.kept.revision > 1);
        let rendered = cozy_chart::render(&loaded, &values, &release, &mut world);
        let World { mut kept, used, asked, .. } = world;
        traces.asked = asked;
        if let Ok(rendered) = &rendered {
            let own = hooks::turns(&rendered.hooks, release.is_upgrade)
                .into_iter()
                .filter(|turn| turn.stage.is_some());
            kept.hooks = own.map(|turn| turn.name()).collect();
        }
        let revision = kept.revision;
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
        let mut objects = Vec::new();
        for (stage, path, text) in crds.chain(manifests) {
            let documents =
                yaml::read(text).map_err(|error| self.error(2005, path, Some(error.line), error.problem))?;
            let found = self.objects(path, documents, "of what it renders")?;
            objects.extend(
                found.into_iter().map(|object| (stage.unwrap_or_else(|| source_stage(&object)), object)),
            );
        }
        for turn in hooks::turns(&rendered.hooks, release.is_upgrade) {
            let hook = turn.hook;
            if turn.runs_twice() {
                let what =
                    format!("{} {} is a hook before and after", hook.manifest.kind, hook.manifest.name);
                let mut error =
                    self.error(2024, &hook.manifest.path, None, format!("{what}: it can run once"));
                error.hint = Some("render it as two hooks with different names".to_owned());
                return Err(error);
            }
            let documents = yaml::read(&hook.manifest.text)
                .map_err(|error| self.error(2005, &hook.manifest.path, Some(error.line), error.problem))?;
            for mut object in self.objects(&hook.manifest.path, documents, "of what it renders")? {
                match turn.stage {
                    Some(stage) => {
                        hooks::mark(&mut object, revision);
                        objects.push((stage, object));
                    }
                    None => traces.idle.push(object),
                }
            }
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
