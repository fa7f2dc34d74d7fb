//! The body of a request: not too long, not too slow, and within what all bodies together may take.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::http::StatusCode;

use super::pace::Pace;

/// Bytes of one body.
const BODY_BYTES_MAX: u64 = 16 << 20;
/// KiB of all bodies that are read, wait or are computed at the same time.
const BODIES_KIB_MAX: u32 = 128 << 10;

/// The room for bodies.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    room: Arc<Semaphore>,
}

/// A body, and the room that it takes for as long as it is kept.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// `None` as long as it is empty.
    room: Option<OwnedSemaphorePermit>,
}

/// A body that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("The request's body is larger than 16 MB; send the rows in several requests.")]
    TooLarge,
    #[error("The request's body comes too slowly; send it faster, or in several requests.")]
    TooSlow,
    #[error("Other requests take all the room for bodies; ask again in a moment.")]
    Crowded,
    #[error("The request's body ends in the middle, or its chunks are malformed.")]
    Broken,
}

impl BodyError {
    pub(super) fn status(self) -> StatusCode {
        match self {
            BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

impl Bodies {
    pub(super) fn new() -> Bodies {
        Bodies { room: Arc::new(Semaphore::new(BODIES_KIB_MAX as usize)) }
    }

    /// Reads a body to its end. Each `span` of time must bring enough bytes. `announced` is its length, if the
    /// request told it: what is too long is not read at all.
    pub(super) async fn read<B: Buf, E>(
        &self,
        parts: impl Stream<Item = Result<B, E>>,
        announced: Option<u64>,
        span: Duration,
    ) -> Result<Body, BodyError> {
        if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
            return Err(BodyError::TooLarge);
        }
        let mut parts = std::pin::pin!(parts);
        let mut pace = Pace::new(span);
        let mut body = Body { bytes: Vec::new(), room: None };
        loop {
            let Some(part) = pace.keep(parts.next()).await.map_err(|_| BodyError::TooSlow)? else {
                return Ok(body);
            };
            let mut part = part.map_err(|_| BodyError::Broken)?;
            let length = body.bytes.len() + part.remaining();
            if length as u64 > BODY_BYTES_MAX {
                return Err(BodyError::TooLarge);
            }
            pace.count(part.remaining());
            body.make_room(&self.room, length)?;
            while part.has_remaining() {
                let chunk = part.chunk();
                body.bytes.extend_from_slice(chunk);
                let length = chunk.len();
                part.advance(length);
            }
        }
    }
}

impl Body {
    /// Takes the room for that many bytes, as far as it has not got it.
    fn make_room(&mut self, room: &Arc<Semaphore>, bytes: usize) -> Result<(), BodyError> {
        // At most 16 MB.
        let needed = bytes.div_ceil(1024) as u32;
        let taken = self.room.as_ref().map_or(0, |permit| permit.num_permits() as u32);
        if needed > taken {
            let more = Arc::clone(room).try_acquire_many_owned(needed - taken);
            let more = more.map_err(|_| BodyError::Crowded)?;
            match &mut self.room {
                Some(permit) => permit.merge(more),
                None => self.room = Some(more),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream;

    use super::*;

    const SPAN: Duration = Duration::from_secs(30);

    fn parts(count: usize, bytes: usize) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::iter((0..count).map(move |_| Ok(Bytes::from(vec![b'1'; bytes]))))
    }

    #[tokio::test]
    async fn a_body_without_end_is_refused_and_gives_its_room_back() {
        let bodies = Bodies::new();
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b' '; 4096])));
        assert_eq!(bodies.read(endless, None, SPAN).await.unwrap_err(), BodyError::TooLarge);
        let announced = Some(BODY_BYTES_MAX + 1);
        assert_eq!(bodies.read(parts(1, 1), announced, SPAN).await.unwrap_err(), BodyError::TooLarge);
        assert_eq!(bodies.room.available_permits(), BODIES_KIB_MAX as usize);
        let body = bodies.read(parts(3, 1000), Some(3000), SPAN).await.unwrap();
        assert_eq!((body.bytes.len(), bodies.room.available_permits()), (3000, BODIES_KIB_MAX as usize - 3));
    }

    #[tokio::test]
    async fn all_bodies_share_bounded_room() {
        let bodies = Bodies::new();
        let mut kept = Vec::new();
        for _ in 0..8 {
            kept.push(bodies.read(parts(16, 1 << 20), None, SPAN).await.unwrap());
        }
        assert_eq!(bodies.read(parts(1, 1), None, SPAN).await.unwrap_err(), BodyError::Crowded);
        kept.pop();
        assert!(bodies.read(parts(1, 1), None, SPAN).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_goes_on_is_too_slow() {
        let halts = parts(1, 10).chain(stream::pending());
        assert_eq!(Bodies::new().read(halts, Some(20), SPAN).await.unwrap_err(), BodyError::TooSlow);
        let broken = parts(1, 10).map(|_| Err::<Bytes, ()>(()));
        assert_eq!(Bodies::new().read(broken, Some(20), SPAN).await.unwrap_err(), BodyError::Broken);
    }
}
