//! `cozy render`: the objects of components, as they would be applied, or any
//! Helm chart as `helm template` prints it.

use anyhow::Context as _;

use super::artefacts;
use super::chart;
use super::flow;
use crate::error::{Exit, Problem};
use crate::model::names::ComponentName;
use crate::plan::Stage;
use crate::render::Missing;
use crate::settings::Settings;
use crate::ui::{Format, Ui};

/// Flags of `cozy render`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The components; all when none is named
    component: Vec<ComponentName>,
    /// Stand in for charts and manifests that are not at hand, as a rehearsal does
    #[arg(long)]
    stand_in: bool,
    #[command(flatten)]
    chart: chart::ChartArgs,
}

/// Runs the command.
pub(super) fn run(args: Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { component, stand_in, chart } = args;
    if let Some(named) = chart.chart() {
        if ui.format() == Format::Json {
            let hint = "leave `--output` out: a chart is printed as Helm prints it";
            return Err(Problem::new(7003, Exit::Usage, "`render --chart` has no JSON output", hint).into());
        }
        return chart::run(named, &chart, settings, ui);
    }
    let mut loaded = flow::load(settings)?;
    let facts = flow::facts(&loaded.file.cloud, &loaded.components, None);
    flow::only(&mut loaded, &component)?;
    if let Err(signal) = artefacts::attach(&mut loaded, settings, None)? {
        return Ok(artefacts::interrupted(signal, "cozy render", ui));
    }
    let missing = if stand_in { Missing::StandIn } else { Missing::Refuse };
    let rendered = flow::rendered_with((&loaded.file, &loaded.components), &facts, missing)?;
    let objects = rendered.iter().flat_map(|component| {
        // The engine's own Secrets hold what is made up here.
        let shown = component.objects.iter().filter(|(stage, _)| *stage != Stage::Generated);
        shown.map(move |(stage, object)| (component, stage, object))
    });
    match ui.format() {
        Format::Json => {
            let items: Vec<_> = objects.map(|(_, _, object)| object.value.clone()).collect();
            ui.document(&serde_json::json!({ "schema": "cozy/v1/objects", "items": items }))?;
        }
        Format::Text | Format::Yaml => {
            for (component, stage, object) in objects {
                let text = serde_yaml::to_string(&object.value)
                    .with_context(|| format!("cannot print {}", object.id))?;
                ui.data(&format!("---\n# {}/{stage}\n{text}", component.component))?;
            }
        }
    }
    for component in rendered.iter().filter(|component| component.stood_in.is_some()) {
        let what = component.stood_in.as_deref().unwrap_or_default();
        ui.note(format!("{} is stood in for: {what} is not at hand", component.component));
    }
    Ok(Exit::Done)
}
