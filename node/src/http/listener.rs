//! The listening socket: a bounded number of connections, none of them idle for long.
//!
//! *Invariants.* A connection beyond [`CONNECTIONS_MAX`] is not accepted until another
//! one ends. One on which nothing was read or written for [`IDLE_MAX`] is ended, so that
//! slow or silent clients cannot hold the places of others.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Most connections at one time.
pub(super) const CONNECTIONS_MAX: usize = 512;
/// Longest time without a byte in either direction. Longer than any request may take.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(90);

/// A listening socket that counts its connections.
pub(super) struct Bounded {
    socket: TcpListener,
    places: Arc<Semaphore>,
}

impl Bounded {
    /// Counts the connections of this socket.
    pub(super) fn new(socket: TcpListener) -> Self {
        Self { socket, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = self.places.clone().acquire_owned().await.expect("nothing closes this semaphore");
        let (stream, peer) = Listener::accept(&mut self.socket).await;
        // Answers are small and awaited: waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY on this connection");
        }
        (Connection { stream, idle: Box::pin(tokio::time::sleep(IDLE_MAX)), _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A connection that holds a place and ends when it idles.
pub(super) struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Passes on what the socket said; one that keeps silent for too long is ended.
    fn watch<T>(&mut self, cx: &mut Context<'_>, said: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if said.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE_MAX);
            return said;
        }
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watch(cx, said)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, said)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, said)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn listen() -> (Bounded, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = socket.local_addr().expect("it is bound");
        (Bounded::new(socket), address)
    }

    #[tokio::test]
    async fn a_place_is_taken_and_given_back() {
        let (mut listener, address) = listen().await;
        let _client = TcpStream::connect(address).await.expect("it listens");
        let (connection, _) = listener.accept().await;
        assert_eq!(listener.places.available_permits(), CONNECTIONS_MAX - 1);
        drop(connection);
        assert_eq!(listener.places.available_permits(), CONNECTIONS_MAX);
    }

    #[tokio::test]
    async fn bytes_pass_and_silence_ends_it() {
        let (mut listener, address) = listen().await;
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let (mut connection, _) = listener.accept().await;
        client.write_all(b"hello").await.expect("connected");
        let mut buffer = [0; 5];
        connection.read_exact(&mut buffer).await.expect("five bytes were sent");
        assert_eq!(&buffer, b"hello");
        // The clock of the connection is moved instead of waiting for it.
        connection.idle.as_mut().reset(Instant::now());
        let error = connection.read_exact(&mut buffer).await.expect_err("nothing more comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
