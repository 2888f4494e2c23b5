//! HTTP as bytes on a socket, so that a test can send what no library would.
//!
//! One request a connection; the answer is read until the other side closes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::wait::PATIENCE;

/// The media type of framed entries.
pub const FRAMES: &str = "application/octet-stream";
/// The media type of entries in JSON.
pub const JSON: &str = "application/json";

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{error} in an answer with status {}: {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// The status and the rule id of a refusal, which must be a problem document that
    /// agrees with its status.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    #[track_caller]
    pub fn refusal(&self) -> (u16, String) {
        let problem = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{problem}");
        assert_eq!(problem["status"], self.status, "{problem}");
        let rule = problem["rule"].as_str().expect("a problem names its rule");
        assert_eq!(problem["type"], format!("urn:syngraph:rule:{rule}"), "{problem}");
        (self.status, rule.to_owned())
    }
}

/// Asks for a path.
///
/// # Errors
/// If nobody answers, or with something else than HTTP.
pub fn get(to: SocketAddr, path: &str) -> io::Result<Answer> {
    send(to, format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").as_bytes())
}

/// Posts a body.
///
/// # Errors
/// If nobody answers, or with something else than HTTP.
pub fn post(to: SocketAddr, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
    let mut request = post_head(path, kind, body.len()).into_bytes();
    request.extend_from_slice(body);
    send(to, &request)
}

/// The head of a post that announces a body of this length.
#[must_use]
pub fn post_head(path: &str, kind: &str, len: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {len}\r\n\r\n"
    )
}

/// Sends these bytes and nothing more.
///
/// # Errors
/// If nobody answers, or with something else than HTTP.
pub fn send(to: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(bytes)
}

/// Sends these bytes, says that there are no more, and hears what is said to that.
///
/// # Errors
/// If nobody answers, or with something else than HTTP.
pub fn send_and_close(to: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    stream.shutdown(Shutdown::Write)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(bytes)
}

fn parse(mut bytes: Vec<u8>) -> io::Result<Answer> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let end =
        bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(|| bad("no end of the head"))?;
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).map_err(|_| bad("a head that is not UTF-8"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| bad("no status"))?;
    Ok(Answer { status, head, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_into_its_parts() {
        let text = "HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nX: y: z\r\n\r\n\
                    {\"status\":409,\"rule\":\"JRN-FORK\",\"type\":\"urn:syngraph:rule:JRN-FORK\"}";
        let answer = parse(text.as_bytes().to_vec()).expect("HTTP");
        assert_eq!(answer.refusal(), (409, "JRN-FORK".to_owned()));
        assert_eq!((answer.header("x"), answer.header("y")), (Some("y: z"), None));
        assert!(parse(b"HTTP/1.1 200 OK\r\n".to_vec()).is_err());
        assert!(parse(b"220 smtp\r\n\r\n".to_vec()).is_err());
    }
}
