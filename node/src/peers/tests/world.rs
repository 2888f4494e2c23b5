//! A small store with a history, nodes around it, and entries to send.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syngraph_protocol::certificate::{Certificate, CommitSignature, Vote, VoteKind};
use syngraph_protocol::codes::{Act, Meter, Place, Purpose};
use syngraph_protocol::crypto::{Domain, SecretKey};
use syngraph_protocol::entry::{Body, SignedEntry, Slot, VerifiedEntry};
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION, Genesis};
use syngraph_protocol::ids::{EventId, Height, Id, MemberId, NetworkId, Seq};
use syngraph_protocol::journal::NO_ENTRY;
use syngraph_protocol::ledger::Plan;
use syngraph_protocol::ledger::member::{MemberProfile, NodeKeys};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::ledger::usage::{ReportUsage, UsageContext, UsageRow};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::UtcMs;
use tempfile::TempDir;

use crate::peers::bounds::Timing;
use crate::peers::{PeerAddress, PeersError, Settings, Started, Transport, start_with};
use crate::replicas::message::{Holdings, PeerEvent, Peers as _, Request, Response, Ticket};
use crate::store::{Reader, Store};
use crate::telemetry::PeerMetrics;

/// 2026-10-01T00:00:00Z.
const FOUNDED: UtcMs = UtcMs::from_ms(1_790_812_800_000);
/// Nothing here takes as long, unless it hangs.
const HANG: Duration = Duration::from_secs(60);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// The transport key of a member's node.
pub(super) fn seed_of(member: u32) -> [u8; 32] {
    [u8::try_from(member).expect("few members") + 100; 32]
}

/// Times that make a test short; what fails here fails soon.
pub(super) fn brisk() -> Timing {
    Timing {
        redial: (Duration::from_millis(20), Duration::from_millis(200)),
        away: (Duration::from_millis(300), Duration::from_millis(1_200)),
        ..Timing::default()
    }
}

/// A signed report of about this many rows, 20 bytes each.
pub(super) fn report(seed: u8, network: NetworkId, seq: u64, rows: u16) -> VerifiedEntry {
    let context = UsageContext {
        agreement: Id::from_bytes([1; 32]),
        grant: 0,
        version: Id::from_bytes([2; 32]),
        act: Act::new("infer.service"),
        purpose: Purpose::new("commercial.product"),
        territory: Place::new("DE"),
        meter: Meter::new("tokens"),
        payer: MemberId::new(0),
    };
    let row = |number: u16| {
        let mut bytes = [0; 16];
        (bytes[6], bytes[8]) = (0x70, 0x80);
        bytes[..6].copy_from_slice(&FOUNDED.ms().to_be_bytes()[2..]);
        bytes[12..14].copy_from_slice(&number.to_be_bytes());
        bytes[14..].copy_from_slice(&seq.to_be_bytes()[6..]);
        UsageRow { event_id: EventId::from_bytes(bytes), context: 0, quantity: 1_000 }
    };
    let body = Body::ReportUsage(ReportUsage { contexts: vec![context], rows: (0..rows).map(row).collect() });
    let member = MemberId::new(0);
    let slot = Slot { network, member, seq: Seq::new(seq), prev: NO_ENTRY, claimed_at: FOUNDED };
    VerifiedEntry::verify(SignedEntry::sign(&key(seed), slot, body), network).expect("well formed")
}

/// A network of one voting member, and a store of its blocks.
pub(super) struct World {
    pub(super) network: NetworkId,
    pub(super) log: Reader,
    pub(super) sealed: Vec<VerifiedEntry>,
    _store: Store,
    _dir: TempDir,
}

impl World {
    /// With this many long reports sealed.
    pub(super) fn with_log(reports: u16) -> Self {
        let genesis = genesis();
        let network = genesis.verify().expect("the founder has signed");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (mut store, recovered) = Store::open(dir.path(), &genesis).expect("an empty directory");
        let mut ledger = recovered.ledger;
        let mut sealed = Vec::new();
        let mut prev = NO_ENTRY;
        for seq in 0..reports {
            let unlinked = report(4, network, seq.into(), 2_900);
            let slot = Slot { prev, ..slot_of(&unlinked) };
            let entry = SignedEntry::sign(&key(4), slot, unlinked.body().clone());
            let entry = VerifiedEntry::verify(entry, network).expect("well formed");
            prev = entry.id();
            store.append_entry(&entry).expect("the store writes");
            sealed.push(entry);
        }
        if !sealed.is_empty() {
            let plan = Plan { time: FOUNDED.plus_ms(1), built_by: MemberId::new(0) };
            let executed = ledger.execute(&plan, sealed.clone()).expect("a block");
            let (height, block, member) = (Height::new(1), executed.block.id(), MemberId::new(0));
            let kind = VoteKind::Precommit;
            let vote = Vote { network, kind, height, round: 0, block: Some(block), member };
            let signature = key(2).sign(Domain::VOTE, &vote.signing_bytes());
            let signatures = vec![CommitSignature { member, signature }];
            let certificate = Certificate { height, round: 0, block, signatures };
            store.commit(&executed, &certificate).expect("the store commits");
            ledger = executed.ledger;
        }
        assert_eq!(ledger.log_size(), u64::from(reports));
        Self { network, log: store.reader(), sealed, _store: store, _dir: dir }
    }

    pub(super) fn new() -> Self {
        Self::with_log(0)
    }

