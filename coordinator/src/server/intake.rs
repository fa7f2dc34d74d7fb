//! What comes in on a volunteer's channel, below WebSockets.
//!
//! The library reads into a buffer that each channel keeps for itself, so it is small, and a large result would take a
//! hundred calls of the system. So the bytes are read into a large buffer, which a channel has only as long as something
//! is left in it, and the library gets them from there.
//!
//! Two things are noticed only here: reads that bring next to nothing, each of which costs a wake-up, and messages in
//! pieces without end, which the library puts together without a word.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::limits::{INTAKE_BUFFERS_MAX, INTAKE_BYTES, MESSAGE_RAW_BYTES_MAX, SMALL_READ_BYTES};

/// The large buffers of all channels.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    free: Vec<Box<[u8]>>,
    made: usize,
}

/// A buffer that goes back when it is dropped.
#[derive(Debug)]
struct Loan {
    bytes: Box<[u8]>,
    from: Arc<Buffers>,
}

impl Buffers {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer; `None` while all are lent.
    fn lend(self: &Arc<Buffers>) -> Option<Loan> {
        let mut inner = self.inner();
        let bytes = match inner.free.pop() {
            Some(bytes) => bytes,
            None if inner.made < INTAKE_BUFFERS_MAX => {
                inner.made += 1;
                vec![0; INTAKE_BYTES].into()
            }
            None => return None,
        };
        Some(Loan { bytes, from: Arc::clone(self) })
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.from.inner().free.push(bytes);
    }
}

/// What has come in on one channel.
#[derive(Debug, Default)]
pub(super) struct Tally {
    small_reads: AtomicU32,
    since_message: AtomicUsize,
}

impl Tally {
    /// Notes a read of so many bytes.
    pub(super) fn read(&self, bytes: usize) {
        if bytes < SMALL_READ_BYTES {
            self.small_reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The reads since the last call that brought next to nothing.
    pub(super) fn take_small_reads(&self) -> u32 {
        match self.small_reads.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.small_reads.swap(0, Ordering::Relaxed),
        }
    }

    /// A message is whole.
    pub(super) fn message(&self) {
        self.since_message.store(0, Ordering::Relaxed);
    }
}

/// A connection that reads much at a time.
#[derive(Debug)]
pub(super) struct Intake<S> {
    inner: S,
    buffers: Arc<Buffers>,
    held: Option<Held>,
    tally: Arc<Tally>,
}

/// Bytes that were read and not passed on yet.
#[derive(Debug)]
struct Held {
    loan: Loan,
    rest: Range<usize>,
}

impl<S> Intake<S> {
    /// Reads from `inner`.
    pub(super) fn new(inner: S, buffers: Arc<Buffers>) -> Intake<S> {
        Intake { inner, buffers, held: None, tally: Arc::default() }
    }

    /// What has come in.
    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// The connection by itself. What was read and not passed on is lost.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> Intake<S> {
    fn poll_fill(&mut self, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut held = match self.held.take() {
            Some(held) => held,
            None => {
                let Some(mut loan) = self.buffers.lend() else {
                    let before = out.filled().len();
                    ready!(Pin::new(&mut self.inner).poll_read(context, out))?;
                    self.tally.read(out.filled().len() - before);
                    return Poll::Ready(Ok(()));
                };
                let mut buffer = ReadBuf::new(&mut loan.bytes);
                ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer))?;
                let length = buffer.filled().len();
                self.tally.read(length);
                Held { loan, rest: 0..length }
            }
        };
        let length = held.rest.len().min(out.remaining());
        let begin = held.rest.start;
        out.put_slice(&held.loan.bytes[begin..begin + length]);
        held.rest.start += length;
        self.held = Some(held).filter(|held| !held.rest.is_empty());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Intake<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        ready!(this.poll_fill(context, out))?;
        let bytes = out.filled().len() - before;
        let so_far = this.tally.since_message.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if so_far > MESSAGE_RAW_BYTES_MAX {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Intake<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn all_bytes_come_in_order_whether_there_is_a_buffer_or_not() {
        let buffers = Arc::new(Buffers::default());
        let lent: Vec<Loan> = std::iter::from_fn(|| buffers.lend()).collect();
        assert_eq!(lent.len(), INTAKE_BUFFERS_MAX);
        let sent: Vec<u8> = (0..MESSAGE_RAW_BYTES_MAX as u32).map(|index| (index / 7) as u8).collect();
        for mut lent in [lent, Vec::new()] {
            let (mut end, other) = duplex(INTAKE_BYTES / 2);
            let mut intake = Intake::new(other, Arc::clone(&buffers));
            let send = async {
                end.write_all(&sent).await.unwrap();
                drop(end);
            };
            let receive = async {
                let (mut received, mut some) = (Vec::new(), [0; 1000]);
                loop {
                    let length = intake.read(&mut some).await.unwrap();
                    received.extend_from_slice(&some[..length]);
                    // From here on there are buffers.
                    lent.clear();
                    if length == 0 {
                        return received;
                    }
                }
            };
            assert!(tokio::join!(send, receive).1 == sent);
        }
        let inner = buffers.inner();
        assert_eq!((inner.made, inner.free.len()), (INTAKE_BUFFERS_MAX, INTAKE_BUFFERS_MAX), "all are back");
    }

    #[tokio::test]
    async fn who_waits_has_no_buffer() {
        let buffers = Arc::new(Buffers::default());
        let (mut end, other) = duplex(64);
        let mut intake = Intake::new(other, Arc::clone(&buffers));
        let mut some = [0; 4];
        assert!(intake.read(&mut some).now_or_never().is_none());
        assert_eq!(buffers.inner().free.len(), 1);
        end.write_all(&[1; 6]).await.unwrap();
        assert_eq!(intake.read(&mut some).await.unwrap(), 4);
        assert_eq!(buffers.inner().free.len(), 0, "there are two bytes in it");
        assert_eq!(intake.read(&mut some).await.unwrap(), 2);
        assert_eq!(buffers.inner().free.len(), 1);
        assert_eq!((intake.tally.take_small_reads(), intake.tally.take_small_reads()), (1, 0));
    }

    #[tokio::test]
    async fn a_message_without_end_breaks_the_channel() {
        let (mut end, other) = duplex(MESSAGE_RAW_BYTES_MAX);
        let mut intake = Intake::new(other, Arc::default());
        let mut some = vec![0; MESSAGE_RAW_BYTES_MAX];
        for _ in 0..3 {
            end.write_all(&some).await.unwrap();
            intake.read_exact(&mut some).await.unwrap();
            intake.tally().message();
        }
        end.write_all(&some).await.unwrap();
        intake.read_exact(&mut some).await.unwrap();
        end.write_all(&[1]).await.unwrap();
        assert_eq!(intake.read(&mut some).await.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    }
}
