//! How busy this machine is.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::{room, traffic};

/// Processor and network are measured over at least this long, however many look.
const SPAN: Duration = Duration::from_secs(1);

/// Measures this machine when asked.
#[derive(Debug)]
pub struct Machine {
    run: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    system: Option<System>,
    measured: Option<(Instant, u64, u64)>,
    usage: Usage,
}

/// What was measured. `None` where the system does not tell, and for what takes two measurements before there
/// were two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Cores of this machine.
    pub cores: usize,
    /// Share of all cores that is busy.
    pub processor: Option<f64>,
    /// The same for this process.
    pub processor_of_process: Option<f64>,
    /// Bytes of memory of this process.
    pub memory_of_process: Option<u64>,
    /// Bytes of memory that are used, and all of them.
    pub memory: Option<(u64, u64)>,
    /// Bytes free on the disk of the run's directory.
    pub disk_free: Option<u64>,
    /// Bytes sent and received in all.
    pub sent: u64,
    /// See `sent`.
    pub received: u64,
    /// Bytes a second of late.
    pub sent_per_second: Option<f64>,
    /// See `sent_per_second`.
    pub received_per_second: Option<f64>,
}

impl Machine {
    /// For a run in that directory.
    pub(crate) fn new(run: PathBuf) -> Machine {
        Machine { run, state: Mutex::default() }
    }

    /// The figures of the last second.
    pub fn usage(&self) -> Usage {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.measured.is_none_or(|(at, ..)| now - at >= SPAN) {
            state.measure(now);
            state.usage.disk_free = room::free_disk(&self.run);
        }
        state.usage
    }
}

impl State {
    fn measure(&mut self, now: Instant) {
        let (sent, received) = (traffic::sent(), traffic::received());
        let usage = &mut self.usage;
        let is_first = self.measured.is_none();
        if let Some((at, sent_then, received_then)) = self.measured.replace((now, sent, received)) {
            let seconds = (now - at).as_secs_f64();
            usage.sent_per_second = Some((sent - sent_then) as f64 / seconds);
            usage.received_per_second = Some((received - received_then) as f64 / seconds);
        }
        (usage.sent, usage.received) = (sent, received);
        usage.cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        if self.system.is_none() {
            self.system = System::new().ok();
        }
        let Some(system) = &mut self.system else { return };
        let own = Pid::from_u32(std::process::id());
        let wanted = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_cpu_usage();
        system.refresh_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), true, wanted);
        let cores = system.cpus().len().max(1) as f64;
        let process = system.process(own);
        if !is_first {
            usage.processor = Some(f64::from(system.global_cpu_usage()) / 100.0);
            usage.processor_of_process =
                process.map(|process| f64::from(process.cpu_usage()) / 100.0 / cores);
        }
        usage.memory_of_process = process.map(|process| process.memory());
        usage.memory = Some((system.used_memory(), system.total_memory())).filter(|(_, all)| *all > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_unknown_until_there_were_two_measurements() {
        let mut state = State::default();
        let start = Instant::now();
        state.measure(start);
        let first = state.usage;
        assert_eq!((first.processor, first.processor_of_process, first.sent_per_second), (None, None, None));
        assert!(first.cores > 0 && first.memory_of_process.is_some_and(|bytes| bytes > 0), "{first:?}");
        state.measure(start + SPAN);
        let second = state.usage;
        assert!(second.processor_of_process.is_some() && second.received_per_second.is_some(), "{second:?}");
    }
}
