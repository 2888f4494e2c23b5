//! The sender against a node in this process that does what nodes and networks do at
//! their worst: drops connections before and after its work, is busy, refuses.

mod lost;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use syngraph_protocol::archive::bundle_entries;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::{SignedEntry, VerifiedEntry};
use syngraph_protocol::ids::{MemberId, NetworkId};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::ledger::period::ClosePeriod;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const NETWORK: NetworkId = NetworkId::from_bytes([4; 32]);

/// What happens to one request that sends entries.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The connection breaks before the node has read the request.
    DropBefore,
    /// The node does its work and the answer is lost.
    DropAfter,
    /// The node has no room.
    Busy,
    /// Something in between refuses the request as a whole.
    TooLarge,
    /// The same, however little it sends.
    Refuse,
}

/// A node with one journal.
#[derive(Default)]
struct Fake {
    journal: Vec<VerifiedEntry>,
    /// How many entries `GET`s of the journal say are sealed; all if none.
    sealed: Option<usize>,
    faults: VecDeque<Fault>,
    /// Idempotency keys that are refused at the door.
    refuses: BTreeSet<u8>,
    /// The ids of everything that was ever sent, by idempotency key.
    seen: BTreeMap<u8, BTreeSet<EntryId>>,
    /// How many entries a quorum holds, if more than are sealed.
    replicated: usize,
    /// By which rule nothing more is sealed.
    ends: Option<&'static str>,
    /// Whether every connection breaks.
    is_gone: bool,
    /// Whether the key is not registered yet.
    key_is_unknown: bool,
}

fn idem_of(entry: &VerifiedEntry) -> u8 {
    match entry.body() {
        Body::Deed { idem, .. } => idem.as_bytes()[0],
        Body::ReportUsage(_) => panic!("only deeds here"),
    }
}

impl Fake {
    fn tip(&self) -> Tip {
        let append =
            |tip: Tip, entry: &VerifiedEntry| tip.append(entry.head().seq, entry.head().prev, entry.id());
        self.journal.iter().try_fold(Tip::EMPTY, append).expect("only what continues it is taken")
    }

    fn sealed(&self) -> usize {
        self.sealed.unwrap_or(usize::MAX).min(self.journal.len())
    }

    fn idems(&self) -> Vec<u8> {
        self.journal.iter().map(idem_of).collect()
    }

    fn admit(&mut self, bytes: &[u8]) -> Value {
        let entry = VerifiedEntry::decode(bytes, NETWORK).expect("the client signs what it sends");
        let (id, head) = (entry.id(), entry.head().clone());
        self.seen.entry(idem_of(&entry)).or_default().insert(id);
        let position = usize::try_from(head.seq.get()).expect("small");
        let refused =
            |status: u16, rule: &str| json!({"status": status, "id": id, "rule": rule, "detail": "x"});
        match self.journal.get(position) {
            Some(known) if known.id() == id => return json!({"status": 200, "id": id, "state": "accepted"}),
            Some(_) => return refused(409, "JRN-FORK"),
            None => {}
        }
        if self.refuses.contains(&idem_of(&entry)) {
            return refused(422, "TEST-REFUSED");
        }
        if let Err(link) = self.tip().append(head.seq, head.prev, id) {
            return refused(422, link.rule());
        }
        self.journal.push(entry);
        json!({"status": 201, "id": id, "state": "accepted"})
    }

