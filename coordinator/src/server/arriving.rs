//! Room for packed vectors on their way from volunteers: one budget for all sessions.
//!
//! A vector takes its room in pieces as it arrives, so whoever announces much and sends little holds little. A piece
//! is given only if all vectors that have begun can still arrive whole, one after the other: nobody waits for ever.
//! Whoever has waited for some time has others broken off: those that hardly send, and for a volunteer that has
//! helped, those that have not and would take long. So one script at the least rate cannot keep out the results that
//! the round waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::limits::FRAGMENT_BYTES;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::limits::{
    ARRIVING_KIB_MAX, ARRIVING_PIECE_KIB, ARRIVING_PIECE_MAX, ARRIVING_STRANGER_MAX, ARRIVING_WAIT_MAX,
    ARRIVING_WOKEN_MAX,
};

/// The room of a server. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Arriving(Arc<Mutex<Inner>>);

/// One vector's room. Dropping it frees the room.
#[derive(Debug)]
pub(super) struct Room {
    arriving: Arriving,
    number: u64,
    wake: Arc<Notify>,
    /// Bytes of the whole vector, those that have arrived, and those that have room.
    bytes: u64,
    arrived: u64,
    given: u64,
    is_whole: bool,
    /// Bytes arrived that the booking knows of.
    noted: u64,
}

/// The vector was broken off, because others wait for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokenOff;

#[derive(Debug)]
struct Inner {
    /// KiB that nobody holds.
    free: u64,
    /// KiB that are still to come of all vectors.
    missing: u64,
    /// Vectors that wait for room.
    waiting: usize,
    next: u64,
    under_way: BTreeMap<u64, Booking>,
}

/// A vector on its way; sizes are in KiB where nothing else is said.
#[derive(Debug)]
struct Booking {
    whole: u64,
    held: u64,
    /// Bytes that are still to come, to within a piece.
    left: u64,
    /// Bytes that have arrived, to within a piece.
    arrived: u64,
    /// Whether its volunteer has helped before.
    is_known: bool,
    began: Instant,
    /// When it was given its last piece, or as much had arrived since.
    given: Instant,
    /// Since when it waits for the next.
    waits: Option<Instant>,
    /// When others are next broken off for it, if it still waits. What happens to others does not move this.
    next_look: Instant,
    is_broken_off: bool,
    wake: Arc<Notify>,
}

impl Arriving {
    /// All of it is free.
    pub(super) fn new() -> Arriving {
        let free = u64::from(ARRIVING_KIB_MAX);
        Arriving(Arc::new(Mutex::new(Inner {
            free,
            missing: 0,
            waiting: 0,
            next: 0,
            under_way: BTreeMap::new(),
        })))
    }

