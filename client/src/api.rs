//! The HTTP API of a node, as calls with typed answers.
//!
//! *Invariants.* Every request ends: connecting and waiting for the first byte of an
//! answer are bounded in time, and answers that are held in memory in bytes. A refusal
//! keeps the rule id that the node gave.
//!
//! *Deliberately absent:* retries. `submit` retries what is safe to send again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use syngraph_protocol::ids::{EntryId, Id, PublicKey, Seq};

mod views;

pub use views::{
    Answer, EntryView, Fate, JournalEnd, JournalView, Page, Problem, Sealed, State, Status, VersionView,
};

/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest silence of a node within a request; above the 30 s that it may wait for a seal.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Longest answer that is held in memory, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Items asked for with one request of a list.
const PAGE_ITEMS: usize = 1_000;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Not the address of a node.
    #[error("{url:?} is no address like http://127.0.0.1:8440")]
    Address {
        /// What was given.
        url: String,
    },
    /// The system has no certificates to check a node's with.
    #[error("TLS cannot be set up on this system: {source}")]
    Tls {
        /// What is missing.
        source: reqwest::Error,
    },
    /// The node cannot be reached, or the connection broke.
    #[error("{url}: {source}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The node refused.
    #[error("{0}")]
    Problem(Problem),
    /// The answer is not what a node answers.
    #[error("{url}: {what}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        what: String,
    },
}

impl ApiError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Address { .. } => "NODE-ADDRESS",
            Self::Tls { .. } => "NODE-TLS",
            Self::Unreachable { .. } => "NODE-UNREACHABLE",
            Self::Problem(problem) => &problem.rule,
            Self::Answer { .. } => "NODE-ANSWER",
        }
    }

    /// Whether there is no such thing at this node.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == StatusCode::NOT_FOUND.as_u16())
    }
}

/// How far an entry should have come before the node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Durable at this node.
    Accepted,
    /// Durable at nodes with a quorum of the power.
    Replicated,
    /// Covered by a committed block.
    Sealed,
}

impl Wait {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Replicated => "replicated",
            Self::Sealed => "sealed",
        }
    }

    /// The state that ends the wait.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::Accepted => State::Accepted,
            Self::Replicated => State::Replicated,
            Self::Sealed => State::Sealed,
        }
    }
}

/// A node to talk to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    base: String,
    http: reqwest::Client,
}

