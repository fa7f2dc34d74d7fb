//! The connection: the handshake, silence, and reconnection.

use bytes::Bytes;
use protocol::PROTOCOL_VERSION;
use protocol::frame::{DownwardFrame, decode_downward};
use protocol::limits::READY_SHARDS_MAX;
use protocol::message::{FromCoordinator, FromVolunteer, Hello, Ready, Refusal, TOKEN_BYTES, Welcome};
use protocol::plan::Set;

use super::status::HubPhase;
use super::{CurrentRun, Hub, HubOutput, texts};
use crate::run::Run;

/// Maximum milliseconds that a coordinator may take to answer a hello. After that, the hub tries again.
pub const GREETING_MS_MAX: u64 = 30_000;
/// Maximum milliseconds of silence before the hub considers the connection lost. A browser may never notice a
/// lost connection by itself. A coordinator sends something every ten seconds, except while a round is being
/// sent: see [`ROUND_MS_MAX`].
pub const SILENCE_MS_MAX: u64 = 60_000;
/// Milliseconds of silence after which the hub replaces a connection, once the coordinator is known to answer.
/// A coordinator sends something more often than that.
const SUSPICIOUS_MS: u64 = 15_000;
/// Maximum milliseconds that a round being sent may add to [`SILENCE_MS_MAX`], because a message is seen only
/// once all of it has arrived. A round of 20 MB takes as long over a link of 0.3 Mbit/s.
pub const ROUND_MS_MAX: u64 = 600_000;
/// The slowest link to wait for, up to [`ROUND_MS_MAX`], in bytes of a round per millisecond.
pub const LINK_BYTES_PER_MS: u64 = 64;

/// Why a hub that does not follow ends.
const CHANGED: &str = "A different training has begun here.";

/// The state of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Closed because of `why`. The hub reconnects at `until_ms`.
    Waiting { until_ms: u64, why: String },
    /// The coordinator wants the hub to wait until then, for the reason in `text`.
    Held { until_ms: u64, text: String },
    /// The connection has been asked for.
    Connecting,
    /// The hello is sent; an answer must come by `until_ms`.
    Greeting { until_ms: u64 },
    /// Work may come.
    Open,
    /// Nothing more will happen, for the reason in `text`.
    Ended { phase: HubPhase, text: String },
}