    /// Status and body of the answer; none if the connection breaks instead.
    fn post(&mut self, body: &[u8]) -> Option<(u16, Value)> {
        let fault = self.faults.pop_front();
        match fault {
            Some(Fault::DropBefore) => return None,
            Some(Fault::Busy) => {
                return Some((503, json!({"status": 503, "rule": "NODE-BUSY", "detail": "later"})));
            }
            Some(Fault::TooLarge) if bundle_entries(body).count() > 1 => {
                return Some((413, json!({"status": 413, "rule": "HTTP-BODY-TOO-LARGE", "detail": "less"})));
            }
            Some(Fault::Refuse) => {
                return Some((400, json!({"status": 400, "rule": "PROXY-REFUSED", "detail": "no"})));
            }
            Some(Fault::TooLarge | Fault::DropAfter) | None => {}
        }
        let frames: Vec<_> = bundle_entries(body).map(|frame| frame.expect("well framed").to_vec()).collect();
        let mut answers: Vec<Value> = frames.iter().map(|frame| self.admit(frame)).collect();
        if matches!(fault, Some(Fault::DropAfter)) {
            return None;
        }
        if answers.len() == 1 {
            let status = answers[0]["status"].as_u64().and_then(|status| u16::try_from(status).ok());
            return Some((status.expect("set above"), answers.remove(0)));
        }
        Some((200, Value::Array(answers)))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let unknown = |rule: &str| (404, json!({"status": 404, "rule": rule, "detail": "unknown"}));
        if path == "/v1/status" {
            let zeros = "00".repeat(32);
            let status = json!({
                "network": NETWORK, "member": 3, "name": "Cedar", "height": 1, "block": zeros, "state_root": zeros,
                "log_size": 0, "rows_sealed": 0, "ready": true, "time": "2026-10-01T00:00:00.000Z",
            });
            return (200, status);
        }
        if let Some(key) = path.strip_prefix("/v1/journals/").and_then(|rest| rest.split('?').next()) {
            if self.key_is_unknown {
                return unknown("KEY-UNKNOWN");
            }
            let tip = self.tip();
            let view = json!({
                "journal": key, "member": 3, "next_seq": tip.next, "last_entry": tip.last,
                "replicated_next_seq": self.replicated.max(self.sealed()), "sealed_next_seq": self.sealed(),
                "ends": self.ends.map(|rule| json!({"seq": self.sealed(), "rule": rule})),
            });
            return (200, view);
        }
        if let Some(ids) = path.strip_prefix("/v1/outcomes?ids=") {
            let outcome = |id: &str| {
                let position = self.journal.iter().position(|entry| entry.id().to_string() == id)?;
                let sealed = json!({"id": id, "height": 7, "index": position, "outcome": "applied"});
                (position < self.sealed()).then_some(sealed)
            };
            return (200, ids.split(',').filter_map(outcome).collect());
        }
        let id = path.strip_prefix("/v1/entries/").and_then(|rest| rest.split('?').next());
        let id = id.expect("no other path is asked for");
        let position = self.journal.iter().position(|entry| entry.id().to_string() == id);
        let Some(position) = position else { return unknown("ENTRY-UNKNOWN") };
        let is_sealed = position < self.sealed();
        let view = json!({
            "id": id, "state": if is_sealed { "sealed" } else { "accepted" },
            "height": is_sealed.then_some(7), "index": is_sealed.then_some(position),
            "outcome": is_sealed.then_some("applied"), "entry": self.journal[position].entry(),
        });
        (200, view)
    }
}

type Shared = Arc<Mutex<Fake>>;

/// Reads one request: method, path, body.
async fn request(stream: &mut TcpStream) -> Option<(String, String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut words = head.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some((method, path, body))
}