    pub(super) fn settings(&self, member: u32, listen: &str, transport: Transport) -> Settings {
        Settings {
            listen: listen.parse().expect("an address"),
            transport,
            network: self.network,
            seed: seed_of(member),
            me: MemberId::new(member),
            peers: Vec::new(),
            log: self.log.clone(),
            metrics: PeerMetrics::default(),
        }
    }

    pub(super) async fn node_at(
        &self,
        member: u32,
        listen: &str,
        transport: Transport,
        timing: Timing,
    ) -> Result<Node, PeersError> {
        let settings = self.settings(member, listen, transport);
        let metrics = settings.metrics.clone();
        let started = start_with(settings, timing).await?;
        Ok(Node { member: MemberId::new(member), started, metrics })
    }

    /// A member's node at a port of the system's choice.
    pub(super) async fn node(&self, member: u32) -> Node {
        let node = self.node_at(member, "127.0.0.1:0", Transport::Tcp, brisk()).await;
        node.expect("a free port")
    }

    /// Two nodes that are connected.
    pub(super) async fn pair(&self) -> (Node, Node) {
        let (mut a, mut b) = (self.node(0).await, self.node(1).await);
        a.admit(&[&b]);
        b.admit(&[&a]);
        a.until_up(&b).await;
        b.until_up(&a).await;
        (a, b)
    }
}

fn slot_of(entry: &VerifiedEntry) -> Slot {
    let head = entry.head();
    Slot {
        network: head.network,
        member: head.member,
        seq: head.seq,
        prev: head.prev,
        claimed_at: head.claimed_at,
    }
}

fn genesis() -> Genesis {
    let public = |seed| key(seed).public();
    let node = NodeKeys { validator: public(2), transport: public(3), journal: public(4) };
    let profile = MemberProfile {
        name: Name::new("Aster"),
        jurisdiction: Place::new("DE"),
        root: public(1),
        node: Some(node),
    };
    let charter = Charter {
        version: GENESIS_VERSION,
        name: Name::new("A consortium"),
        time: FOUNDED,
        params: Params::default(),
        members: vec![Founder { profile, power: 1 }],
    };
    let signatures = vec![charter.sign(&key(1))];
    Genesis { charter, signatures }
}

/// Waits, but not for ever.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, what).await.expect("this should have happened long ago")
}

/// Waits until something holds that nobody announces.
pub(super) async fn until(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A port and the core's side of it.
pub(super) struct Node {
    pub(super) member: MemberId,
    pub(super) started: Started,
    pub(super) metrics: PeerMetrics,
}

impl Node {
    pub(super) fn contact(&self) -> PeerAddress {
        let seed = seed_of(self.member.get());
        PeerAddress {
            member: self.member,
            transport: SecretKey::from_seed(&seed).public(),
            address: self.started.address.to_string(),
        }
    }

    pub(super) fn admit(&self, peers: &[&Node]) {
        let peers = peers.iter().map(|peer| peer.contact()).collect();
        self.started.peers.admit(peers).expect("a sound list");
    }

    pub(super) async fn next(&mut self) -> PeerEvent {
        soon(self.started.events.recv()).await.expect("the port runs")
    }

    /// Waits for `Up`, past whatever else there is of links.
    pub(super) async fn until_up(&mut self, peer: &Node) {
        self.until_link(peer.member, true).await;
    }

    pub(super) async fn until_down(&mut self, peer: &Node) {
        self.until_link(peer.member, false).await;
    }

    pub(super) async fn until_link(&mut self, peer: MemberId, up: bool) {
        loop {
            match self.next().await {
                PeerEvent::Up { member } if member == peer && up => return,
                PeerEvent::Down { member } if member == peer && !up => return,
                PeerEvent::Up { .. } | PeerEvent::Down { .. } => {}
                other => panic!("not of a link: {other:?}"),
            }
        }
    }

    pub(super) fn ask(&mut self, to: MemberId, request: Request) -> Ticket {
        static TICKETS: AtomicU64 = AtomicU64::new(0);
        let ticket = Ticket(TICKETS.fetch_add(1, Ordering::Relaxed));
        self.started.peers.ask(to, ticket, request);
        ticket
    }

    pub(super) fn answer(&mut self, to: MemberId, ticket: Ticket, response: Response) {
        self.started.peers.answer(to, ticket, response);
    }

    /// The next request.
    pub(super) async fn request(&mut self) -> (MemberId, Ticket, Request) {
        match self.next().await {
            PeerEvent::Request { from, ticket, request } => (from, ticket, request),
            other => panic!("not a request: {other:?}"),
        }
    }

    /// The next outcome of an ask.
    pub(super) async fn response(&mut self) -> (Ticket, Option<Response>) {
        match self.next().await {
            PeerEvent::Response { ticket, response, .. } => (ticket, response),
            other => panic!("not a response: {other:?}"),
        }
    }

    /// Asks something harmless, and has it answered.
    pub(super) async fn greet(&mut self, other: &mut Node) {
        let ticket = self.ask(other.member, Request::Holdings(holdings(0)));
        let (from, asked, _) = other.request().await;
        assert_eq!(from, self.member);
        other.answer(from, asked, Response::Taken);
        let (answered, response) = self.response().await;
        assert_eq!(answered, ticket);
        assert!(matches!(response, Some(Response::Taken)), "{response:?}");
    }

    /// Ends the port and waits until its socket is free.
    pub(super) async fn stop(self) {
        self.started.peers.stop();
        soon(self.started.ended).await.expect("it ends in peace");
    }
}

pub(super) fn holdings(height: u64) -> Holdings {
    Holdings { height: Height::new(height), log_size: 7, begun: Height::new(height + 1), points: Vec::new() }
}
