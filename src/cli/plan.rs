//! `cozy plan`: what would happen, and why in this order.

use super::allow::Allow;
use super::artefacts;
use super::desire;
use super::flow::{self, Loaded};
use super::secrets;
use crate::error::{Exit, Problem};
use crate::model::cloud::Provider;
use crate::plan::Plan;
use crate::plan::planner::{self, Observed};
use crate::render::Missing;
use crate::settings::Settings;
use crate::ui::diagnosis::Facts;
use crate::ui::picture::{Course, Form, Picture};
use crate::ui::{Format, Ui, graph, plan as draw, plan_json};

/// Flags of `cozy plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show each object that changes, field by field
    #[arg(long)]
    diff: bool,
    /// Write the graph with the reasons of its edges: FILE.svg, FILE.html or FILE.dot, or `-` for text
    #[arg(long, value_name = "FILE")]
    graph: Option<String>,
    /// Exit with 3 when something would change
    #[arg(long)]
    exit_code: bool,
    /// Plan against an empty cluster that is simulated, with stand-ins
    #[arg(long)]
    rehearse: bool,
    #[command(flatten)]
    allow: Allow,
}

/// Runs the command.
pub(super) fn run(args: Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { diff, graph, exit_code, rehearse, allow } = args;
    let mut loaded = flow::load(settings)?;
    flow::warn(&loaded, ui);
    let existing = loaded.file.cloud.kubernetes.provider == Provider::Existing;
    if existing && !rehearse {
        secrets::read(&mut loaded, settings)?;
    }
    // Without a cluster there is nothing to compare with: hosts are planned as if they were fresh.
    let simulated = rehearse || !existing;
    if let Err(signal) = artefacts::attach(&mut loaded, settings, (!simulated).then_some(ui))? {
        return Ok(artefacts::interrupted(signal, "cozy plan", ui));
    }
    let (plan, version) = if simulated {
        let desired = flow::desired(&loaded, flow::rendered(&loaded, Missing::StandIn)?, allow.into());
        flow::mention_idle_gates(&desired, ui);
        (
            planner::plan(&desired, &Observed::nothing(existing)).map_err(flow::no_plan)?,
            flow::version(&loaded.file.cloud),
        )
    } else {
        desire::refuse(&loaded)?;
        flow::runtime()?.block_on(observed(&loaded, settings, allow, ui))?
    };
    if simulated && !rehearse {
        ui.note("note: neither hosts nor cluster were looked at: this is the plan for servers with nothing on them");
    }
    let facts = OwnFacts::new(&loaded, &version);
    print(ui, &plan, &facts.borrow(rehearse), diff, graph.as_deref())?;
    Ok(if exit_code && !plan.is_empty() { Exit::Changes } else { Exit::Done })
}

async fn observed(
    loaded: &Loaded,
    settings: &Settings,
    allow: Allow,
    ui: &Ui,
) -> anyhow::Result<(Plan, String)> {
    let cluster = flow::connect(&loaded.file.cloud, settings).await?;
    let wanted = desire::wanted(loaded, Some(&cluster), allow.into()).await?;
    let version = wanted.version().unwrap_or_default().to_owned();
    flow::mention_idle_gates(&wanted.desired, ui);
    Ok((wanted.plan(settings.concurrency, ui).await?.0, version))
}

fn print(ui: &Ui, plan: &Plan, facts: &Facts<'_>, diff: bool, to: Option<&str>) -> anyhow::Result<()> {
    match to {
        Some("-") if ui.format() == Format::Text => return Ok(ui.data(&graph::graph_text(plan))?),
        Some("-") => {
            let hint = "the document has every edge with its reason: leave `--graph -` out";
            return Err(Problem::new(7002, Exit::Usage, "`--graph -` prints text only", hint).into());
        }
        Some(file) if std::path::Path::new(file).extension().is_some_and(|extension| extension == "dot") => {
            flow::written(file, &graph::graph_dot(plan))?;
        }
        Some(file) if matches!(Form::of(file), Some(Form::Svg | Form::Html)) => {
            let form = Form::of(file).unwrap_or(Form::Svg);
            flow::written(file, &Picture::new(plan, facts, &Course::expected(plan)).render(form)?)?;
        }
        Some(file) => {
            return Err(Problem::new(
                7002,
                Exit::Usage,
                format!("cannot write a graph as `{file}`"),
                "name a file that ends in .svg, .html or .dot, or `-` for text",
            )
            .into());
        }
        None => {}
    }
    match ui.format() {
        Format::Text => {
            ui.data(&draw::plan_text(plan, facts, ui.width()))?;
            if diff {
                ui.data(&draw::plan_diff(plan))?;
            }
        }
        Format::Json | Format::Yaml => ui.document(&plan_json::plan_json(plan))?,
    }
    Ok(())
}

/// What a plan's header says, owned.
pub(super) struct OwnFacts {
    cloud: String,
    bundle: String,
    hosts: usize,
    provider: String,
}

impl OwnFacts {
    /// Collects them.
    pub(super) fn new(loaded: &Loaded, version: &str) -> Self {
        let cloud = &loaded.file.cloud;
        let bundle = loaded.catalogue.bundles.get(&cloud.bundle);
        let provider = cloud.kubernetes.provider.as_str();
        Self {
            cloud: cloud.name.to_string(),
            bundle: bundle.map_or_else(
                || cloud.bundle.to_string(),
                |bundle| format!("{} {}", bundle.name, bundle.version),
            ),
            hosts: cloud.present_hosts().count(),
            provider: format!("{provider} {version}"),
        }
    }

    /// As the UI wants them.
    pub(super) fn borrow(&self, rehearsal: bool) -> Facts<'_> {
        Facts {
            cloud: &self.cloud,
            bundle: &self.bundle,
            hosts: self.hosts,
            provider: &self.provider,
            rehearsal,
        }
    }

    /// The first event of a run.
    pub(super) fn started(&self, plan: &Plan, rehearsal: bool) -> crate::execute::event::EventKind {
        crate::execute::event::EventKind::RunStarted {
            cloud: self.cloud.clone(),
            bundle: self.bundle.clone(),
            hosts: self.hosts,
            provider: self.provider.clone(),
            rehearsal,
            stood_in: plan.stood_in.clone(),
            components: plan.components().into_iter().map(str::to_owned).collect(),
            counts: plan.counts(),
            expected: plan.expected,
        }
    }
}