impl Node {
    /// The node at an address like `http://127.0.0.1:8440`.
    ///
    /// # Errors
    /// `NODE-ADDRESS`, `NODE-TLS`.
    pub fn new(url: &str) -> Result<Self, ApiError> {
        let refused = || ApiError::Address { url: url.chars().take(200).collect() };
        let parsed = reqwest::Url::parse(url).map_err(|_| refused())?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.query().is_some() {
            return Err(refused());
        }
        let http = client(parsed.scheme() == "https").map_err(|source| ApiError::Tls { source })?;
        Ok(Self { base: parsed.as_str().trim_end_matches('/').to_owned(), http })
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    async fn send(&self, path: &str, request: RequestBuilder) -> Result<Response, ApiError> {
        let url = format!("{}{path}", self.base);
        request.send().await.map_err(|source| ApiError::Unreachable { url, source: source.without_url() })
    }

    async fn get_response(&self, path: &str) -> Result<Response, ApiError> {
        let response = self.send(path, self.http.get(format!("{}{path}", self.base))).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.problem(path, response).await) }
    }

    async fn body(&self, path: &str, response: Response) -> Result<Vec<u8>, ApiError> {
        let url = format!("{}{path}", self.base);
        let mut pieces = response.bytes_stream();
        let mut body = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece
                .map_err(|source| ApiError::Unreachable { url: url.clone(), source: source.without_url() })?;
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                let what = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(ApiError::Answer { url, what });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// Reads the problem document of a refusal, or makes one from its status.
    async fn problem(&self, path: &str, response: Response) -> ApiError {
        let (status, retry_after_s) = (response.status(), retry_after_s(response.headers()));
        let body = self.body(path, response).await.unwrap_or_default();
        let told = serde_json::from_slice::<Problem>(&body).ok();
        let problem = told.unwrap_or_else(|| Problem::of_status(status.as_u16(), &self.base, path));
        ApiError::Problem(Problem { status: status.as_u16(), retry_after_s, ..problem })
    }

    fn decode<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, ApiError> {
        serde_json::from_slice(body).map_err(|error| ApiError::Answer {
            url: format!("{}{path}", self.base),
            what: format!("not the expected JSON: {error}"),
        })
    }

    /// Reads one thing, such as `/v1/assets/…`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let response = self.get_response(path).await?;
        let body = self.body(path, response).await?;
        self.decode(path, &body)
    }

    /// Like [`Self::get`]; none if there is no such thing.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ApiError> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All items of a list, such as `/v1/assets`, page by page; complete or an error.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ApiError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let after = cursor.as_ref().map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let page: Page<T> = self.get(&format!("{path}?limit={PAGE_ITEMS}{after}")).await?;
            items.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(items),
            }
        }
    }

    /// Where the node stands.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn status(&self) -> Result<Status, ApiError> {
        self.get("/v1/status").await
    }

    /// Where a key's journal ends at this node; none if it does not know the key.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn journal(&self, key: &PublicKey) -> Result<Option<JournalView>, ApiError> {
        self.find(&format!("/v1/journals/{key}")).await
    }

    /// Like [`Self::journal`], but the node answers only once a block covers one number or
    /// nodes with a quorum of the power hold the other, whichever comes first; after 30 s
    /// in any case. Without either it answers at once.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn follow(
        &self,
        key: &PublicKey,
        sealed: Option<Seq>,
        replicated: Option<Seq>,
    ) -> Result<Option<JournalView>, ApiError> {
        let sealed = sealed.map(|seq| format!("until_sealed={seq}"));
        let replicated = replicated.map(|seq| format!("until_replicated={seq}"));
        let query: Vec<String> = sealed.into_iter().chain(replicated).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        self.find(&format!("/v1/journals/{key}{mark}{}", query.join("&"))).await
    }

    /// What became of these entries, at most 256; those that no block covers are left out.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn outcomes(&self, ids: impl IntoIterator<Item = EntryId>) -> Result<Vec<Sealed>, ApiError> {
        let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.get(&format!("/v1/outcomes?ids={}", ids.join(","))).await
    }

    /// An entry with what it says, and how far it has come; none if the node doesn't hold
    /// it.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn entry(&self, id: &EntryId) -> Result<Option<EntryView>, ApiError> {
        self.find(&format!("/v1/entries/{id}?body=true")).await
    }

    /// How far an entry has come; none if the node doesn't hold it.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn fate(&self, id: &EntryId) -> Result<Option<Fate>, ApiError> {
        self.find(&format!("/v1/entries/{id}?body=false")).await
    }

    /// A version of an agreement with everything that its hash covers.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn agreement_version(&self, agreement: &Id, version: u32) -> Result<VersionView, ApiError> {
        self.get(&format!("/v1/agreements/{agreement}/versions/{version}")).await
    }

    /// The genesis file that the node runs on. Whoever audits takes it from elsewhere.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn genesis(&self) -> Result<String, ApiError> {
        let path = "/v1/genesis";
        let body = self.body(path, self.get_response(path).await?).await?;
        let what = "not UTF-8".to_owned();
        String::from_utf8(body).map_err(|_| ApiError::Answer { url: format!("{}{path}", self.base), what })
    }

    /// Sends signed entries, each prefixed by its length as u16 big-endian, and gives an
    /// answer for each, in order. A single refused entry is an answer too.
    ///
    /// # Errors
    /// [`ApiError`] when the request as a whole has no answer.
    pub async fn post_entries(&self, frames: Vec<u8>, wait: Wait) -> Result<Vec<Answer>, ApiError> {
        let path = "/v1/entries";
        let request = self
            .http
            .post(format!("{}{path}?wait={}", self.base, wait.as_str()))
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(frames);
        let response = self.send(path, request).await?;
        let (status, retry_after_s) = (response.status(), retry_after_s(response.headers()));
        if status != StatusCode::OK && !is_one_answer(status) {
            return Err(self.problem(path, response).await);
        }
        let body = self.body(path, response).await?;
        let mut answers: Vec<Answer> = match body.trim_ascii_start().first() {
            Some(b'[') => self.decode(path, &body)?,
            _ => vec![self.decode(path, &body)?],
        };
        for answer in &mut answers {
            answer.retry_after_s = answer.retry_after_s.or(retry_after_s);
        }
        Ok(answers)
    }

    /// The whole history as a `.tar.zst`, up to a height if one is given.
    ///
    /// # Errors
    /// [`ApiError`]; the stream itself ends with an error if the connection breaks.
    pub async fn archive(
        &self,
        to: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, ApiError>> + Send + use<>, ApiError> {
        let path = to.map_or_else(|| "/archive".to_owned(), |to| format!("/archive?to={to}"));
        let response = self.get_response(&path).await?;
        let url = format!("{}{path}", self.base);
        let broken = move |source: reqwest::Error| ApiError::Unreachable {
            url: url.clone(),
            source: source.without_url(),
        };
        Ok(response.bytes_stream().map_err(broken))
    }
}

/// An HTTP client. Redirects are not followed: no node sends any, and an entry must not
/// be sent to where nobody meant it to go.
fn client(is_https: bool) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_MAX)
        .read_timeout(SILENCE_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("syngraph/", env!("CARGO_PKG_VERSION")));
    // The system's certificates are asked for where they are needed only: a machine
    // without any still talks to the node beside it.
    if is_https {
        // An error says that the program has chosen its cryptography before.
        rustls::crypto::ring::default_provider().install_default().ok();
        return builder.build();
    }
    builder.tls_backend_preconfigured(no_tls()).build()
}

/// A TLS configuration that trusts nobody.
fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// The statuses that are about the one entry that was sent, not about the request.
fn is_one_answer(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// Whole seconds; dates, the header's other form, are not used by nodes.
fn retry_after_s(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_needs_no_certificates_of_the_system() {
        assert!(client(false).is_ok());
    }

    #[test]
    fn addresses_are_checked() {
        assert_eq!(Node::new("http://127.0.0.1:8440/").expect("fine").url(), "http://127.0.0.1:8440");
        assert_eq!(Node::new("http://host/base/").expect("fine").url(), "http://host/base");
        for bad in ["", "127.0.0.1:8440", "ftp://host", "http://host/?a=b", "http://"] {
            assert_eq!(
                Node::new(bad).map_err(|e| e.rule().to_owned()).err().as_deref(),
                Some("NODE-ADDRESS")
            );
        }
    }
}
