//! The graph under a plan: two milestones a step, cycles, order, and the
//! critical path. Knows indices and durations, nothing of Kubernetes.

use std::time::Duration;

use super::{Blocks, Edge, Milestone};

/// A node: `2 * step` is "applied", `2 * step + 1` is "ready".
pub(super) type Node = usize;

/// The node that an edge leaves from.
pub(super) fn tail(edge: &Edge) -> Node {
    edge.from * 2 + usize::from(edge.milestone == Milestone::Ready)
}

/// The node that an edge leads to.
pub(super) fn head(edge: &Edge) -> Node {
    edge.to * 2 + usize::from(edge.blocks == Blocks::Ready)
}

/// Removes each edge that would close a cycle and may be left out, and gives
/// them back. `softness` says how soon an edge is left out, `None` never: a
/// cycle among such edges stays, see [`cycle`].
pub(crate) fn drop_soft(
    steps: usize,
    edges: &mut Vec<Edge>,
    softness: impl Fn(&Edge) -> Option<u8>,
) -> Vec<Edge> {
    if cycle(steps, edges).is_none() {
        return Vec::new();
    }
    let (mut soft, hard): (Vec<Edge>, Vec<Edge>) =
        std::mem::take(edges).into_iter().partition(|edge| softness(edge).is_some());
    soft.sort_by_key(&softness);
    *edges = hard;
    let mut dropped = Vec::new();
    for edge in soft {
        if reaches(steps, edges, head(&edge), tail(&edge)) {
            dropped.push(edge);
        } else {
            edges.push(edge);
        }
    }
    dropped
}

/// Whether `to` can be reached from `from`.
pub(super) fn reaches(steps: usize, edges: &[Edge], from: Node, to: Node) -> bool {
    let next = successors(steps, edges);
    let mut seen = vec![false; steps * 2];
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        if node == to {
            return true;
        }
        if std::mem::replace(&mut seen[node], true) {
            continue;
        }
        open.extend(next[node].iter().map(|(node, _)| *node));
    }
    false
}

/// For each node the nodes after it, and the edge that leads there (`None`:
/// a step's own way from applied to ready).
fn successors(steps: usize, edges: &[Edge]) -> Vec<Vec<(Node, Option<usize>)>> {
    let mut next: Vec<Vec<(Node, Option<usize>)>> = vec![Vec::new(); steps * 2];
    for step in 0..steps {
        next[step * 2].push((step * 2 + 1, None));
    }
    for (index, edge) in edges.iter().enumerate() {
        next[tail(edge)].push((head(edge), Some(index)));
    }
    next
}

/// A cycle, as indices of its edges in order; `None` where there is none.
pub(crate) fn cycle(steps: usize, edges: &[Edge]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let next = successors(steps, edges);
    let mut marks = vec![Mark::New; steps * 2];
    for start in 0..steps * 2 {
        if marks[start] != Mark::New {
            continue;
        }
        // The way down to the current node: node, next successor to try, edge that led here.
        let mut way: Vec<(Node, usize, Option<usize>)> = vec![(start, 0, None)];
        marks[start] = Mark::Open;
        while let Some((node, at, _)) = way.last_mut() {
            let node = *node;
            let Some(&(after, edge)) = next[node].get(*at) else {
                marks[node] = Mark::Done;
                way.pop();
                continue;
            };
            *at += 1;
            match marks[after] {
                Mark::New => {
                    marks[after] = Mark::Open;
                    way.push((after, 0, edge));
                }
                Mark::Open => {
                    let from = way.iter().position(|(node, ..)| *node == after).unwrap_or(0);
                    return Some(way[from + 1..].iter().filter_map(|(.., edge)| *edge).chain(edge).collect());
                }
                Mark::Done => {}
            }
        }
    }
    None
}

/// When each step is applied and ready, if everything takes as long as expected.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// For each node when it is reached, and which node held it back last.
    nodes: Vec<(Duration, Option<Node>)>,
}

impl Schedule {
    /// Computes the schedule from what each step's requests and its gates take. `edges` must have no cycle.
    pub(crate) fn new(
        steps: usize,
        edges: &[Edge],
        apply: impl Fn(usize) -> Duration,
        gate: impl Fn(usize) -> Duration,
    ) -> Self {
        let next = successors(steps, edges);
        let mut waits_for = vec![0_usize; steps * 2];
        for (node, _) in next.iter().flatten() {
            waits_for[*node] += 1;
        }
        let mut nodes: Vec<(Duration, Option<Node>)> = vec![(Duration::ZERO, None); steps * 2];
        let mut open: Vec<Node> = (0..nodes.len()).filter(|node| waits_for[*node] == 0).collect();
        while let Some(node) = open.pop() {
            nodes[node].0 += if node % 2 == 0 { apply(node / 2) } else { gate(node / 2) };
            let reached = nodes[node].0;
            for (after, _) in &next[node] {
                let known = &mut nodes[*after];
                // On a tie the smaller node wins, so that the path does not depend on the order of the walk.
                if known.1.is_none_or(|before| {
                    (reached, std::cmp::Reverse(node)) > (known.0, std::cmp::Reverse(before))
                }) {
                    *known = (reached, Some(node));
                }
                waits_for[*after] -= 1;
                if waits_for[*after] == 0 {
                    open.push(*after);
                }
            }
        }
        Self { nodes }
    }

    /// When a step's requests are answered.
    pub(crate) fn applied(&self, step: usize) -> Duration {
        self.nodes.get(step * 2).map_or(Duration::ZERO, |node| node.0)
    }

    /// When a step's gates hold.
    pub(crate) fn ready(&self, step: usize) -> Duration {
        self.nodes.get(step * 2 + 1).map_or(Duration::ZERO, |node| node.0)
    }

    /// The longest chain, as steps in order, and how long it takes.
    pub(crate) fn critical_path(&self) -> (Vec<usize>, Duration) {
        let (nodes, total) = self.critical_nodes();
        let mut path: Vec<usize> = nodes.into_iter().map(|node| node / 2).collect();
        path.dedup();
        (path, total)
    }

    /// The longest chain, as nodes in order, and how long it takes.
    pub(super) fn critical_nodes(&self) -> (Vec<Node>, Duration) {
        let last = (0..self.nodes.len()).max_by_key(|node| (self.nodes[*node].0, std::cmp::Reverse(*node)));
        let Some(last) = last else { return (Vec::new(), Duration::ZERO) };
        let mut path = Vec::new();
        let mut at = Some(last);
        while let Some(node) = at {
            path.push(node);
            at = self.nodes[node].1;
        }
        path.reverse();
        (path, self.nodes[last].0)
    }
}
