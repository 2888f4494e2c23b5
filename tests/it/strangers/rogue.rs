//! A libp2p node that says what it likes, with whatever key it was given.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Codec, Event, Message, ProtocolSupport};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, tcp, yamux};
use tokio::sync::mpsc;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long a stream is kept, whatever happens on it.
const STREAM: Duration = Duration::from_secs(300);

/// What is written to a stream.
#[derive(Clone, Debug)]
pub(super) enum Words {
    /// These, then the end.
    Some(Vec<u8>),
    /// These, then zeros for ever.
    Endless(Vec<u8>),
    /// These, then silence.
    Halting(Vec<u8>),
}

#[derive(Clone)]
struct RawCodec(Arc<Seen>);

async fn say<T: AsyncWrite + Unpin + Send>(io: &mut T, words: Words, seen: &Seen) -> io::Result<()> {
    match words {
        Words::Some(bytes) => io.write_all(&bytes).await,
        Words::Halting(bytes) => {
            io.write_all(&bytes).await?;
            io.flush().await?;
            std::future::pending().await
        }
        Words::Endless(bytes) => {
            io.write_all(&bytes).await?;
            loop {
                io.write_all(&[0; 16 * 1024]).await?;
                seen.written.fetch_add(16 * 1024, Ordering::Relaxed);
            }
        }
    }
}

async fn hear<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Words> {
    let mut bytes = Vec::new();
    io.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await?;
    Ok(Words::Some(bytes))
}

#[async_trait]
impl Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Words;
    type Response = Words;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Words>
    where
        T: AsyncRead + Unpin + Send,
    {
        hear(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Words>
    where
        T: AsyncRead + Unpin + Send,
    {
        hear(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, words: Words) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        say(io, words, &self.0).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, words: Words) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        say(io, words, &self.0).await
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    exchange: request_response::Behaviour<RawCodec>,
    identify: Toggle<identify::Behaviour>,
    ping: ping::Behaviour,
}

/// What a rogue has lived through.
#[derive(Debug, Default)]
pub(super) struct Seen {
    closed: AtomicU64,
    failed: AtomicU64,
    answered: AtomicU64,
    written: AtomicU64,
}

/// What a rogue is told to do.
enum Order {
    Connect(SocketAddr),
    Say(Words),
}

/// A rogue, on a thread of its own until it is dropped. It never listens.
pub(super) struct Rogue {
    orders: Option<mpsc::UnboundedSender<Order>>,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Rogue {
    /// A rogue with this key that speaks this protocol, and introduces itself as a node of
    /// some kind if it is told to.
    pub(super) fn new(seed: [u8; 32], protocol: &str, introduction: Option<&str>) -> Self {
        let keys = Keypair::ed25519_from_bytes(seed).expect("any 32 bytes are a seed");
        let swarm = Recipe {
            keys,
            protocol: StreamProtocol::try_from_owned(protocol.to_owned()).expect("it begins with a slash"),
            introduction: introduction.map(str::to_owned),
        };
        let (orders, inbox) = mpsc::unbounded_channel();
        let seen = Arc::new(Seen::default());
        let theirs = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("the system gives a runtime").block_on(run(swarm, inbox, theirs));
        });
        Self { orders: Some(orders), seen, thread: Some(thread) }
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("it is there until it is dropped");
        assert!(orders.send(order).is_ok(), "the rogue runs");
    }

    /// Dials an address.
    pub(super) fn connect(&self, to: SocketAddr) {
        self.order(Order::Connect(to));
    }

    /// Says something on a stream of its own to whoever it is connected with last.
    pub(super) fn say(&self, words: Words) {
        self.order(Order::Say(words));
    }

    /// Connections that it has lost, and dials that came to none.
    pub(super) fn lost(&self) -> u64 {
        self.seen.closed.load(Ordering::Relaxed) + self.seen.failed.load(Ordering::Relaxed)
    }

    /// Requests that were answered.
    pub(super) fn answered(&self) -> u64 {
        self.seen.answered.load(Ordering::Relaxed)
    }

    /// Bytes of endless streams that somebody took.
    pub(super) fn written(&self) -> u64 {
        self.seen.written.load(Ordering::Relaxed)
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        drop(self.orders.take());
        // A rogue that panicked has failed its test already.
        self.thread.take().map(JoinHandle::join);
    }
}

/// What a rogue is made of.
struct Recipe {
    keys: Keypair,
    protocol: StreamProtocol,
    introduction: Option<String>,
}

fn swarm(recipe: Recipe, seen: Arc<Seen>) -> Swarm<Behaviour> {
    let Recipe { keys, protocol, introduction } = recipe;
    let protocols = [(protocol, ProtocolSupport::Outbound)];
    let config = request_response::Config::default().with_request_timeout(STREAM);
    let exchange = request_response::Behaviour::with_codec(RawCodec(seen), protocols, config);
    let identify = introduction.map(|kind| identify::Config::new(kind, keys.public()));
    let behaviour = Behaviour {
        exchange,
        identify: identify.map(identify::Behaviour::new).into(),
        ping: ping::Behaviour::new(ping::Config::new()),
    };
    SwarmBuilder::with_existing_identity(keys)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("noise takes any key")
        .with_behaviour(|_| behaviour)
        .expect("a behaviour is given")
        .with_swarm_config(|config| config.with_idle_connection_timeout(STREAM))
        .build()
}

async fn run(recipe: Recipe, mut orders: mpsc::UnboundedReceiver<Order>, seen: Arc<Seen>) {
    let mut swarm = swarm(recipe, Arc::clone(&seen));
    let (mut last, mut waiting): (Option<PeerId>, Vec<Words>) = (None, Vec::new());
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Connect(to)) => dial(&mut swarm, to, &seen),
                Some(Order::Say(words)) => waiting.push(words),
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    last = Some(peer_id);
                }
                SwarmEvent::ConnectionClosed { .. } => {
                    last = None;
                    count(&seen.closed);
                }
                SwarmEvent::OutgoingConnectionError { .. } => {
                    count(&seen.failed);
                }
                SwarmEvent::Behaviour(BehaviourEvent::Exchange(Event::Message {
                    message: Message::Response { .. },
                    ..
                })) => {
                    count(&seen.answered);
                }
                _ => {}
            },
        }
        if let Some(peer) = last {
            for words in waiting.drain(..) {
                swarm.behaviour_mut().exchange.send_request(&peer, words);
            }
        }
    }
}

fn dial(swarm: &mut Swarm<Behaviour>, to: SocketAddr, seen: &Seen) {
    let address = Multiaddr::from(to.ip()).with(Protocol::Tcp(to.port()));
    let options = DialOpts::unknown_peer_id().address(address).allocate_new_port();
    if swarm.dial(options.build()).is_err() {
        seen.failed.fetch_add(1, Ordering::Relaxed);
    }
}