async fn serve(mut stream: TcpStream, fake: Shared) {
    while let Some((method, path, body)) = request(&mut stream).await {
        let answer = {
            let mut fake = fake.lock().expect("no test panics with it");
            match method.as_str() {
                _ if fake.is_gone => None,
                "POST" => fake.post(&body),
                _ => Some(fake.get(&path)),
            }
        };
        let Some((status, body)) = answer else { return };
        let body = body.to_string();
        let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A running node, a key file's place, and everything to open clients with.
struct Bench {
    fake: Shared,
    node: Node,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new(fake: Fake) -> Self {
        let fake = Arc::new(Mutex::new(fake));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        let node = Node::new(&format!("http://{address}")).expect("an address");
        Self { fake, node, dir: tempfile::tempdir().expect("a folder") }
    }

    fn client(&self, patience: Option<Duration>) -> Client {
        self.client_of(Vec::new(), patience)
    }

    /// A client that may go on with other nodes.
    fn client_of(&self, others: Vec<Node>, patience: Option<Duration>) -> Client {
        let key = Key::new(SecretKey::from_seed(&[5; 32]), "app");
        let options = Options { patience, others, ..Options::beside(&self.dir.path().join("app.key")) };
        Client::open(self.node.clone(), &key, &options).expect("a fresh outbox")
    }

    fn fake<T>(&self, look: impl FnOnce(&mut Fake) -> T) -> T {
        look(&mut self.fake.lock().expect("no test panics with it"))
    }
}

fn body(idem: u8) -> Body {
    let month = "2026-10".parse().expect("a month");
    Body::Deed { idem: Idem::from_bytes([idem; 16]), deed: Deed::ClosePeriod(ClosePeriod { month }) }
}

async fn queue_all(client: &Client, idems: std::ops::Range<u8>) -> Vec<Ticket> {
    let mut tickets = Vec::new();
    for idem in idems {
        tickets.push(client.queue(body(idem)).await.expect("durable"));
    }
    tickets
}

#[tokio::test]
async fn a_submitted_entry_comes_back_with_its_outcome() {
    let bench = Bench::new(Fake::default()).await;
    let client = bench.client(None);
    let receipt = client.submit_and_wait(body(1)).await.expect("sealed");
    assert_eq!(receipt.outcome, Some(Outcome::Applied));
    assert_eq!((receipt.height, receipt.index), (Some(Height::new(7)), Some(0)));
    let signed: SignedEntry = bench.fake(|fake| fake.journal[0].entry().clone());
    assert_eq!((signed.head.member, signed.id()), (MemberId::new(3), receipt.id));
}

#[tokio::test]
async fn faults_lose_nothing_repeat_nothing_and_keep_the_order() {
    use Fault::{Busy, DropAfter, DropBefore, TooLarge};
    let faults = [DropAfter, Busy, DropBefore, TooLarge, DropAfter, DropAfter];
    let bench = Bench::new(Fake { faults: faults.into(), ..Fake::default() }).await;
    let client = bench.client(None);
    for mut ticket in queue_all(&client, 0..60).await {
        ticket.sealed().await.expect("sealed in the end");
    }
    bench.fake(|fake| {
        assert_eq!(fake.idems(), (0..60).collect::<Vec<_>>());
        assert!(fake.seen.values().all(|ids| ids.len() == 1), "a retry sends the same bytes");
    });
}

#[tokio::test]
async fn a_refused_entry_leaves_no_gap() {
    let bench =
        Bench::new(Fake { refuses: [3, 7].into(), faults: [Fault::Busy].into(), ..Fake::default() }).await;
    let client = bench.client(None);
    let mut refused = Vec::new();
    for (idem, mut ticket) in (0_u8..).zip(queue_all(&client, 0..10).await) {
        if let Err(error) = ticket.sealed().await {
            assert_eq!(error.rule(), "TEST-REFUSED");
            refused.push(idem);
        }
    }
    assert_eq!(refused, [3, 7]);
    bench.fake(|fake| assert_eq!(fake.idems(), [0, 1, 2, 4, 5, 6, 8, 9]));
}

#[tokio::test]
async fn a_restart_goes_on_with_what_waits() {
    let busy = std::iter::repeat_n(Fault::Busy, 1_000).collect();
    let bench = Bench::new(Fake { faults: busy, ..Fake::default() }).await;
    let client = bench.client(None);
    let tickets = queue_all(&client, 0..5).await;
    client.close().await;
    for mut ticket in tickets {
        assert_eq!(ticket.sealed().await.map_err(|e| e.rule().to_owned()), Err("SUBMIT-CLOSED".into()));
    }
    // The last request before the next end is done and its answer lost.
    bench.fake(|fake| fake.faults = [Fault::DropAfter].into());
    let client = bench.client(None);
    let mut last = client.queue(body(5)).await.expect("durable");
    last.sealed().await.expect("sealed");
    client.close().await;
    bench.fake(|fake| {
        assert_eq!(fake.idems(), [0, 1, 2, 3, 4, 5]);
        assert!(fake.seen.values().all(|ids| ids.len() == 1), "one identity across restarts");
    });
}

#[tokio::test]
async fn what_is_not_sealed_stays_until_it_is() {
    let bench = Bench::new(Fake { sealed: Some(1), ..Fake::default() }).await;
    let client = bench.client(None);
    let mut tickets = queue_all(&client, 0..3).await;
    for ticket in &mut tickets {
        ticket.accepted().await.expect("accepted");
    }
    tickets[0].sealed().await.expect("sealed");
    client.close().await;
    // The node loses what it had not sealed, and gets it again.
    bench.fake(|fake| {
        fake.journal.truncate(1);
        fake.sealed = None;
    });
    let client = bench.client(None);
    client.submit_and_wait(body(3)).await.expect("sealed");
    bench.fake(|fake| assert_eq!(fake.idems(), [0, 1, 2, 3]));
}

#[tokio::test]
async fn a_key_that_is_used_elsewhere_stops_the_outbox() {
    let bench = Bench::new(Fake { faults: [Fault::Busy; 100].into(), ..Fake::default() }).await;
    let client = bench.client(None);
    let ticket = client.queue(body(0)).await.expect("durable");
    // Wait until it was signed and sent once: then its place is taken by another entry.
    while bench.fake(|fake| fake.faults.len()) > 99 {
        tokio::task::yield_now().await;
    }
    let slot = syngraph_protocol::entry::Slot {
        network: NETWORK,
        member: MemberId::new(3),
        seq: Seq::FIRST,
        prev: Tip::EMPTY.last,
        claimed_at: syngraph_protocol::time::UtcMs::from_ms(0),
    };
    let other = SignedEntry::sign(&SecretKey::from_seed(&[5; 32]), slot, body(9));
    bench.fake(|fake| {
        fake.journal.push(VerifiedEntry::verify(other, NETWORK).expect("signed"));
        fake.faults.clear();
    });
    let mut ticket = ticket;
    assert_eq!(ticket.sealed().await.map_err(|e| e.rule().to_owned()), Err("OUTBOX-FORKED".into()));
    bench.fake(|fake| assert_eq!(fake.idems(), [9]));
    let next = client.queue(body(1)).await.map(|_| ()).map_err(|e| e.rule().to_owned());
    assert_eq!(next, Err("OUTBOX-FORKED".into()));
}

/// Waits until the fake is as it should be.
async fn until(bench: &Bench, is_so: impl Fn(&Fake) -> bool) {
    while !bench.fake(|fake| is_so(fake)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_ticket_tells_each_state_once_it_is_reached() {
    let bench = Bench::new(Fake { sealed: Some(0), ..Fake::default() }).await;
    let client = bench.client(None);
    let mut tickets = queue_all(&client, 0..2).await;
    for ticket in &mut tickets {
        assert_eq!(ticket.accepted().await.expect("accepted").state, State::Accepted);
    }
    bench.fake(|fake| fake.replicated = 1);
    assert_eq!(tickets[0].replicated().await.expect("a quorum holds it").state, State::Replicated);
    assert_eq!((tickets[0].state(), tickets[1].state()), (Some(State::Replicated), Some(State::Accepted)));
    bench.fake(|fake| fake.sealed = None);
    for ticket in &mut tickets {
        assert_eq!(ticket.sealed().await.expect("sealed").outcome, Some(Outcome::Applied));
        assert_eq!(ticket.replicated().await.expect("and so replicated").state, State::Sealed);
    }
}

#[tokio::test]
async fn what_has_lapsed_is_told_and_not_kept() {
    let bench = Bench::new(Fake { sealed: Some(1), ..Fake::default() }).await;
    let client = bench.client(None);
    let mut tickets = queue_all(&client, 0..3).await;
    tickets[0].sealed().await.expect("sealed");
    until(&bench, |fake| fake.journal.len() == 3).await;
    bench.fake(|fake| (fake.ends, fake.refuses) = (Some("KEY-FROZEN"), (0..=255).collect()));
    for ticket in &mut tickets[1..] {
        let error = ticket.sealed().await.expect_err("never");
        assert_eq!((error.rule(), ticket.state()), ("KEY-FROZEN", Some(State::Lapsed)));
    }
    client.close().await;
    // Nothing is left to be sent, and the key is done for.
    let client = bench.client(None);
    assert_eq!(client.submit(body(9)).await.map_err(|e| e.rule().to_owned()), Err("TEST-REFUSED".into()));
    bench.fake(|fake| assert_eq!(fake.idems(), [0, 1, 2]));
}

#[tokio::test]
async fn another_node_goes_on_where_one_has_gone() {
    let (first, second) = (Bench::new(Fake::default()).await, Bench::new(Fake::default()).await);
    let client = first.client_of(vec![second.node.clone()], None);
    client.submit_and_wait(body(0)).await.expect("sealed by the first");
    // Both have it; then the first takes two more, and answers nobody any more.
    let sealed = first.fake(|fake| fake.journal.clone());
    second.fake(|fake| fake.journal = sealed);
    first.fake(|fake| fake.sealed = Some(1));
    let mut tickets = queue_all(&client, 1..3).await;
    for ticket in &mut tickets {
        ticket.accepted().await.expect("accepted by the first");
    }
    first.fake(|fake| fake.is_gone = true);
    for ticket in &mut tickets {
        ticket.sealed().await.expect("sealed by the second");
    }
    client.submit_and_wait(body(3)).await.expect("sealed by the second");
    second.fake(|fake| assert_eq!(fake.idems(), [0, 1, 2, 3]));
    let ids =
        |bench: &Bench| bench.fake(|fake| fake.journal.iter().map(VerifiedEntry::id).collect::<Vec<_>>());
    assert_eq!(ids(&first), ids(&second)[..3], "the same bytes, so nothing forks");
}

#[tokio::test]
async fn a_place_that_another_node_may_hold_is_never_signed_anew() {
    let (first, second) = (Bench::new(Fake::default()).await, Bench::new(Fake::default()).await);
    let client = first.client_of(vec![second.node.clone()], None);
    first.fake(|fake| fake.faults = [Fault::DropAfter].into());
    second.fake(|fake| fake.refuses = [1].into());
    let error = client.submit_and_wait(body(1)).await.map(|receipt| receipt.state);
    // The second refuses it. It is told, or the first is asked again in time: never dropped.
    assert!(matches!(&error, Ok(State::Sealed)) || error.is_err_and(|e| e.rule() == "TEST-REFUSED"));
    let mut next = client.queue(body(2)).await.expect("durable");
    next.sealed().await.expect("the first has both in the end");
    first.fake(|fake| assert_eq!(fake.idems(), [1, 2]));
    second.fake(|fake| assert!(fake.seen.values().all(|ids| ids.len() == 1)));
}

#[tokio::test]
async fn a_request_that_is_refused_as_a_whole_does_not_free_the_places_in_it() {
    let faults = [Fault::DropAfter, Fault::Refuse].into();
    let bench = Bench::new(Fake { faults, ..Fake::default() }).await;
    let client = bench.client(None);
    // The node has it and nobody heard; then something in between lets nothing through.
    let told = client.submit_and_wait(body(1)).await;
    assert!(told.is_err_and(|error| matches!(error, SubmitError::Unavailable { .. })), "it stays");
    client.submit_and_wait(body(2)).await.expect("the journal goes on behind it");
    bench.fake(|fake| {
        assert_eq!(fake.idems(), [1, 2]);
        assert!(fake.seen.values().all(|ids| ids.len() == 1), "nothing was signed anew");
    });
}

#[tokio::test]
async fn patience_ends_and_the_entry_stays() {
    let bench = Bench::new(Fake { key_is_unknown: true, ..Fake::default() }).await;
    let client = bench.client(Some(Duration::from_millis(30)));
    let error = client.submit(body(0)).await.expect_err("nobody knows the key");
    assert_eq!(error.rule(), "KEY-UNKNOWN");
    client.close().await;
    bench.fake(|fake| fake.key_is_unknown = false);
    let client = bench.client(None);
    client.submit(body(1)).await.expect("accepted");
    bench.fake(|fake| assert_eq!(fake.idems(), [0, 1]));
}

#[tokio::test]
async fn what_no_node_would_take_is_not_kept() {
    let bench = Bench::new(Fake::default()).await;
    let client = bench.client(None);
    let empty = syngraph_protocol::ledger::usage::ReportUsage { contexts: Vec::new(), rows: Vec::new() };
    let error = client.submit(Body::ReportUsage(empty)).await.expect_err("no rows");
    assert_eq!(error.rule(), "USE-EMPTY");
    client.submit_and_wait(body(1)).await.expect("sealed");
    bench.fake(|fake| assert_eq!(fake.idems(), [1]));
}