    /// A vector of so many bytes is announced. It has no room yet. One that is larger than all room there is passes
    /// alone.
    pub(super) fn announce(&self, bytes: u32, is_known: bool) -> Room {
        let whole = u64::from(bytes.div_ceil(1024).min(ARRIVING_KIB_MAX));
        let (now, wake) = (Instant::now(), Arc::new(Notify::new()));
        let booking = Booking {
            whole,
            held: 0,
            left: u64::from(bytes),
            arrived: 0,
            is_known,
            began: now,
            given: now,
            waits: None,
            next_look: now,
            is_broken_off: false,
            wake: Arc::clone(&wake),
        };
        let mut inner = self.inner();
        let number = inner.next;
        inner.next += 1;
        inner.missing += whole;
        inner.under_way.insert(number, booking);
        let bytes = u64::from(bytes);
        Room { arriving: self.clone(), number, wake, bytes, arrived: 0, given: 0, is_whole: false, noted: 0 }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Notes that so many bytes of the vector have arrived.
    pub(super) fn count(&mut self, bytes: usize) {
        self.arrived += bytes as u64;
        // Once a piece, for all sessions share the lock.
        let is_piece = self.arrived - self.noted >= u64::from(ARRIVING_PIECE_KIB) * 1024;
        if is_piece || (self.arrived >= self.bytes && self.noted < self.bytes) {
            self.noted = self.arrived;
            let mut inner = self.arriving.inner();
            let booking = inner.of(self.number);
            (booking.arrived, booking.left) = (self.arrived, self.bytes.saturating_sub(self.arrived));
            booking.given = Instant::now();
        }
    }

    /// Whether there is room for what may come next.
    pub(super) fn is_enough(&self) -> bool {
        self.is_whole || self.arrived + FRAGMENT_BYTES as u64 <= self.given
    }

    /// Waits for the next piece. May be canceled.
    pub(super) async fn widen(&mut self) -> Result<(), BrokenOff> {
        loop {
            let next_look = {
                let mut inner = self.arriving.inner();
                let now = Instant::now();
                if inner.of(self.number).is_broken_off {
                    return Err(BrokenOff);
                }
                if inner.give(self.number, now) {
                    let booking = inner.of(self.number);
                    (self.given, self.is_whole) = (booking.held * 1024, booking.held == booking.whole);
                    inner.wake_some();
                    return Ok(());
                }
                inner.wait(self.number, now)
            };
            if timeout_at(next_look, self.wake.notified()).await.is_err() {
                self.arriving.inner().break_off_for(self.number, Instant::now());
            }
        }
    }

    /// Waits until the vector is broken off.
    pub(super) async fn broken_off(&self) {
        while !self.arriving.inner().of(self.number).is_broken_off {
            self.wake.notified().await;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut inner = self.arriving.inner();
        if let Some(booking) = inner.under_way.remove(&self.number) {
            inner.free += booking.held;
            inner.missing -= booking.missing();
            inner.waiting -= usize::from(booking.waits.is_some());
            inner.wake_some();
        }
    }
}

impl Inner {
    fn of(&mut self, number: u64) -> &mut Booking {
        self.under_way.get_mut(&number).expect("its room is not dropped")
    }

    /// Gives a vector its next piece, if all can still arrive whole after that.
    fn give(&mut self, number: u64, now: Instant) -> bool {
        let piece = self.of(number).missing().min(u64::from(ARRIVING_PIECE_KIB));
        let is_safe =
            self.free >= self.missing || (self.free >= piece && self.all_arrive_after(number, piece));
        if !is_safe {
            return false;
        }
        self.free -= piece;
        self.missing -= piece;
        let booking = self.of(number);
        booking.held += piece;
        booking.given = now;
        let waited = booking.waits.take().is_some();
        self.waiting -= usize::from(waited);
        true
    }

    /// Notes that a vector waits, and says when others are next broken off for it.
    fn wait(&mut self, number: u64, now: Instant) -> Instant {
        let booking = self.of(number);
        let begins = booking.waits.is_none();
        if begins {
            booking.waits = Some(now);
            booking.next_look = now + ARRIVING_WAIT_MAX;
        }
        let next_look = booking.next_look;
        self.waiting += usize::from(begins);
        next_look
    }

    /// Whether all vectors that hold room can be completed one after the other once that one has a further piece: the
    /// banker's algorithm of E. W. Dijkstra (1965).
    fn all_arrive_after(&self, number: u64, piece: u64) -> bool {
        let mut free = self.free - piece;
        let mut begun: Vec<(u64, u64)> = self
            .under_way
            .iter()
            .map(|(other, booking)| {
                let piece = if *other == number { piece } else { 0 };
                (booking.missing() - piece, booking.held + piece)
            })
            .filter(|(_, held)| *held > 0)
            .collect();
        begun.sort_unstable();
        begun.into_iter().all(|(missing, held)| {
            let fits = missing <= free;
            free += held;
            fits
        })
    }

    /// A vector has waited for long: breaks off as many others as it needs.
    fn break_off_for(&mut self, number: u64, now: Instant) {
        let waiting = self.of(number);
        waiting.next_look = now + ARRIVING_WAIT_MAX;
        let (needed, is_known) = (waiting.missing(), waiting.is_known);
        let on_its_way: u64 =
            self.under_way.values().filter(|other| other.is_broken_off).map(|other| other.held).sum();
        let mut room = self.free + on_its_way;
        let mut others: Vec<&mut Booking> = self
            .under_way
            .iter_mut()
            .filter(|(other, booking)| **other != number && booking.makes_way(is_known, now))
            .map(|(_, booking)| booking)
            .collect();
        // Whoever has brought least of late goes first.
        others.sort_by_key(|other| (other.is_known, other.given));
        for other in others {
            if room >= needed {
                return;
            }
            room += other.held;
            other.is_broken_off = true;
            other.wake.notify_one();
        }
    }

    /// Wakes those of the waiting that come first: who has helped, then who has waited longest. Whoever misses least is
    /// woken as well, because that one can always go on.
    fn wake_some(&self) {
        if self.waiting == 0 {
            return;
        }
        let waiting = || self.under_way.values().filter(|booking| booking.waits.is_some());
        if let Some(nearest) = waiting().filter(|booking| booking.held > 0).min_by_key(|one| one.missing()) {
            nearest.wake.notify_one();
        }
        let mut first: Vec<&Booking> = waiting().collect();
        first.sort_by_key(|booking| (!booking.is_known, booking.waits));
        first.iter().take(ARRIVING_WOKEN_MAX).for_each(|booking| booking.wake.notify_one());
    }
}

impl Booking {
    fn missing(&self) -> u64 {
        self.whole - self.held
    }

    /// Whether it is broken off for somebody who has waited.
    fn makes_way(&self, for_known: bool, now: Instant) -> bool {
        // All its room may be given to a vector that has not arrived.
        if self.is_broken_off || self.held == 0 || self.left == 0 {
            return false;
        }
        let is_idle = self.waits.is_none() && now.duration_since(self.given) >= ARRIVING_PIECE_MAX;
        if self.is_known || !for_known {
            return is_idle && (for_known || !self.is_known);
        }
        let so_far = now.duration_since(self.began).as_secs_f64();
        let done = self.arrived.max(self.held * 1024);
        is_idle || so_far * self.left as f64 / done as f64 > ARRIVING_STRANGER_MAX.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::{advance, timeout};

    use super::*;

    const ALL: u32 = ARRIVING_KIB_MAX * 1024;
    const PIECE: usize = ARRIVING_PIECE_KIB as usize * 1024;

    /// Sends as much of a vector as there is room for now, at most so many pieces.
    fn send(room: &mut Room, pieces: usize) -> usize {
        let is_given = |room: &mut Room| match room.is_enough() {
            true => true,
            false => room.widen().now_or_never() == Some(Ok(())),
        };
        (0..pieces)
            .take_while(|_| {
                let goes_on = is_given(room);
                room.count(if goes_on { PIECE } else { 0 });
                goes_on
            })
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn who_announces_much_and_sends_little_holds_little() {
        let arriving = Arriving::new();
        let mut strangers: Vec<Room> = (0..500).map(|_| arriving.announce(ALL, false)).collect();
        let sent: usize = strangers.iter_mut().map(|room| send(room, 1)).sum();
        assert!(sent <= 1, "two cannot both arrive whole");
        let mut honest = arriving.announce(ALL / 2, false);
        assert_eq!(send(&mut honest, 256), 256);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_have_begun_can_always_arrive_whole() {
        let arriving = Arriving::new();
        // Each takes more than half of all room.
        let mut rooms: Vec<Room> = (0..4).map(|_| arriving.announce(ALL / 8 * 5, true)).collect();
        let mut turns = 0;
        while !rooms.is_empty() {
            turns += 1;
            assert!(turns < 10_000, "nobody goes on");
            rooms.iter_mut().for_each(|room| {
                send(room, 3);
            });
            rooms.retain(|room| !room.is_whole);
        }
        assert_eq!(arriving.inner().free, u64::from(ARRIVING_KIB_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn who_hardly_sends_is_broken_off_for_whoever_waits() {
        let arriving = Arriving::new();
        let mut stalls = arriving.announce(ALL, false);
        assert_eq!(send(&mut stalls, 400), 400, "it sends much, and then no more");
        for is_known in [true, false] {
            let mut waits = arriving.announce(ALL / 2, is_known);
            assert_eq!(send(&mut waits, 1), 0);
        }
        let mut waits = arriving.announce(ALL / 2, false);
        let waited = async {
            waits.widen().await.unwrap();
            Instant::now()
        };
        let began = Instant::now();
        let broken = async {
            stalls.broken_off().await;
            drop(stalls);
        };
        let (got, ()) = tokio::join!(waited, broken);
        assert!(got - began <= ARRIVING_PIECE_MAX + 2 * ARRIVING_WAIT_MAX, "{:?}", got - began);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_helped_does_not_wait_for_strangers_that_take_long() {
        let arriving = Arriving::new();
        let mut stranger = arriving.announce(ALL, false);
        let mut helper = arriving.announce(ALL / 2, true);
        let begins = Instant::now();
        // A piece every two seconds: it would take a quarter of an hour.
        for _ in 0..300 {
            send(&mut stranger, 1);
            advance(Duration::from_secs(2)).await;
        }
        assert!(helper.widen().now_or_never().is_none());
        let waits = Instant::now();
        assert!(waits - begins >= ARRIVING_STRANGER_MAX);
        let (given, ()) = tokio::join!(helper.widen(), async {
            // It goes on as before, each piece of which wakes the helper.
            while timeout(Duration::from_secs(2), stranger.broken_off()).await.is_err() {
                assert!(waits.elapsed() <= 2 * ARRIVING_WAIT_MAX, "the helper waits in vain");
                send(&mut stranger, 1);
            }
            drop(stranger);
        });
        assert_eq!(given, Ok(()));
        drop(helper);
        // The other way round, nobody is broken off.
        let mut helper = arriving.announce(ALL, true);
        send(&mut helper, 400);
        advance(ARRIVING_PIECE_MAX * 10).await;
        let mut stranger = arriving.announce(ALL / 2, false);
        assert!(timeout(ARRIVING_WAIT_MAX * 20, stranger.widen()).await.is_err());
        assert!(helper.broken_off().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn room_for_all_of_a_vector_does_not_keep_it_from_being_broken_off() {
        for bytes in [ALL, 4 * ALL - 1] {
            let arriving = Arriving::new();
            let mut stalls = arriving.announce(bytes, false);
            assert_eq!(send(&mut stalls, 511), 511);
            assert_eq!(stalls.widen().now_or_never(), Some(Ok(())));
            assert!(stalls.is_whole, "the last piece is given, and does not come");
            let mut waits = arriving.announce(ALL / 2, true);
            let (given, ()) = tokio::join!(waits.widen(), async {
                let longest = ARRIVING_PIECE_MAX + 2 * ARRIVING_WAIT_MAX;
                timeout(longest, stalls.broken_off()).await.expect("it is broken off in time");
                drop(stalls);
            });
            assert_eq!(given, Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_vector_above_all_room_is_broken_off_only_if_it_hardly_arrives() {
        let arriving = Arriving::new();
        let mut large = arriving.announce(4 * ALL - 1, true);
        assert_eq!(send(&mut large, 512), 512);
        let mut waits = arriving.announce(ALL / 2, true);
        let ((), waited) = tokio::join!(
            async {
                // The rest arrives at a piece a second.
                for _ in 0..3 * 512 {
                    assert!(timeout(Duration::from_secs(1), large.broken_off()).await.is_err());
                    large.count(PIECE);
                }
                // All of it has arrived, and is still unpacked.
                assert!(timeout(10 * ARRIVING_PIECE_MAX, large.broken_off()).await.is_err());
                drop(large);
            },
            waits.widen()
        );
        assert_eq!(waited, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn many_small_ones_pass_at_once() {
        let arriving = Arriving::new();
        let rooms: Vec<Room> = (0..1000)
            .map(|_| {
                let mut room = arriving.announce(400_000, false);
                assert_eq!(room.widen().now_or_never(), Some(Ok(())));
                assert!(room.is_enough() && room.is_whole);
                room
            })
            .collect();
        assert!(arriving.inner().free < u64::from(ARRIVING_KIB_MAX));
        drop(rooms);
        assert_eq!(arriving.inner().free, u64::from(ARRIVING_KIB_MAX));
        assert_eq!(arriving.inner().missing, 0);
    }
}
