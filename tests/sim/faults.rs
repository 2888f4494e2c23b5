//! What goes wrong in a run, and when: all of it from the seed.
//!
//! First the consortium is left in peace to begin its business. Then nodes crash and come
//! back, the network splits and heals, packets get lost, doubled and overtaken. In the end
//! everything is well again, and everything must come to rest.

use syngraph_tests::random::Random;

use crate::net::{NodeId, Weather};
use crate::time::{MS, SECOND, Virtual};

/// When troubles begin.
const PEACE: Virtual = 4 * SECOND;
/// How long after healing everything must be sealed everywhere: less than the heartbeat, which
/// would cover up that nobody goes on by himself.
const BOUND: Virtual = 28 * SECOND;

/// Something that goes wrong, or right.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Crash(NodeId),
    Restart(NodeId),
    Storm(Weather),
    /// The nodes whose bit is set on one side, the others on the other.
    Partition(u64),
    /// Everybody is back and reaches everybody.
    Heal,
    EndLoad,
}

/// A run's troubles.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) faults: Vec<(Virtual, Fault)>,
    pub(crate) heal: Virtual,
    pub(crate) bound: Virtual,
}

impl Plan {
    pub(crate) fn of(random: &mut Random, nodes: usize) -> Self {
        let outage = random.below(6) == 0;
        let heal = PEACE + 6 * SECOND + random.below(if outage { 100 } else { 25 } * SECOND);
        let mut faults = vec![(PEACE, Fault::Storm(Weather::of(random)))];
        if outage {
            no_quorum(random, nodes, heal, &mut faults);
        } else {
            crashes(random, nodes, heal, &mut faults);
            partitions(random, nodes, heal, &mut faults);
        }
        faults.push((heal, Fault::Heal));
        // With the last entries in the middle of trouble, only what is owed drives the nodes on.
        let early = random.below(3) == 0;
        let end = if early { heal - random.below(6 * SECOND) } else { heal + 2 * SECOND };
        faults.push((end, Fault::EndLoad));
        Self { faults, heal, bound: BOUND }
    }
}

fn some(random: &mut Random, least: Virtual, most: Virtual) -> Virtual {
    least + random.below(most - least)
}

fn crashes(random: &mut Random, nodes: usize, heal: Virtual, faults: &mut Vec<(Virtual, Fault)>) {
    // From one crash in a run to one every second.
    let gap = [1_000, 2_500, 6_000, 20_000][random.below(4) as usize] * MS;
    let mut at = PEACE + random.below(gap);
    while at < heal {
        let all = random.below(8) == 0;
        let first = random.below(nodes as u64) as usize;
        for node in (0..nodes).filter(|node| all || *node == first) {
            faults.push((at, Fault::Crash(node)));
            faults.push((at + some(random, 50 * MS, 8 * SECOND), Fault::Restart(node)));
        }
        at += some(random, 100 * MS, 2 * gap);
    }
}

/// So many nodes are away for long that the others are no quorum.
fn no_quorum(random: &mut Random, nodes: usize, heal: Virtual, faults: &mut Vec<(Virtual, Fault)>) {
    let first = random.below(nodes as u64) as usize;
    let away = (0..nodes.div_ceil(2)).map(|more| (first + more) % nodes);
    let at = PEACE + random.below(2 * SECOND);
    if random.below(2) == 0 {
        faults.push((at, Fault::Partition(away.map(|node| 1 << node).sum())));
        return;
    }
    for node in away {
        faults.push((at + random.below(300 * MS), Fault::Crash(node)));
        let back = at + random.below(heal - at);
        faults.push((if random.below(2) == 0 { heal } else { back }, Fault::Restart(node)));
    }
}

fn partitions(random: &mut Random, nodes: usize, heal: Virtual, faults: &mut Vec<(Virtual, Fault)>) {
    if random.below(3) == 0 {
        return;
    }
    let mut at = PEACE + random.below(6 * SECOND);
    while at < heal {
        faults.push((at, Fault::Partition(random.below(1 << nodes))));
        at += some(random, 300 * MS, 7 * SECOND);
        faults.push((at, Fault::Partition(0)));
        at += some(random, 100 * MS, 8 * SECOND);
    }
}
