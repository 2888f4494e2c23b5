use std::time::Duration;

use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::genesis::{Charter, Founder};
use syngraph_protocol::ids::EntryId;
use syngraph_protocol::ledger::Plan;
use syngraph_protocol::ledger::member::NodeKeys;

use super::message::Gap;
use super::*;
use crate::journals::Via;
use crate::journals::tests::{charter, entry, journal};

/// Four voters; member 0 has the journal of seed 10.
fn four() -> Ledger {
    let mut charter: Charter = charter();
    let public = |seed: u8| SecretKey::from_seed(&[seed; 32]).public();
    let node = |seed: u8| NodeKeys {
        validator: public(seed + 1),
        transport: public(seed + 2),
        journal: public(seed + 3),
    };
    charter.members[1].profile.node = Some(node(20));
    charter.members[1].power = 1;
    for seed in [30, 40] {
        let mut founder: Founder = charter.members[1].clone();
        founder.profile.root = public(seed);
        founder.profile.node = Some(node(seed));
        charter.members.push(founder);
    }
    Ledger::genesis(&charter)
}

fn member(id: u32) -> MemberId {
    MemberId::new(id)
}

/// A node that holds these entries durably, and is connected to the other three.
struct World {
    ledger: Ledger,
    journals: Journals,
    replicas: Replicas,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let (me, now) = (member(0), Instant::now());
        let mut world =
            Self { ledger: four(), journals: Journals::new(me), replicas: Replicas::new(me), now };
        let view = View { ledger: &world.ledger, journals: &world.journals, now };
        (1..4).for_each(|peer| world.replicas.up(member(peer), view));
        world
    }

    fn view(&self) -> View<'_> {
        View { ledger: &self.ledger, journals: &self.journals, now: self.now }
    }

    fn hold(&mut self, entries: &[VerifiedEntry], through_our_door: bool) {
        for entry in entries {
            self.journals.admit(&self.ledger, entry.clone(), Via::Peer, self.now);
        }
        let grown = self.journals.synced();
        if through_our_door {
            self.replicas.fresh(entries.to_vec());
        }
        let view = View { ledger: &self.ledger, journals: &self.journals, now: self.now };
        self.replicas.grown(&grown, view);
    }

    fn announced(&mut self, from: u32, last: &VerifiedEntry) {
        let head = last.head();
        let point = CutPoint { journal: head.journal, seq: head.seq, entry: last.id() };
        let height = self.ledger.height();
        let holdings = Holdings { height, log_size: 0, begun: height, points: vec![point] };
        let view = View { ledger: &self.ledger, journals: &self.journals, now: self.now };
        self.replicas.announced(member(from), &holdings, view);
    }

    fn flush(&mut self) -> Vec<Ask> {
        let view = View { ledger: &self.ledger, journals: &self.journals, now: self.now };
        self.replicas.flush(view)
    }

    fn answer(&mut self, ask: &Ask, response: Option<Response>) -> Option<Arrived> {
        let view = View { ledger: &self.ledger, journals: &self.journals, now: self.now };
        self.replicas.response(ask.to, ask.ticket, response, view)
    }

    fn quorum(&self, entry: &VerifiedEntry) -> Option<u64> {
        self.replicas.replicated().next(&entry.head().journal).map(Seq::get)
    }
}

fn pushes(asks: &[Ask]) -> Vec<(u32, Vec<EntryId>)> {
    let push = |ask: &Ask| match &ask.request {
        Request::Push(entries) => Some((ask.to.get(), entries.iter().map(VerifiedEntry::id).collect())),
        _ => None,
    };
    asks.iter().filter_map(push).collect()
}

fn wants(asks: &[Ask]) -> Vec<(u32, Vec<Gap>)> {
    let want = |ask: &Ask| match &ask.request {
        Request::Want(gaps) => Some((ask.to.get(), gaps.clone())),
        _ => None,
    };
    asks.iter().filter_map(want).collect()
}

#[test]
fn what_comes_through_our_door_is_pushed_once_and_in_order() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 10, 3);
    world.hold(&entries[..2], true);
    let asks = world.flush();
    let ids: Vec<_> = entries[..2].iter().map(VerifiedEntry::id).collect();
    assert_eq!(pushes(&asks), [(1, ids.clone()), (2, ids.clone()), (3, ids)]);
    assert!(pushes(&world.flush()).is_empty(), "once");
    // Member 1 had no room: it must ask itself, and is not sent what it cannot take.
    let first = asks.iter().find(|ask| matches!(ask.request, Request::Push(_))).expect("pushed");
    world.answer(first, Some(Response::Later));
    world.hold(&entries[2..], true);
    let to: Vec<_> = pushes(&world.flush()).into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, [2, 3]);
}

