//! A node as far as the command line sees one: fixed answers, and a count of what was
//! submitted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use syngraph_protocol::entry::SignedEntry;

/// Answers until the test's process ends.
pub(crate) struct FakeNode {
    address: SocketAddr,
    posts: Arc<AtomicUsize>,
}

impl FakeNode {
    /// Answers each path with its document and every other one with a problem. Every
    /// entry is accepted.
    pub(crate) fn start<P: Into<String>>(documents: impl IntoIterator<Item = (P, Value)>) -> Self {
        let documents: BTreeMap<String, Value> =
            documents.into_iter().map(|(path, document)| (path.into(), document)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let counted = Arc::new(AtomicUsize::new(0));
        let node = Self { address, posts: counted.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (documents, posts) = (documents.clone(), counted.clone());
                // A client that goes away in the middle needs no answer.
                std::thread::spawn(move || serve(stream, &documents, &posts).ok());
            }
        });
        node
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many entries were submitted.
    pub(crate) fn posts(&self) -> usize {
        self.posts.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, documents: &BTreeMap<String, Value>, posts: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut length) = (String::new(), 0);
    while reader.read_line(&mut request)? > 2 {}
    for line in request.lines() {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let target = request.split_whitespace().nth(1).unwrap_or("");
    let path = target.split('?').next().unwrap_or("");
    let (status, answer) = match documents.get(path) {
        _ if request.starts_with("POST") => {
            posts.fetch_add(1, Ordering::SeqCst);
            ("201 Created", receipt(&body))
        }
        Some(document) => ("200 OK", document.clone()),
        None => ("404 Not Found", json!({"status": 404, "rule": "FAKE-UNKNOWN", "detail": "there is none"})),
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
    (&stream).write_all(head.as_bytes())?;
    (&stream).write_all(answer.as_bytes())
}

/// The receipt of the one entry in a body.
fn receipt(body: &[u8]) -> Value {
    let entry: SignedEntry =
        syngraph_protocol::codec::decode(body.get(2..).unwrap_or(&[]), 65_535).expect("an entry");
    json!({"status": 201, "id": entry.id(), "state": "accepted", "height": null, "outcome": null})
}
