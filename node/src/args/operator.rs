//! What an operator's commands take.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use syngraph_config::node::init::NewNode;
use syngraph_protocol::time::UtcMs;

/// What a new node is to be.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The node's directory; nothing in it is overwritten.
    #[arg(long, env = "SYNGRAPH_DIR")]
    pub dir: PathBuf,
    /// The member's name.
    #[arg(long)]
    pub name: String,
    /// The place whose law the member is under: a country, or a part of one.
    #[arg(long, default_value = "DE", value_name = "PLACE")]
    pub jurisdiction: String,
    /// Where the HTTP API is to listen [default: 127.0.0.1:8440].
    #[arg(long, env = "SYNGRAPH_HTTP", value_name = "IP:PORT")]
    pub http: Option<SocketAddr>,
    /// Where the peer port is to listen [default: 127.0.0.1:8442].
    #[arg(long, env = "SYNGRAPH_PEERS", value_name = "IP:PORT")]
    pub peers: Option<SocketAddr>,
    /// Where the consensus port is to listen [default: 127.0.0.1:8441].
    #[arg(long, env = "SYNGRAPH_CONSENSUS", value_name = "IP:PORT")]
    pub consensus: Option<SocketAddr>,
    /// The host at which other members reach both ports; without it what is listened on.
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
}

impl InitArgs {
    /// What is to be made.
    #[must_use]
    pub fn new_node(&self) -> NewNode {
        NewNode {
            name: self.name.clone(),
            jurisdiction: self.jurisdiction.clone(),
            http: self.http,
            peers: self.peers,
            consensus: self.consensus,
            advertise: self.advertise.clone(),
        }
    }
}

/// What to do with a node's peers.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// Adds other members' nodes, from their cards, to the node's configuration.
    #[command(after_help = "Example:\n  syngraphd peer add --dir /var/lib/syngraph birch.toml cedar.toml")]
    Add {
        /// The node's directory.
        #[arg(long, env = "SYNGRAPH_DIR")]
        dir: PathBuf,
        /// Other members' cards.
        #[arg(required = true, value_name = "CARD")]
        cards: Vec<PathBuf>,
    },
}

/// What to do with a founding document.
#[derive(Debug, Subcommand)]
pub enum GenesisCommand {
    /// Begins a founding document: a name, a time and parameters, and no founders yet.
    #[command(after_help = "Example:\n  syngraphd genesis new --name \"Example consortium\" \
        --out genesis.toml --param heartbeat_ms=10000")]
    New(NewArgs),
    /// Adds founders by their cards. Their ids are their positions.
    #[command(after_help = "Example:\n  syngraphd genesis add --genesis genesis.toml \
        aster.toml birch.toml cedar.toml dill.toml")]
    Add(AddArgs),
    /// Signs with a founder's root key, after comparing the document with its card.
    #[command(after_help = "Example:\n  syngraphd genesis sign --genesis genesis.toml \
        --dir /var/lib/syngraph")]
    Sign(SignArgs),
    /// Gathers the signatures of copies that were signed apart.
    #[command(after_help = "Example:\n  syngraphd genesis merge --out genesis.toml \
        aster-genesis.toml birch-genesis.toml")]
    Merge(MergeArgs),
    /// Says which network a file founds, who has signed it, and what is missing.
    #[command(after_help = "Example:\n  syngraphd genesis check genesis.toml")]
    Check(CheckArgs),
}

/// How a founding document begins.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Name of the consortium.
    #[arg(long)]
    pub name: String,
    /// The file to write; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// When the network begins; now, if nothing is said.
    #[arg(long, value_parser = UtcMs::parse)]
    pub time: Option<UtcMs>,
    /// A parameter that is not to have its default, as in `fee.ppm=25000`.
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub params: Vec<String>,
}

/// Who founds.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The founding document.
    #[arg(long, value_name = "FILE")]
    pub genesis: PathBuf,
    /// Voting power of each of these founders; without it 1, and 0 for one without a node.
    #[arg(long)]
    pub power: Option<u64>,
    /// Take away the signatures that stand there, since they would not hold any more.
    #[arg(long)]
    pub drop_signatures: bool,
    /// The founders' cards.
    #[arg(required = true, value_name = "CARD")]
    pub cards: Vec<PathBuf>,
}

/// Who signs.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The founding document.
    #[arg(long, value_name = "FILE")]
    pub genesis: PathBuf,
    /// The founder's node, whose root key signs and whose card is compared.
    #[arg(long, env = "SYNGRAPH_DIR", required_unless_present = "key")]
    pub dir: Option<PathBuf>,
    /// The founder's root key, if it is not with its node.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The founder's own card, if it is not with its node.
    #[arg(long, value_name = "FILE")]
    pub card: Option<PathBuf>,
}

/// What is gathered.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The file to write; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Copies of one founding document.
    #[arg(required = true, value_name = "COPY")]
    pub copies: Vec<PathBuf>,
}

/// What is checked.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file.
    pub file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a running node is asked.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The address of its API.
    #[arg(long, env = "SYNGRAPH_NODE", default_value = "http://127.0.0.1:8440", value_name = "URL")]
    pub node: String,
    /// Ask why no block comes.
    #[arg(long)]
    pub stall: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