#[test]
fn what_others_have_taken_is_not_pushed_again() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 20, 2);
    world.hold(&entries, false);
    let asks = world.flush();
    assert!(pushes(&asks).is_empty());
    let told = asks.iter().filter(|ask| matches!(&ask.request, Request::Holdings(h) if h.points.len() == 1));
    assert_eq!(told.count(), 3, "but everybody hears of it");
}

#[test]
fn a_quorum_holds_what_it_has_announced_on_our_branch() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 10, 3);
    world.hold(&entries, true);
    assert_eq!(world.quorum(&entries[0]), None, "we alone hold it");
    world.announced(1, &entries[0]);
    assert_eq!(world.quorum(&entries[0]), None, "two of four");
    world.announced(2, &entries[1]);
    assert_eq!(world.quorum(&entries[0]), Some(1), "three of four hold the first");
    let other = entry(&world.ledger, 10, 2, entries[1].id(), 99);
    world.announced(3, &other);
    assert_eq!(world.quorum(&entries[0]), Some(1), "another branch is no copy of ours");
    world.announced(1, &entries[2]);
    assert_eq!(world.quorum(&entries[0]), Some(2));
    world.replicas.down(member(2));
    assert_eq!(world.quorum(&entries[0]), Some(2), "what is on its disk stays there");
}

#[test]
fn a_gap_is_asked_for_after_a_moment_and_of_another_if_it_is_not_filled() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 20, 3);
    world.announced(1, &entries[2]);
    world.announced(2, &entries[2]);
    assert!(wants(&world.flush()).is_empty(), "whoever took it is probably sending it");
    let due = world.replicas.wake_at(world.view()).expect("to ask");
    world.now = due;
    let asks = world.flush();
    let head = entries[2].head();
    let gap = Gap { journal: head.journal, from: Seq::FIRST, to: head.seq, last: entries[2].id() };
    assert_eq!(wants(&asks), [(2, vec![gap.clone()])]);
    assert!(wants(&world.flush()).is_empty(), "once at a time");
    let ask = asks.iter().find(|ask| matches!(ask.request, Request::Want(_))).expect("asked");
    assert!(world.answer(ask, None).is_none());
    world.now += Duration::from_secs(1);
    assert_eq!(wants(&world.flush()), [(1, vec![gap])]);
    world.hold(&entries, false);
    world.now += Duration::from_secs(1);
    assert!(wants(&world.flush()).is_empty(), "it is here now");
}

#[test]
fn a_gap_that_is_being_filled_is_left_alone() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 20, 3);
    world.announced(1, &entries[2]);
    for entry in &entries[..2] {
        world.now = world.replicas.wake_at(world.view()).expect("to ask").max(world.now);
        world.hold(std::slice::from_ref(entry), false);
        assert!(wants(&world.flush()).is_empty(), "somebody is sending it");
    }
    world.now = world.replicas.wake_at(world.view()).expect("to ask");
    assert_eq!(wants(&world.flush()).len(), 1, "the rest does not come");
}

#[test]
fn a_proposals_entries_are_asked_of_its_proposer_and_then_of_everybody() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 20, 2);
    let head = entries[1].head();
    let missing = [CutPoint { journal: head.journal, seq: head.seq, entry: entries[1].id() }];
    let view = View { ledger: &world.ledger, journals: &world.journals, now: world.now };
    world.replicas.want((BlockId::from_bytes([7; 32]), member(2)), &missing, view);
    let mut asked = Vec::new();
    for _ in 0..3 {
        world.now = world.replicas.wake_at(world.view()).expect("to ask").max(world.now);
        asked.extend(wants(&world.flush()).into_iter().map(|(to, _)| to));
    }
    assert_eq!(asked[0], 2);
    asked.sort_unstable();
    assert_eq!(asked, [1, 2, 3]);
}

