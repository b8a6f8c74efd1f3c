//! What waits for what in a plan, and why: as text, and for graphviz.

use crate::plan::{Blocks, Edge, Milestone, Plan};

use super::plan::{is_critical, step_name};
use super::text::{clean, push_line};

/// Each step with what it waits for; `◆` marks the critical path.
pub(crate) fn graph_text(plan: &Plan) -> String {
    let mut out = String::new();
    for index in 0..plan.steps.len() {
        let mark = if plan.critical_path.contains(&index) { '◆' } else { '·' };
        push_line(&mut out, &format!("{mark} {}", step_name(plan, index)));
        for edge in plan.edges.iter().filter(|edge| edge.to == index) {
            push_line(&mut out, &format!("    {}", sentence(plan, edge)));
        }
        for edge in plan.dropped.iter().filter(|edge| edge.to == index) {
            push_line(&mut out, &format!("    (not waited for, a cycle) {}", sentence(plan, edge)));
        }
    }
    out
}

fn sentence(plan: &Plan, edge: &Edge) -> String {
    let blocks = match edge.blocks {
        Blocks::Apply => "starts",
        Blocks::Ready => "is ready",
    };
    let milestone = match edge.milestone {
        Milestone::Applied => "is applied",
        Milestone::Ready => "is ready",
    };
    let (from, reason) = (step_name(plan, edge.from), clean(&edge.reason.to_string()));
    format!("{blocks} after {from} {milestone}: {reason}")
}

/// The graph in graphviz' language: bold is the critical path, dashed holds
/// back only readiness, dotted was left out.
pub(crate) fn graph_dot(plan: &Plan) -> String {
    let mut out = "digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n".to_owned();
    for index in 0..plan.steps.len() {
        let style = if plan.critical_path.contains(&index) { " [penwidth=3]" } else { "" };
        push_line(&mut out, &format!("  {}{style};", quoted(&step_name(plan, index))));
    }
    for edge in &plan.edges {
        let mut style = match edge.blocks {
            Blocks::Apply => String::new(),
            Blocks::Ready => ", style=dashed".to_owned(),
        };
        if is_critical(plan, edge) {
            style.push_str(", penwidth=3");
        }
        out.push_str(&dot_edge(plan, edge, &style));
    }
    for edge in &plan.dropped {
        out.push_str(&dot_edge(plan, edge, ", style=dotted, constraint=false"));
    }
    out.push_str("}\n");
    out
}

fn dot_edge(plan: &Plan, edge: &Edge, style: &str) -> String {
    let (from, to) = (quoted(&step_name(plan, edge.from)), quoted(&step_name(plan, edge.to)));
    format!("  {from} -> {to} [label={}{style}];\n", quoted(&clean(&edge.reason.to_string())))
}

/// A quoted graphviz identifier. Backslashes are doubled: in labels they
/// would be escapes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::plan::Reason;
    use insta::assert_snapshot;

    #[test]
    fn the_graph_as_text() {
        assert_snapshot!(graph_text(&samples::plan()), @"
            ◆ kubernetes/node-1/init
            ◆ cert-manager/crds
                starts after kubernetes/node-1/init is ready: there is no API server before
            ◆ cert-manager/objects
                starts after cert-manager/crds is ready: stages go in order
                starts after kubernetes/node-1/init is ready: there is no API server before
                (not waited for, a cycle) is ready after issuers/resources is applied: Deployment cert-manager/cert-manager uses CustomResourceDefinition issuers.cert-manager.io
            ◆ issuers/resources
                starts after cert-manager/crds is ready: ClusterIssuer cozy is a ClusterIssuer.cert-manager.io
                is ready after cert-manager/objects is applied: ClusterIssuer cozy uses Deployment cert-manager/cert-manager
                starts after cert-manager/objects is ready: needs: cert-manager
            · multus/objects
                starts after kubernetes/node-1/init is ready: there is no API server before
            · issuers/prune
                starts after issuers/resources is ready: what is used goes after what uses it
        ");
    }

    #[test]
    fn the_graph_for_graphviz() {
        let mut plan = samples::plan();
        plan.edges[5].reason = Reason::Needs("a \"quoted\\\" name\n\u{1b}[2J".to_owned());
        assert_snapshot!(graph_dot(&plan), @r#"
            digraph plan {
              rankdir=LR;
              node [shape=box, fontname="sans-serif"];
              "kubernetes/node-1/init" [penwidth=3];
              "cert-manager/crds" [penwidth=3];
              "cert-manager/objects" [penwidth=3];
              "issuers/resources" [penwidth=3];
              "multus/objects";
              "issuers/prune";
              "kubernetes/node-1/init" -> "cert-manager/crds" [label="there is no API server before", penwidth=3];
              "cert-manager/crds" -> "cert-manager/objects" [label="stages go in order", penwidth=3];
              "kubernetes/node-1/init" -> "cert-manager/objects" [label="there is no API server before"];
              "cert-manager/crds" -> "issuers/resources" [label="ClusterIssuer cozy is a ClusterIssuer.cert-manager.io"];
              "cert-manager/objects" -> "issuers/resources" [label="ClusterIssuer cozy uses Deployment cert-manager/cert-manager", style=dashed, penwidth=3];
              "cert-manager/objects" -> "issuers/resources" [label="needs: a \"quoted\\\" name �[2J", penwidth=3];
              "kubernetes/node-1/init" -> "multus/objects" [label="there is no API server before"];
              "issuers/resources" -> "issuers/prune" [label="what is used goes after what uses it"];
              "issuers/resources" -> "cert-manager/objects" [label="Deployment cert-manager/cert-manager uses CustomResourceDefinition issuers.cert-manager.io", style=dotted, constraint=false];
            }
        "#);
    }
}
