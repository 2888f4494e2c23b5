//! A node that has a member's key and says what it likes.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Codec, Message, ProtocolSupport};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, ping};
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::ids::MemberId;
use tokio::sync::{mpsc, watch};

use super::world::{Node, brisk, seed_of, soon};
use crate::peers::network::{multiaddr, swarm_of};
use crate::peers::{PeerAddress, Transport};

/// Bytes for a stream.
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
struct RawCodec;

async fn say<T: AsyncWrite + Unpin + Send>(io: &mut T, words: Words) -> io::Result<()> {
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
            }
        }
    }
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
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(Words::Some(bytes))
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Words>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_request(protocol, io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, words: Words) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        say(io, words).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, words: Words) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        say(io, words).await
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    exchange: request_response::Behaviour<RawCodec>,
    ping: ping::Behaviour,
}

/// What a rogue is told to do, and to whom.
enum Order {
    Connect(PeerId, Multiaddr),
    Say(PeerId, Words),
}

/// The handle to a rogue, which runs in a task of its own. It never listens.
pub(super) struct Rogue {
    pub(super) contact: PeerAddress,
    orders: mpsc::UnboundedSender<Order>,
    closed: watch::Receiver<u32>,
}

impl Rogue {
    /// With the key of a member; it answers every request with the same words.
    pub(super) fn new(member: u32, protocol: StreamProtocol, answer: Words) -> Self {
        let keys = Keypair::ed25519_from_bytes(seed_of(member)).expect("a seed");
        let config = request_response::Config::default().with_request_timeout(Duration::from_secs(120));
        let protocols = [(protocol, ProtocolSupport::Full)];
        let exchange = request_response::Behaviour::with_codec(RawCodec, protocols, config);
        let ping = ping::Behaviour::new(ping::Config::new());
        let swarm = swarm_of(Transport::Tcp, &keys, Behaviour { exchange, ping }, brisk()).expect("a swarm");
        let (orders, inbox) = mpsc::unbounded_channel();
        let (losses, closed) = watch::channel(0);
        tokio::spawn(run(swarm, inbox, losses, answer));
        let contact = PeerAddress {
            member: MemberId::new(member),
            transport: SecretKey::from_seed(&seed_of(member)).public(),
            address: "127.0.0.1:1".into(),
        };
        Self { contact, orders, closed }
    }

    /// Dials a node.
    pub(super) fn connect(&self, node: &Node) {
        self.order(Order::Connect(id_of(node), multiaddr(node.started.address, Transport::Tcp)));
    }

    /// Says something to a node that it is connected with.
    pub(super) fn say(&self, node: &Node, words: Words) {
        self.order(Order::Say(id_of(node), words));
    }

    fn order(&self, order: Order) {
        assert!(self.orders.send(order).is_ok(), "the rogue runs");
    }

    /// Waits until it has lost this many connections.
    pub(super) async fn until_closed(&mut self, times: u32) {
        soon(self.closed.wait_for(|closed| *closed >= times)).await.expect("the rogue runs");
    }
}

fn id_of(node: &Node) -> PeerId {
    let keys = Keypair::ed25519_from_bytes(seed_of(node.member.get())).expect("a seed");
    keys.public().to_peer_id()
}

async fn run(
    mut swarm: Swarm<Behaviour>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    closed: watch::Sender<u32>,
    answer: Words,
) {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Connect(node, address)) => {
                    let options = DialOpts::peer_id(node).addresses(vec![address]).allocate_new_port();
                    swarm.dial(options.build()).expect("not connected yet");
                }
                Some(Order::Say(node, words)) => {
                    swarm.behaviour_mut().exchange.send_request(&node, words);
                }
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionClosed { .. } => closed.send_modify(|closed| *closed += 1),
                SwarmEvent::Behaviour(BehaviourEvent::Exchange(request_response::Event::Message {
                    message: Message::Request { channel, .. },
                    ..
                })) => {
                    // The node may have cut it off already.
                    swarm.behaviour_mut().exchange.send_response(channel, answer.clone()).ok();
                }
                _ => {}
            },
        }
    }
}
