//! What the coordinator has counted, over all connections of a hub.

use protocol::message::Credit;

/// The sums of earlier connections, and the credit of the present one.
#[derive(Debug, Default)]
pub(super) struct Credits {
    earlier: Credit,
    present: Credit,
}

impl Credits {
    /// The coordinator tells the credit of this connection.
    pub(super) fn told(&mut self, credit: Credit) {
        if credit.examples_of_all < self.present.examples_of_all {
            // A coordinator that was started again counts from nothing.
            self.earlier.examples_of_all += self.present.examples_of_all;
        }
        self.present = credit;
    }

    /// A new connection begins, whose credit begins at nothing. What all have done goes on.
    pub(super) fn connected(&mut self) {
        self.earlier.examples += std::mem::take(&mut self.present.examples);
        self.earlier.late += std::mem::take(&mut self.present.late);
    }

    pub(super) fn counted(&self) -> u64 {
        self.earlier.examples + self.present.examples
    }

    pub(super) fn of_all(&self) -> u64 {
        self.earlier.examples_of_all + self.present.examples_of_all
    }

    pub(super) fn late(&self) -> u64 {
        self.earlier.late + self.present.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnections_and_a_restarted_coordinator_lose_nothing() {
        let mut credits = Credits::default();
        let told = |examples, examples_of_all, late| Credit { examples, examples_of_all, late };
        credits.connected();
        credits.told(told(100, 400, 1));
        credits.told(told(200, 500, 1));
        assert_eq!((credits.counted(), credits.of_all(), credits.late()), (200, 500, 1));
        // The same coordinator: its count of all goes on.
        credits.connected();
        assert_eq!((credits.counted(), credits.of_all()), (200, 500));
        credits.told(told(50, 700, 2));
        assert_eq!((credits.counted(), credits.of_all(), credits.late()), (250, 700, 3));
        // Another process.
        credits.connected();
        credits.told(told(10, 20, 0));
        assert_eq!((credits.counted(), credits.of_all(), credits.late()), (260, 720, 3));
    }
}
