//! The engine at the driver's hands: by itself, or within the leader of a training of several processes.

use std::ops::Deref;

use engine::{Engine, Input};

use crate::scale::{Lead, LeadEvent, LeadOutput};

/// See the module's description. Whatever reads the engine reads it through this.
pub enum Helm {
    /// All volunteers are this process's own.
    Alone(Box<Engine>),
    /// There may be gateways.
    Leads(Box<Lead>),
}

impl Deref for Helm {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        match self {
            Helm::Alone(engine) => engine,
            Helm::Leads(lead) => lead.engine(),
        }
    }
}

impl Helm {
    /// Hands an input to the engine.
    pub(super) fn handle(&mut self, now_ms: u64, input: Input) {
        match self {
            Helm::Alone(engine) => engine.handle(now_ms, input),
            Helm::Leads(lead) => lead.handle(now_ms, input),
        }
    }

    /// What the driver has to do next; `None` when there is nothing more for now.
    pub(super) fn poll_output(&mut self) -> Option<LeadOutput> {
        match self {
            Helm::Alone(engine) => engine.poll_output().map(LeadOutput::Engine),
            Helm::Leads(lead) => lead.poll_output(),
        }
    }

    /// When to hand in [`Input::Tick`] if nothing else happens before.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        match self {
            Helm::Alone(engine) => engine.wake_ms(),
            Helm::Leads(lead) => lead.wake_ms(),
        }
    }

    /// Waits for something from other processes. May be dropped at any time.
    pub(super) async fn event(&mut self) -> LeadEvent {
        match self {
            Helm::Alone(_) => std::future::pending().await,
            Helm::Leads(lead) => lead.event().await,
        }
    }

    /// Takes in what came from other processes.
    pub(super) fn take(&mut self, now_ms: u64, event: LeadEvent) {
        if let Helm::Leads(lead) = self {
            lead.take(now_ms, event);
        }
    }

    /// The leader, if there may be gateways.
    pub(super) fn lead(&mut self) -> Option<&mut Lead> {
        match self {
            Helm::Alone(_) => None,
            Helm::Leads(lead) => Some(lead),
        }
    }
}
