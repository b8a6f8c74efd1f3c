//! What the benches measure: made-up clouds of a given size, through the
//! same functions that every command uses.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use serde_json::{Map, json};

use crate::execute::event::{Event, EventKind, Outcome, Reporter};
use crate::execute::run::Options;
use crate::model::component::{Component, Resolved};
use crate::plan::Plan;
use crate::plan::planner::{Allowed, Desired, DesiredComponent, Observed, plan};
use crate::rehearsal::faults::Faults;
use crate::rehearsal::{Rehearsal, Script, SimulatedNode};
use crate::render::{Known, Missing, render};

/// A cloud of many components.
pub struct Input {
    components: Vec<Resolved>,
}

/// Ten objects: a namespace, a Deployment, and what usually stands beside one.
const TEMPLATE: &str = r"apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ component }}
  labels: { app: {{ component }} }
spec:
  replicas: {{ settings.replicas }}
  selector: { matchLabels: { app: {{ component }} } }
  template:
    metadata: { labels: { app: {{ component }} } }
    spec:
      serviceAccountName: {{ component }}
      securityContext: { runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: main
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
          readinessProbe: { httpGet: { path: /, port: 80 } }
          image: {{ 'registry.example/' ~ component ~ ':1.0.0' }}
          envFrom:
            - configMapRef: { name: config-0 }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: {{ component }} }
---
apiVersion: v1
kind: Service
metadata: { name: {{ component }} }
spec:
  selector: { app: {{ component }} }
  ports: [{ port: 80 }]
{% for number in range(6) %}
---
apiVersion: v1
kind: ConfigMap
metadata: { name: {{ 'config-' ~ number }} }
data: { cloud: {{ cloud.name }}, number: {{ 'n' ~ number }} }
{% endfor %}
";

/// Makes a cloud of `count` components with ten objects each; every tenth needs the one before.
///
/// # Panics
/// Never: its input is constant.
pub fn input(count: usize) -> Input {
    let components = (0..count)
        .map(|number| {
            let needs = if number % 10 == 9 { vec![format!("c{}", number - 1)] } else { Vec::new() };
            let component: Component = serde_json::from_value(json!({
                "apiVersion": "cozy/v1", "kind": "Component", "name": format!("c{number}"), "summary": "x",
                "category": "x", "version": "1", "namespace": { "name": format!("ns-{number}") },
                "source": { "templates": ["all.yaml.j2"] }, "needs": needs,
            }))
            .expect("a constant component is well-formed");
            Resolved {
                component,
                settings: [("replicas".to_owned(), json!(2))].into_iter().collect(),
                secrets: Vec::new(),
                values: Map::new(),
                patches: Vec::new(),
                files: BTreeMap::from([("all.yaml.j2".to_owned(), Cow::Borrowed(TEMPLATE.as_bytes()))]),
                folder: "templates/".to_owned(),
                artefact: None,
                schemas: BTreeMap::new(),
            }
        })
        .collect();
    Input { components }
}

/// What a bench made.
pub struct Planned {
    plan: Plan,
    desired: Desired,
}

/// Takes no notice of anything.
struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event) {}
}

impl Planned {
    /// How many objects are created.
    pub fn objects(&self) -> usize {
        self.plan.counts().create
    }

    /// Runs the plan on a simulated cluster of three nodes; says whether all became ready.
    ///
    /// # Panics
    /// Never: the simulated cluster is always there.
    pub fn rehearse(&self) -> bool {
        let rehearsal = Rehearsal {
            nodes: SimulatedNode::some(3),
            script: Script::new(&self.plan, &self.desired, [], Faults::default()),
            started: EventKind::Warning { message: String::new() },
            options: Options { concurrency: 32, force_conflicts: false, timeout: None, cloud: None },
            signal: std::future::pending().boxed(),
        };
        let rehearsed = rehearsal.run(&self.plan, &Silent).expect("the simulated cluster is always there");
        rehearsed.finished.outcome == Outcome::Done
    }
}

/// Renders and plans.
///
/// # Panics
/// Never: its input is constant.
pub fn render_and_plan(input: &Input) -> Planned {
    let facts = [("cloud".to_owned(), json!({ "name": "bench" }))].into_iter().collect();
    let rendered = render(&input.components, &facts, &Known::nothing(Missing::Refuse)).result;
    let rendered = rendered.expect("a constant template renders");
    let components = input
        .components
        .iter()
        .zip(rendered)
        .map(|(resolved, rendered)| DesiredComponent {
            namespace: None,
            name: rendered.component,
            objects: rendered.objects,
            needs: resolved.component.needs.clone(),
            ignore_edges: Vec::new(),
            provides: resolved.component.provides.clone(),
            gates: Vec::new(),
            expect: resolved.component.expect.0,
            deadline: resolved.component.deadline.0,
            may_be_empty: false,
            grace: None,
            stood_in: false,
            idle: Vec::new(),
        })
        .collect();
    let desired = Desired {
        cloud: None,
        hosts: Vec::new(),
        components,
        autoscaled: BTreeSet::new(),
        allowed: Allowed::default(),
        load_balancer_pool: true,
        unwanted: std::collections::BTreeSet::new(),
    };
    let plan = plan(&desired, &Observed::default()).expect("a constant cloud has a plan");
    Planned { plan, desired }
}

#[cfg(test)]
mod tests {
    use super::{input, render_and_plan};

    #[test]
    fn the_measured_cloud_is_whole_and_becomes_ready() {
        let planned = render_and_plan(&input(3));
        assert_eq!(planned.objects(), 30);
        assert!(planned.rehearse());
    }
}
