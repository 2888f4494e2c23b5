//! One question to a node's API: a GET over plain HTTP, as little of it as that takes.
//!
//! The node itself must not use the client's code, and what it asks here is one small
//! document from its own server; an HTTP client would be a large guest for that.
//!
//! *Invariants.* An answer is at most [`ANSWER_BYTES_MAX`] long and comes within
//! [`ANSWER_TIME_MAX`]. HTTP/1.0 is spoken, so that the answer is plain bytes up to the end
//! of the connection.
//!
//! *Deliberately absent:* TLS and redirects. Behind a proxy `syngraph status` asks.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{OperatorError, visible};

/// Longest answer, head included.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Longest time until the whole answer is there.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Most of a refusal that is shown, in characters.
const DETAIL_CHARS_MAX: usize = 1_000;

/// The JSON that a node has under a path.
///
/// # Errors
/// `NODE-ADDRESS`, `NODE-UNREACHABLE`, `NODE-ANSWER`, or the node's own rule.
pub(super) fn get(url: &str, path: &str) -> Result<Value, OperatorError> {
    let host = host_of(url).ok_or_else(|| OperatorError::Address { url: url.to_owned() })?;
    let url = url.to_owned();
    let bytes =
        fetch(host, path).map_err(|source| OperatorError::Unreachable { url: url.clone(), source })?;
    let unclear = |problem: &str| OperatorError::Answer { url: url.clone(), problem: problem.to_owned() };
    let (status, body) = split(&bytes).ok_or_else(|| unclear("the answer is not HTTP"))?;
    let value: Value = serde_json::from_slice(body).map_err(|_| unclear("the answer is not JSON"))?;
    if status == 200 {
        return Ok(value);
    }
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(visible);
    let detail = text("detail").unwrap_or_else(|| format!("status {status}"));
    Err(OperatorError::Refused {
        url,
        rule: text("rule").unwrap_or_else(|| "NODE-ANSWER".to_owned()),
        detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
    })
}

/// `host:port` of `http://host:port/`.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://")?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    syngraph_config::node::address::parse(host).map(|_| host)
}

fn fetch(host: &str, path: &str) -> io::Result<Vec<u8>> {
    let until = Instant::now() + ANSWER_TIME_MAX;
    let mut stream = connect(host, until)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(request.as_bytes())?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 8 * 1024]);
    loop {
        stream.set_read_timeout(Some(left(until)?))?;
        let read = stream.read(&mut buffer).map_err(late)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { return Ok(bytes) };
        bytes.extend_from_slice(part);
        if bytes.len() > ANSWER_BYTES_MAX {
            let problem = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
    }
}

/// The first of a host's addresses that answers.
fn connect(host: &str, until: Instant) -> io::Result<TcpStream> {
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    for address in host.to_socket_addrs()? {
        result = TcpStream::connect_timeout(&address, left(until)?);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A read that took too long says so on every system.
fn late(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// Status and body of an answer.
fn split(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next()?.parse().ok()?;
    Some((status, bytes.get(end.saturating_add(4)..)?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What is made of an answer that consists of these bytes.
    fn answered(bytes: Vec<u8>) -> Result<Value, (String, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 1024];
            let read = stream.read(&mut request).expect("a request");
            // The client may go away before it has everything.
            stream.write_all(&bytes).ok();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let answer = get(&url, "/v1/status").map_err(|error| (error.rule().to_owned(), error.to_string()));
        let request = server.join().expect("the server ends");
        assert!(request.starts_with("GET /v1/status HTTP/1.0\r\nHost: 127.0.0.1:"), "{request}");
        answer
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let answer = answered(b"HTTP/1.0 200 OK\r\ncontent-length: 12\r\n\r\n{\"height\":7}".to_vec());
        assert_eq!(answer, Ok(serde_json::json!({"height": 7})));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let long = [b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), vec![b' '; ANSWER_BYTES_MAX]].concat();
        let refusal =
            b"HTTP/1.1 503 No\r\n\r\n{\"rule\":\"NODE-STARTING\",\"detail\":\"not\\u001b yet\"}".to_vec();
        for (bytes, rule, said) in [
            (b"HTTP/1.0 200 OK\r\n\r\n<html>".to_vec(), "NODE-ANSWER", "not JSON"),
            (b"SSH-2.0\r\n\r\n".to_vec(), "NODE-ANSWER", "not HTTP"),
            (Vec::new(), "NODE-ANSWER", "not HTTP"),
            (b"HTTP/1.0 404 No\r\n\r\n{}".to_vec(), "NODE-ANSWER", "status 404"),
            (refusal, "NODE-STARTING", "not\u{fffd} yet"),
            (long, "NODE-UNREACHABLE", "longer than 1048576 bytes"),
        ] {
            let (got, text) = answered(bytes).expect_err(said);
            assert_eq!(got, rule, "{text}");
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn addresses_are_those_of_nodes() {
        for (url, host) in [
            ("http://127.0.0.1:8440", Some("127.0.0.1:8440")),
            ("http://[::1]:8440/", Some("[::1]:8440")),
            ("http://localhost:80", Some("localhost:80")),
            ("https://127.0.0.1:8440", None),
            ("127.0.0.1:8440", None),
            ("http://127.0.0.1", None),
            ("http://127.0.0.1:8440/v1", None),
            ("http://a\r\nb:1", None),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