#[test]
fn whoever_is_behind_asks_for_the_log_and_not_without_end() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 20, 2);
    let holdings =
        Holdings { height: Height::new(5), log_size: 7, begun: Height::new(6), points: Vec::new() };
    let view = View { ledger: &world.ledger, journals: &world.journals, now: world.now };
    world.replicas.announced(member(3), &holdings, view);
    assert!(!world.flush().iter().any(|ask| matches!(ask.request, Request::Log { .. })), "skew is ordinary");
    world.now = world.replicas.wake_at(world.view()).expect("to ask");
    let asks = world.flush();
    let ask =
        asks.iter().find(|ask| matches!(ask.request, Request::Log { from: 0 })).expect("from the start");
    assert_eq!(ask.to, member(3));
    let arrived = world.answer(ask, Some(Response::Entries(entries.clone()))).expect("entries");
    assert_eq!(arrived.entries.len(), 2);
    let asks = world.flush();
    let ask = asks.iter().find(|ask| matches!(ask.request, Request::Log { from: 2 })).expect("and goes on");
    world.answer(ask, Some(Response::Entries(Vec::new())));
    assert!(!world.flush().iter().any(|ask| matches!(ask.request, Request::Log { .. })), "not at once again");
}

#[test]
fn gaps_are_answered_from_what_is_held_and_no_further() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 10, 4);
    world.hold(&entries[..3], true);
    let gap = |from: u64, to: &VerifiedEntry| Gap {
        journal: to.head().journal,
        from: Seq::new(from),
        to: to.head().seq,
        last: to.id(),
    };
    let ids = |gaps: &[Gap]| answer(gaps, world.view()).iter().map(VerifiedEntry::id).collect::<Vec<_>>();
    assert_eq!(ids(&[gap(1, &entries[2])]), [entries[1].id(), entries[2].id()]);
    assert!(ids(&[gap(0, &entries[3])]).is_empty(), "it is not held");
    let plan = Plan { time: world.ledger.time().plus_ms(1), built_by: member(0) };
    let executed = world.ledger.execute(&plan, entries[..1].to_vec()).expect("a block");
    world.journals.sealed(&executed.ledger, &executed.block.cut, world.now);
    let view = View { ledger: &executed.ledger, journals: &world.journals, now: world.now };
    assert!(answer(&[gap(0, &entries[2])], view).is_empty(), "whoever lacks sealed entries needs the log");
}

#[test]
fn another_branch_is_given_from_where_it_is_asked_for() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 10, 4);
    world.hold(&entries, true);
    let fork = entry(&world.ledger, 10, 2, entries[1].id(), 99);
    let gap = |from: u64| {
        vec![Gap { journal: fork.head().journal, from: Seq::new(from), to: Seq::new(2), last: fork.id() }]
    };
    let ids = |world: &World, from| {
        answer(&gap(from), world.view()).iter().map(VerifiedEntry::id).collect::<Vec<_>>()
    };
    assert!(ids(&world, 0).is_empty(), "it is not held");
    world.journals.stage(&world.ledger, fork.clone(), world.now);
    assert!(ids(&world, 0).is_empty(), "it is not durable");
    world.journals.synced();
    assert_eq!(ids(&world, 0), [entries[0].id(), entries[1].id(), fork.id()]);
    assert_eq!(ids(&world, 2), [fork.id()]);
}

#[test]
fn a_long_run_that_is_asked_for_many_times_over_is_not_walked_each_time() {
    let mut world = World::new();
    let mut entries = journal(&world.ledger, 10, 255);
    for number in 255..2_000 {
        let prev = entries.last().expect("some").id();
        entries.push(entry(&world.ledger, 10, number, prev, u8::try_from(number % 256).expect("a byte")));
    }
    world.hold(&entries, false);
    let last = entries.last().expect("some");
    let point = CutPoint { journal: last.head().journal, seq: last.head().seq, entry: last.id() };
    let mut part = world.journals.part(Seq::FIRST, &point).expect("it is held");
    assert_eq!(part.next().map(VerifiedEntry::id), Some(entries[0].id()), "the oldest first");
    assert_eq!(part.count(), entries.len() - 1);
    let gap = Gap { journal: point.journal, from: point.seq, to: point.seq, last: point.entry };
    assert_eq!(answer(&vec![gap; POINTS_MAX], world.view()).len(), POINTS_MAX);
}

/// A node that asks member 1 for the gap before the end of this journal, and its request.
fn asking(entries: &[VerifiedEntry]) -> (World, Ask) {
    let mut world = World::new();
    world.announced(1, entries.last().expect("some"));
    world.now = world.replicas.wake_at(world.view()).expect("to ask");
    let mut asks = world.flush().into_iter();
    let ask = asks.find(|ask| matches!(ask.request, Request::Want(_))).expect("asked");
    (world, ask)
}