impl Hub {
    pub(super) fn connected(&mut self, now_ms: u64) {
        if self.link != Link::Connecting {
            return;
        }
        self.link = Link::Greeting { until_ms: now_ms.saturating_add(GREETING_MS_MAX) };
        self.greeted_cores = self.lent();
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            arithmetic: self.settings.arithmetic,
            known_answer: self.settings.known_answer,
            cores: self.lent(),
            fused_capable: self.settings.fused_capable,
            agent: self.settings.agent.clone(),
            token: self.settings.token,
        };
        self.send(FromVolunteer::Hello(hello).encode());
    }

    pub(super) fn disconnected(&mut self, now_ms: u64, why: &str) {
        if matches!(self.link, Link::Waiting { .. } | Link::Held { .. }) {
            return;
        }
        let until_ms = now_ms.saturating_add(self.backoff.next_delay_ms());
        self.link = Link::Waiting { until_ms, why: why.to_owned() };
        self.forget_round();
    }

    pub(super) fn tick(&mut self, now_ms: u64) {
        match self.link {
            Link::Waiting { until_ms, .. } | Link::Held { until_ms, .. } if now_ms >= until_ms => {
                self.link = Link::Connecting;
                self.outputs.push_back(HubOutput::Connect);
            }
            Link::Greeting { until_ms } if now_ms >= until_ms => {
                self.hang_up(now_ms, "the coordinator did not answer");
            }
            Link::Open if now_ms >= self.silent_until_ms() => {
                self.hang_up(now_ms, "the coordinator was silent for too long");
            }
            _ => {}
        }
        // If this tick came too early, the hub asks for the next one again.
        self.wake_ms = None;
    }

    /// Connects now, whatever the backoff says, but not before the coordinator wants it.
    pub(super) fn retry(&mut self, now_ms: u64) {
        let is_silent = now_ms.saturating_sub(self.heard_ms) >= SUSPICIOUS_MS;
        match self.link {
            Link::Open | Link::Greeting { .. } if is_silent => {
                self.hang_up(now_ms, "the coordinator was silent for too long");
            }
            Link::Waiting { .. } | Link::Connecting => {}
            Link::Open | Link::Greeting { .. } | Link::Held { .. } | Link::Ended { .. } => return,
        }
        self.backoff.reset();
        self.link = Link::Connecting;
        self.outputs.push_back(HubOutput::Connect);
    }

    pub(super) fn frame(&mut self, now_ms: u64, bytes: &Bytes) {
        let open = self.link == Link::Open;
        match decode_downward(bytes) {
            Ok(DownwardFrame::Message(FromCoordinator::Welcome(welcome))) if !open => {
                self.welcome(*welcome, bytes);
            }
            Ok(DownwardFrame::Message(FromCoordinator::Refused { reason, text })) => {
                self.refused(now_ms, reason, text);
            }
            Ok(DownwardFrame::Message(FromCoordinator::Finished(farewell))) => {
                self.credits.told(farewell.credit);
                self.finals = Some(farewell.figures);
                self.end(HubPhase::Finished, farewell.text)
            }
            Ok(DownwardFrame::Message(FromCoordinator::Credit(credit))) if open => self.credits.told(credit),
            Ok(DownwardFrame::Message(FromCoordinator::Assign(assignment))) if open => {
                self.assign(assignment)
            }
            Ok(DownwardFrame::Message(FromCoordinator::Heartbeat)) => {}
            Ok(DownwardFrame::Round(round)) if open => self.begin_round(now_ms, round, bytes),
            Ok(_) => self.hang_up(now_ms, "the coordinator sent a message out of order"),
            Err(error) => {
                self.hang_up(now_ms, &format!("the coordinator sent an unreadable message: {error}"))
            }
        }
    }

    /// Closes the connection and tries again later.
    pub(super) fn hang_up(&mut self, now_ms: u64, why: &str) {
        self.outputs.push_back(HubOutput::Close);
        self.disconnected(now_ms, why);
    }

    /// Closes the connection for good.
    pub(super) fn end(&mut self, phase: HubPhase, text: String) {
        self.forget_round();
        self.shards.clear();
        self.stop_crew_beyond(0);
        self.outputs.push_back(HubOutput::Close);
        self.link = Link::Ended { phase, text };
    }

    /// The time at which the coordinator counts as silent for too long.
    pub(super) fn silent_until_ms(&self) -> u64 {
        let parameters = self.run.as_ref().map_or(0, |current| current.run.network.parameters() as u64);
        // The largest rounds carry two vectors of f32.
        let round_ms = (8 * parameters / LINK_BYTES_PER_MS).min(ROUND_MS_MAX);
        self.heard_ms.saturating_add(SILENCE_MS_MAX + round_ms)
    }

    fn welcome(&mut self, mut welcome: Welcome, frame: &Bytes) {
        // Two welcomes of one run differ only in the session's number.
        welcome.session = 0;
        if self.run.as_ref().is_none_or(|current| current.run.welcome != welcome) {
            if self.run.is_some() && !self.settings.follows {
                return self.end(HubPhase::Changed, CHANGED.to_owned());
            }
            if welcome.arithmetic != self.settings.arithmetic {
                let text = format!(
                    "This run uses {} arithmetic, but this worker computes {}. Reload the page.",
                    welcome.arithmetic, self.settings.arithmetic
                );
                return self.end(HubPhase::Stopped, text);
            }
            let run = match Run::new(welcome) {
                Ok(run) => run,
                Err(error) => {
                    let text = format!(
                        "This worker cannot set up the coordinator's network ({error}). Use the \
                         same release of Shoal on both sides."
                    );
                    return self.end(HubPhase::Stopped, text);
                }
            };
            let footprint = run.footprint(&self.settings);
            self.shards.clear();
            self.run = Some(CurrentRun { run, frame: frame.clone(), footprint });
            self.crew.forget_run();
            if self.cores_max() == 0 {
                return self.end(HubPhase::Stopped, texts::too_large(footprint, &self.settings));
            }
        }
        self.stop_crew_beyond(self.lent().into());
        self.backoff.reset();
        self.credits.connected();
        self.link = Link::Open;
        let training = self.shards.held().filter(|(set, _)| *set == Set::Training);
        let training_shards = training.map(|(_, index)| index).take(READY_SHARDS_MAX).collect();
        self.send(FromVolunteer::Ready(Ready { training_shards }).encode());
        // The number of cores may have changed since the hello.
        if self.lent() != self.greeted_cores {
            self.send(FromVolunteer::Cores(self.lent()).encode());
        }
    }

    fn refused(&mut self, now_ms: u64, reason: Refusal, text: String) {
        match reason {
            Refusal::Full => self.hang_up(now_ms, text.trim_end_matches('.')),
            Refusal::Wait { seconds } => {
                self.hang_up(now_ms, "");
                let until_ms = now_ms.saturating_add(1000 * u64::from(seconds));
                self.link = Link::Held { until_ms, text };
            }
            Refusal::Replaced => {
                self.settings.token = next_token(self.settings.token);
                self.hang_up(now_ms, text.trim_end_matches('.'));
            }
            Refusal::OtherArithmetic if !self.settings.follows => {
                self.end(HubPhase::Changed, CHANGED.to_owned());
            }
            Refusal::OtherVersion | Refusal::OtherArithmetic | Refusal::OtherBits | Refusal::Misbehaved => {
                self.end(HubPhase::Stopped, text)
            }
        }
    }

    pub(super) fn send(&mut self, frame: Vec<u8>) {
        self.counters.bytes_sent += frame.len() as u64;
        self.outputs.push_back(HubOutput::Send(frame));
    }
}

/// The token to come back with when a newer session has this one. Where several volunteers share what they keep, each
/// so finds one of its own, and the same ones again later.
fn next_token(token: [u8; TOKEN_BYTES]) -> [u8; TOKEN_BYTES] {
    if token == [0; TOKEN_BYTES] {
        return token;
    }
    let derived = blake3::derive_key("shoal next token of a volunteer, version 1", &token);
    *derived.first_chunk().expect("a hash is longer than a token")
}
