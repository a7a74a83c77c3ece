//! The graph of the order of commands, and the search for cycles in it.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

/// A reason why one command comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// The other command's commit is later in the log.
    Log,
    /// The other command read what this one wrote.
    WroteRead,
    /// This command read a version that precedes a write of the other command.
    ReadWrote,
    /// This command ended before the other one started.
    RealTime,
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "committed before",
            Self::WroteRead => "wrote what was read by",
            Self::ReadWrote => "did not see what was written by",
            Self::RealTime => "had ended before the start of",
        })
    }
}

/// The maximum number of cycles to report. A single cycle is already a failure.
const MOST: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: Vec<Vec<(usize, Before)>>,
}

impl Graph {
    pub(super) fn node(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }

    pub(super) fn edge(&mut self, from: usize, to: usize, why: Before) {
        if let Some(edges) = self.edges.get_mut(from).filter(|_| from != to) {
            edges.push((to, why));
        }
    }

    /// Orders commands in time: a command that ended before another started precedes it. To avoid
    /// an edge for each pair, a chain of nodes for moments in time connects ends to starts.
    pub(super) fn in_time(&mut self, spans: &[(usize, u64, Option<u64>)]) {
        let ended = |(node, _, end): &(usize, u64, Option<u64>)| end.map(|end| (end, *node));
        let mut ends: Vec<(u64, usize)> = spans.iter().filter_map(ended).collect();
        ends.sort_unstable();
        let mut moments: Vec<usize> = Vec::with_capacity(ends.len());
        for (_, node) in &ends {
            let moment = self.node();
            if let Some(last) = moments.last() {
                self.edge(*last, moment, Before::RealTime);
            }
            self.edge(*node, moment, Before::RealTime);
            moments.push(moment);
        }
        for (node, start, _) in spans {
            let passed = ends.partition_point(|(end, _)| end < start);
            if let Some(moment) = passed.checked_sub(1).and_then(|last| moments.get(last)) {
                self.edge(*moment, *node, Before::RealTime);
            }
        }
    }

    fn of(&self, node: usize) -> &[(usize, Before)] {
        self.edges.get(node).map_or(&[], Vec::as_slice)
    }

    /// Returns at most `MOST` cycles, as pairs of a command and the reason why it precedes the next
    /// one. Only nodes below `commands` are included; the others are moments in time.
    pub(super) fn cycles(&self, commands: usize) -> Vec<Vec<(usize, Before)>> {
        let (mut left, mut cycles) = (vec![true; self.edges.len()], Vec::new());
        while cycles.len() < MOST {
            self.trim(&mut left);
            let start = left.iter().take(commands).position(|left| *left);
            let Some(start) = start else { break };
            // The path is empty for a node that lies between two cycles but on neither.
            let cycle = self.way_back(start, &left);
            for node in cycle.iter().map(|(node, _)| *node).chain([start]) {
                remove(&mut left, node);
            }
            let shown: Vec<_> = cycle
                .into_iter()
                .filter(|(node, _)| *node < commands)
                .collect();
            if !shown.is_empty() {
                cycles.push(shown);
            }
        }
        cycles
    }

    /// Repeatedly removes nodes without predecessors (Kahn 1962). The remaining nodes are on a
    /// cycle or come after one.
    fn trim(&self, left: &mut [bool]) {
        let is_left = |left: &[bool], node: usize| left.get(node).copied().unwrap_or(false);
        let mut before = vec![0_usize; self.edges.len()];
        for node in (0..self.edges.len()).filter(|node| is_left(left, *node)) {
            for (next, _) in self.of(node) {
                if let Some(count) = before.get_mut(*next) {
                    *count += 1;
                }
            }
        }
        let first = |(node, count): (usize, &usize)| (*count == 0).then_some(node);
        let mut free: Vec<usize> = before.iter().enumerate().filter_map(first).collect();
        while let Some(node) = free.pop() {
            if !is_left(left, node) {
                continue;
            }
            remove(left, node);
            for (next, _) in self.of(node) {
                if let Some(count) = before.get_mut(*next) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(*next);
                    }
                }
            }
        }
    }

    /// Returns the shortest path from a node back to itself, or an empty path if there is none.
    fn way_back(&self, start: usize, left: &[bool]) -> Vec<(usize, Before)> {
        let mut came: HashMap<usize, (usize, Before)> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (next, why) in self.of(node) {
                if left.get(*next).copied().unwrap_or(false) && !came.contains_key(next) {
                    came.insert(*next, (node, *why));
                    queue.push_back(*next);
                }
            }
        }
        let (mut steps, mut node) = (Vec::new(), start);
        while let Some((previous, why)) = came.get(&node) {
            steps.push((*previous, *why));
            node = *previous;
            if node == start {
                break;
            }
        }
        steps.reverse();
        steps
    }
}

fn remove(left: &mut [bool], node: usize) {
    if let Some(left) = left.get_mut(node) {
        *left = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: usize, edges: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::default();
        for _ in 0..nodes {
            graph.node();
        }
        for (from, to) in edges {
            graph.edge(*from, *to, Before::Log);
        }
        graph
    }

    fn nodes(cycles: Vec<Vec<(usize, Before)>>) -> Vec<Vec<usize>> {
        let nodes = |cycle: Vec<(usize, Before)>| cycle.into_iter().map(|(node, _)| node).collect();
        cycles.into_iter().map(nodes).collect()
    }

    #[test]
    fn the_shortest_cycle_of_each_knot_is_found_and_what_hangs_on_is_not() {
        let line = graph(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]);
        assert!(line.cycles(4).is_empty());
        // 0 → 1 ⇄ 2 → 3 → 4 → 5 → 3, and a longer cycle through 1.
        let edges = [
            (0, 1),
            (1, 2),
            (2, 1),
            (2, 3),
            (3, 4),
            (4, 5),
            (5, 3),
            (5, 6),
            (2, 7),
            (7, 1),
        ];
        let knots = graph(8, &edges);
        assert_eq!(nodes(knots.cycles(8)), [vec![1, 2], vec![3, 4, 5]]);
    }

    #[test]
    fn a_command_that_ended_before_another_started_comes_before_it() {
        // Command 1 did not see what 0 wrote, which is allowed unless 0 ended before 1 started.
        for (start, cycles) in [(4, 0), (5, 0), (6, 1)] {
            let mut graph = graph(2, &[(1, 0)]);
            graph.in_time(&[(0, 1, Some(5)), (1, start, Some(9))]);
            assert_eq!(graph.cycles(2).len(), cycles, "started at {start}");
        }
        // A command without an end may have taken effect at any time after its start.
        let mut open = graph(2, &[(1, 0)]);
        open.in_time(&[(0, 1, None), (1, 6, Some(9))]);
        assert!(open.cycles(2).is_empty());
    }
}
