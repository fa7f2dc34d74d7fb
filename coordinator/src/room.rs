//! Checks before a training that this machine has the memory and the disk for it. A training that runs out of
//! either ends badly, and late.

use std::path::Path;

use anyhow::bail;
use model::Network;
use sysinfo::System;

use crate::report::words::{bytes, count};

/// The least that a training will need, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the run directory's disk.
    pub disk: u64,
}

/// The facts of a training from which its need follows.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Parameters of the network.
    pub parameters: u64,
    /// Curvature pairs that the optimizer remembers.
    pub memory: u64,
    /// Cores that the coordinator's own worker uses.
    pub cores: u64,
    /// Whether gateways hand in partial sums.
    pub has_gateways: bool,
}

/// Bytes of an f32 vector, for each parameter: of the round's frame, and of the model on the disk.
const VECTOR: u64 = 4;
/// Partial sums of gateways: at least two that are kept apart (see `engine::ledger`), their sum, and one on its way
/// into them.
const PARTIALS: u64 = 4 * 8;
/// Least bytes of a core for each parameter: its gradient and its sums (see `worker::footprint`).
const CORE: u64 = 24;
/// Checkpoints that are on the disk at a time: the last, the one before, and one being written. Earlier ones make way
/// where there is no room.
const CHECKPOINTS: u64 = 3;
/// Models likewise: the last, and one being written.
const MODELS: u64 = 2;

impl Load {
    /// A lower bound of the need. It leaves out the data, which have been read by then, and all that depends
    /// on the batch.
    pub fn need(self) -> Need {
        let Load { parameters, memory, cores, has_gateways } = self;
        let engine = engine::Load {
            parameters,
            pairs: memory,
            vectors: 1,
            rewinds: false,
            units: 0,
            shards: 0,
            volunteers: 0,
        };
        // The state once more while a checkpoint is encoded.
        let kept = engine.least_bytes().saturating_add(engine.state_bytes());
        let partials = if has_gateways { PARTIALS } else { 0 };
        let sent = parameters.saturating_mul(VECTOR + partials + cores * CORE);
        let models = parameters.saturating_mul(MODELS * VECTOR);
        Need {
            memory: kept.saturating_add(sent),
            disk: engine.state_bytes().saturating_mul(CHECKPOINTS).saturating_add(models),
        }
    }
}

/// Refuses a training that needs more than is free. If the system does not tell, nothing is refused.
///
/// # Errors
/// A sentence that states the need, the free amount and a remedy.
pub fn check(network: &Network, load: Load, run: &Path) -> anyhow::Result<()> {
    let need = load.need();
    let parameters = count(network.parameters());
    if let Some(free) = free_memory().filter(|free| need.memory > *free) {
        bail!(
            "training {parameters} parameters takes about {} of memory, but this machine has only {} to \
             spare; use a smaller network, fewer --local-workers, or an optimizer without curvature pairs \
             (sgd, momentum, adam)",
            bytes(need.memory),
            bytes(free)
        );
    }
    if let Some(free) = free_disk(run).filter(|free| need.disk > *free) {
        bail!(
            "the checkpoints and the model of {parameters} parameters take about {}, but the disk of {} has \
             only {} to spare; make room, or name another place with --out",
            bytes(need.disk),
            run.display(),
            bytes(free)
        );
    }
    Ok(())
}

/// Bytes of memory that are free now; `None` if the system does not tell.
pub(crate) fn free_memory() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let free = system.available_memory();
    // A container may have less than its machine.
    let free = system.cgroup_limits().map_or(free, |limits| free.min(limits.free_memory));
    (free > 0).then_some(free)
}

/// Bytes that may be written at the place of `path`, which need not exist yet; `None` if the system does not
/// tell.
pub(crate) fn free_disk(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let here = Path::new(".");
        let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(here);
        let there = if there.as_os_str().is_empty() { here } else { there };
        let found = rustix::fs::statvfs(there).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_grows_with_parameters_pairs_and_cores() {
        let small = Load { parameters: 100_000, memory: 10, cores: 2, has_gateways: false };
        let Need { memory, disk } = small.need();
        // Ten pairs alone are 80 bytes a parameter.
        assert!((20_000_000..40_000_000).contains(&memory) && (24_000_000..40_000_000).contains(&disk));
        assert!(Load { cores: 8, ..small }.need().memory > memory);
        assert_eq!(Load { has_gateways: true, ..small }.need().memory, memory + 4 * 8 * 100_000);
        assert!(Load { memory: 0, ..small }.need().disk < disk / 3);
        assert_eq!(Load { parameters: u64::MAX, ..small }.need().memory, u64::MAX);
    }

    #[test]
    fn a_network_far_beyond_any_machine_is_refused_in_words() {
        let spec = model::NetworkSpec::from_shorthand("linear").unwrap();
        let network = Network::new(&spec, 4, model::Task::Classes(2)).unwrap();
        let load = Load { parameters: 1 << 50, memory: 10, cores: 1, has_gateways: false };
        let text = check(&network, load, Path::new("runs/huge")).unwrap_err().to_string();
        assert!(text.contains("of memory") && text.contains("smaller network"), "{text}");
        let modest = Load { parameters: 10, ..load };
        check(&network, modest, Path::new("runs/small")).unwrap();
    }
}
