//! What happens to the processes, drawn from a seed.

/// Something that happens to a part. Times are in milliseconds: until it comes back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    KillLeader {
        ms: u64,
    },
    FreezeLeader {
        ms: u64,
    },
    KillStandby {
        ms: u64,
    },
    FreezeStandby {
        ms: u64,
    },
    KillGateway {
        index: usize,
        ms: u64,
    },
    FreezeGateway {
        index: usize,
        ms: u64,
    },
    KillVolunteer {
        index: usize,
        ms: u64,
    },
    FreezeVolunteer {
        index: usize,
        ms: u64,
    },
    KillNats {
        ms: u64,
    },
    FreezeNats {
        ms: u64,
    },
    /// The store answers with errors, if it is a bucket.
    BreakStore {
        ms: u64,
    },
    Nothing {
        ms: u64,
    },
}

/// What happens in one training.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) faults: Vec<Fault>,
}

/// Faults in a schedule.
const FAULTS: usize = 5;

impl Schedule {
    /// The schedule of a seed.
    pub(crate) fn draw(seed: u64) -> Schedule {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x5851_f42d_4c95_7f2d);
        let mut next = |below: u64| {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
        };
        let mut faults = Vec::new();
        for _ in 0..FAULTS {
            faults.push(Fault::Nothing { ms: next(1_500) });
            let index = next(8) as usize;
            faults.push(match next(14) {
                0 => Fault::KillLeader { ms: next(3_000) },
                1 => Fault::FreezeLeader { ms: 500 + next(2_000) },
                // Until the standby leads, or is about to.
                2 => Fault::FreezeLeader { ms: 8_000 + next(4_000) },
                3 => Fault::KillStandby { ms: next(3_000) },
                4 => Fault::FreezeStandby { ms: next(6_000) },
                5 | 6 => Fault::KillGateway { index, ms: next(2_000) },
                // Until its units are someone else's, or are about to be.
                7 => Fault::FreezeGateway { index, ms: 4_500 + next(1_500) },
                8 => Fault::FreezeGateway { index, ms: next(1_000) },
                9 => Fault::KillVolunteer { index, ms: next(1_000) },
                10 => Fault::FreezeVolunteer { index, ms: next(6_000) },
                11 => Fault::KillNats { ms: next(2_000) },
                12 => Fault::FreezeNats { ms: next(6_000) },
                _ => Fault::BreakStore { ms: next(3_000) },
            });
        }
        Schedule { faults }
    }
}