#[test]
fn whoever_brings_nothing_is_not_asked_again_at_once_and_another_before_it() {
    let entries = journal(&four(), 20, 3);
    for useless in [Vec::new(), journal(&four(), 10, 1)] {
        let (mut world, ask) = asking(&entries);
        assert!(world.answer(&ask, Some(Response::Entries(useless))).is_none(), "nothing that was asked for");
        assert!(wants(&world.flush()).is_empty(), "else the two would do nothing else");
        world.announced(2, &entries[0]);
        world.now = world.replicas.wake_at(world.view()).expect("to ask");
        assert_eq!(wants(&world.flush()).first().map(|(to, _)| *to), Some(2), "although 1 claims more");
    }
}

#[test]
fn the_next_part_of_a_gap_is_asked_for_as_soon_as_one_has_come() {
    let entries = journal(&four(), 20, 3);
    let (mut world, ask) = asking(&entries);
    let arrived = world.answer(&ask, Some(Response::Entries(entries[..1].to_vec()))).expect("entries");
    assert!(!arrived.covered);
    world.hold(&arrived.entries, false);
    let wanted = wants(&world.flush());
    assert_eq!(wanted.first().map(|(to, gaps)| (*to, gaps[0].from)), Some((1, Seq::new(1))));
}

#[test]
fn whoever_keeps_a_gap_waiting_gives_way_to_another() {
    let entries = journal(&four(), 20, 3);
    let (mut world, _) = asking(&entries);
    world.announced(2, &entries[1]);
    assert!(wants(&world.flush()).is_empty());
    world.now = world.replicas.wake_at(world.view()).expect("to ask another");
    assert_eq!(wants(&world.flush()).first().map(|(to, _)| *to), Some(2));
}

#[test]
fn a_proposals_entries_are_asked_for_until_they_are_here_whatever_else_is_proposed() {
    let mut world = World::new();
    let (first, second) = (journal(&world.ledger, 20, 2), journal(&world.ledger, 30, 1));
    let point = |entries: &[VerifiedEntry]| {
        let last = entries.last().expect("some");
        [CutPoint { journal: last.head().journal, seq: last.head().seq, entry: last.id() }]
    };
    let blocks =
        [(BlockId::from_bytes([7; 32]), point(&first)), (BlockId::from_bytes([8; 32]), point(&second))];
    let mut asked = Vec::new();
    for _ in 0..10 {
        // Judged again and again, as entries come through the doors.
        for (block, missing) in &blocks {
            let view = View { ledger: &world.ledger, journals: &world.journals, now: world.now };
            world.replicas.want((*block, member(2)), missing, view);
        }
        asked.extend(wants(&world.flush()).into_iter().flat_map(|(_, gaps)| gaps).map(|gap| gap.journal));
        world.now += Duration::from_millis(40);
    }
    assert_eq!(asked, [first[0].head().journal, second[0].head().journal]);
    world.hold(&[first, second].concat(), false);
    world.now += Duration::from_secs(10);
    assert!(wants(&world.flush()).is_empty(), "all is here");
}

#[test]
fn what_was_not_heard_is_said_again_after_a_rest() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 10, 1);
    world.hold(&entries, false);
    let told = |asks: &[Ask]| {
        let points = |ask: &Ask| match &ask.request {
            Request::Holdings(holdings) => Some((ask.to.get(), holdings.points.len())),
            _ => None,
        };
        asks.iter().filter_map(points).collect::<Vec<_>>()
    };
    let asks = world.flush();
    assert_eq!(told(&asks), [(1, 1), (2, 1), (3, 1)]);
    for (ask, answer) in asks.iter().zip([None, Some(Response::Later), Some(Response::Taken)]) {
        world.answer(ask, answer);
    }
    assert!(told(&world.flush()).is_empty(), "not at once");
    world.now = world.replicas.wake_at(world.view()).expect("to say it again");
    assert_eq!(told(&world.flush()), [(1, 1), (2, 1)]);
    assert_eq!(world.replicas.wake_at(world.view()), None);
}

#[test]
fn one_proposer_keeps_out_only_itself() {
    let order = |proposers: &[u32]| oldest_of_most(proposers.iter().copied().map(member));
    assert_eq!(order(&[1, 2, 2, 3]), 1);
    assert_eq!(order(&[1, 2, 3]), 0);
    assert_eq!(order(&[1, 2, 1, 2]), 0);
}

