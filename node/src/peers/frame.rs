//! One message on a stream: its length in four bytes, big-endian, its bytes, the end.
//!
//! *Invariants.* Nothing is allocated for bytes that have not come: the buffer is at most
//! twice what has arrived. A frame that cannot be one is a value like any other
//! ([`Frame::Refused`]), so that whoever sent it can be cut off; the library reports errors
//! of streams without always saying whose.
//!
//! *Deliberately absent:* what the bytes mean (`wire`).

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use tokio::time::timeout;

use super::bounds::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, Timing};

/// What is read first, in bytes, when a frame says that it is longer.
const FIRST_READ_BYTES: usize = 64 * 1024;

/// A message, or why there is none.
#[derive(Debug)]
pub(super) enum Frame {
    /// Its bytes.
    Whole(Vec<u8>),
    /// What came was no frame. Never sent.
    Refused(FrameError),
}

/// Why what came is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// `PEER-FRAME-LENGTH`: nothing of it was read.
    #[error("a frame of {len} bytes, where {max} are allowed")]
    Length {
        /// Bytes that it claims.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// `PEER-FRAME-TRAILING`: the stream goes on where it should end.
    #[error("the stream goes on after its frame")]
    Trailing,
    /// `PEER-FRAME-SLOW`: it began, and did not come to its end in time.
    #[error("a frame of {len} bytes took longer than {within:?}")]
    Slow {
        /// Bytes that it claims.
        len: usize,
        /// The time that it had.
        within: Duration,
    },
}

impl FrameError {
    /// The stable rule id of this refusal.
    pub(super) const fn rule(&self) -> &'static str {
        match self {
            Self::Length { .. } => "PEER-FRAME-LENGTH",
            Self::Trailing => "PEER-FRAME-TRAILING",
            Self::Slow { .. } => "PEER-FRAME-SLOW",
        }
    }
}

/// Reads and writes frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameCodec {
    pub(super) timing: Timing,
}

impl FrameCodec {
    /// # Errors
    /// The stream ended within the frame, which also happens when a peer gives up or goes
    /// down, or nothing came in time.
    async fn read<T: AsyncRead + Unpin + Send>(&self, io: &mut T, max: usize) -> io::Result<Frame> {
        let mut prefix = [0; 4];
        timeout(self.timing.response, io.read_exact(&mut prefix)).await??;
        // An address space of 32 bits holds every u32.
        let len = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
        if len > max {
            return Ok(Frame::Refused(FrameError::Length { len, max }));
        }
        let within = self.time_for(len);
        match timeout(within, read_body(io, len)).await {
            Ok(frame) => frame,
            Err(_) => Ok(Frame::Refused(FrameError::Slow { len, within })),
        }
    }

    fn time_for(&self, len: usize) -> Duration {
        let seconds = u64::try_from(len).unwrap_or(u64::MAX) / self.timing.rate.max(1);
        self.timing.response.saturating_add(Duration::from_secs(seconds))
    }
}

async fn read_body<T: AsyncRead + Unpin + Send>(io: &mut T, len: usize) -> io::Result<Frame> {
    let mut body = Vec::new();
    while body.len() < len {
        let start = body.len();
        let until = len.min(FIRST_READ_BYTES.max(start.saturating_mul(2)));
        body.reserve_exact(until - start);
        body.resize(until, 0);
        io.read_exact(&mut body[start..]).await?;
    }
    match io.read(&mut [0]).await? {
        0 => Ok(Frame::Whole(body)),
        _ => Ok(Frame::Refused(FrameError::Trailing)),
    }
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, frame: Frame) -> io::Result<()> {
    let Frame::Whole(bytes) = frame else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a refused frame is not sent"));
    };
    let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    io.write_all(&len.to_be_bytes()).await?;
    io.write_all(&bytes).await?;
    io.flush().await
}

#[async_trait]
impl Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Frame;
    type Response = Frame;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io, REQUEST_BYTES_MAX).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io, RESPONSE_BYTES_MAX).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Frame) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, frame).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Frame) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, frame).await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    /// Gives some bytes, a few at a time, then ends or stays silent.
    struct Source {
        bytes: Vec<u8>,
        at: usize,
        ends: bool,
    }

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let count = into.len().min(self.bytes.len() - self.at).min(10_000);
            if count == 0 && !self.ends {
                return Poll::Pending;
            }
            into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
            self.at += count;
            Poll::Ready(Ok(count))
        }
    }

    async fn read(len: u32, body: &[u8], ends: bool) -> (io::Result<Frame>, usize) {
        let bytes = [&len.to_be_bytes(), body].concat();
        let mut source = Source { bytes, at: 0, ends };
        let codec = FrameCodec { timing: Timing::default() };
        let frame = codec.read(&mut source, REQUEST_BYTES_MAX).await;
        (frame, source.at)
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_is_read_to_the_end_of_its_stream() {
        for len in [0, 1, 70_000, REQUEST_BYTES_MAX] {
            let body = vec![7; len];
            let (frame, _) = read(u32::try_from(len).expect("small"), &body, true).await;
            let Ok(Frame::Whole(bytes)) = frame else { panic!("{frame:?}") };
            assert_eq!(bytes, body);
            assert!(bytes.capacity() <= len.max(1), "no more than the frame: {}", bytes.capacity());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_huge_length_is_refused_before_anything_is_read() {
        let (frame, read_bytes) = read(u32::MAX, &[0; 1000], false).await;
        assert!(matches!(frame, Ok(Frame::Refused(FrameError::Length { max: REQUEST_BYTES_MAX, .. }))));
        assert_eq!(read_bytes, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_stream_is_refused_at_its_first_byte_too_many() {
        let (frame, read_bytes) = read(3, &[0; 100_000], false).await;
        assert!(matches!(frame, Ok(Frame::Refused(FrameError::Trailing))));
        assert_eq!(read_bytes, 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_has_its_time_and_no_more() {
        let (frame, _) = read(1_000_000, &[0; 100], false).await;
        let Ok(Frame::Refused(error)) = frame else { panic!("{frame:?}") };
        assert_eq!(error.rule(), "PEER-FRAME-SLOW");
        assert_eq!(error, FrameError::Slow { len: 1_000_000, within: Duration::from_secs(13) });
        // A peer that says nothing at all, or goes away, has done no wrong.
        let codec = FrameCodec { timing: Timing::default() };
        let mut silent = Source { bytes: Vec::new(), at: 0, ends: false };
        assert_eq!(codec.read(&mut silent, 9).await.expect_err("late").kind(), io::ErrorKind::TimedOut);
        let (frame, _) = read(100, &[0; 10], true).await;
        assert_eq!(frame.expect_err("cut off").kind(), io::ErrorKind::UnexpectedEof);
    }
}