impl World {
    fn far(&mut self, from: u32, height: u64, log_size: u64) {
        let height = Height::new(height);
        let holdings = Holdings { height, log_size, begun: height, points: Vec::new() };
        let view = View { ledger: &self.ledger, journals: &self.journals, now: self.now };
        self.replicas.announced(member(from), &holdings, view);
    }

    /// Whom it asks for the log, and from where, up to this time from now.
    fn log_ask(&mut self, within: Duration) -> Option<(u32, u64, Ask)> {
        let end = self.now + within;
        loop {
            let log = |ask: Ask| match ask.request {
                Request::Log { from } => Some((ask.to.get(), from, ask)),
                _ => None,
            };
            if let Some(found) = self.flush().into_iter().find_map(log) {
                return Some(found);
            }
            self.now = self.replicas.wake_at(self.view()).filter(|at| *at <= end)?.max(self.now);
        }
    }
}

#[test]
fn a_log_that_no_block_follows_is_asked_of_another_node() {
    let mut world = World::new();
    world.far(1, u64::MAX, u64::MAX);
    world.far(2, 5, 7);
    let junk = journal(&world.ledger, 20, 1);
    let (mut asked, mut drops) = (1, 0);
    while asked == 1 && drops < 100 {
        let (to, _, ask) = world.log_ask(Duration::from_secs(10)).expect("it is behind");
        asked = to;
        if to == 1 {
            world.answer(&ask, Some(Response::Entries(junk.clone())));
            world.now += Duration::from_millis(100);
            drops += 1;
        }
    }
    assert_eq!(asked, 2, "one that brings a log of its own making in drops is left");
}

#[test]
fn silence_of_one_that_claims_more_keeps_nobody_from_asking_the_others() {
    let mut world = World::new();
    world.far(1, u64::MAX, u64::MAX);
    let silent = world.log_ask(Duration::from_secs(1)).expect("it is behind");
    assert_eq!(silent.0, 1);
    world.far(2, 5, 7);
    let (to, from, ask) = world.log_ask(Duration::from_secs(30)).expect("of another");
    assert_eq!((to, from), (2, 0));
    world.answer(&ask, Some(Response::Entries(journal(&world.ledger, 20, 7))));
    // That is all there is; the silent one is asked for more, but nobody waits for it.
    let again = world.log_ask(Duration::from_secs(1)).expect("of the one that claims more");
    assert_eq!((again.0, again.1), (1, 7));
    world.far(2, 6, 9);
    let (to, from, _) = world.log_ask(Duration::from_secs(1)).expect("at once");
    assert_eq!((to, from), (2, 7));
    assert!(world.answer(&silent.2, None).is_none() && world.answer(&again.2, None).is_none());
    assert!(world.log_ask(Duration::from_secs(1)).is_none(), "one request at a time");
}

#[test]
fn what_others_hold_counts_although_they_are_always_ahead() {
    let mut world = World::new();
    let entries = journal(&world.ledger, 20, 6);
    for (here, there) in entries.iter().zip(&entries[1..]) {
        world.announced(1, there);
        world.announced(2, there);
        world.hold(std::slice::from_ref(here), false);
    }
    assert_eq!(world.quorum(&entries[0]), Some(5), "each was announced before it was here");
}

#[test]
fn what_a_quorum_held_of_another_branch_says_nothing_of_the_sealed_one() {
    let mut world = World::new();
    let ours = journal(&world.ledger, 10, 3);
    world.hold(&ours, true);
    (1..4).for_each(|peer| world.announced(peer, &ours[2]));
    assert_eq!(world.quorum(&ours[0]), Some(3));
    let theirs = entry(&world.ledger, 10, 0, syngraph_protocol::journal::NO_ENTRY, 99);
    world.journals.stage(&world.ledger, theirs.clone(), world.now);
    world.journals.synced();
    let plan = Plan { time: world.ledger.time().plus_ms(1), built_by: member(0) };
    let executed = world.ledger.execute(&plan, vec![theirs]).expect("a block");
    let overtaken = world.journals.sealed(&executed.ledger, &executed.block.cut, world.now);
    world.ledger = executed.ledger;
    overtaken.iter().for_each(|journal| world.replicas.overtaken(journal));
    assert_eq!(world.quorum(&ours[0]), None);
}
