//! Carries out what the operator wants, and shows the operator how the training goes.

use std::time::{Duration, Instant};

use engine::Input;

use super::Driver;
use super::exchange::ToSession;
use crate::operator::{
    Action, Ban, Candidate, Copies, Coverage, Done, Errand, Refusal, Saved, View, Worth, address_in_words,
    unix_time,
};
use crate::scale::PauseSign;
use crate::traffic;

/// The driver's memory of what the operator wanted.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Tells whoever leads next of a pause.
    sign: Option<PauseSign>,
    /// The training ends after the open round.
    pub(super) stops: bool,
    /// A checkpoint is to be written as soon as the writer is free.
    pub(super) saves: bool,
    /// Since when there is a pause.
    pub(super) paused: Option<Instant>,
    /// How long the pauses before took.
    pub(super) rested: Duration,
    /// The last checkpoint: rounds and iteration in it, when it was handed over, whether it is on the disk.
    checkpoint: Option<(u64, u64, Instant, bool)>,
    /// Bytes and iteration when the training began.
    traffic: Option<(u64, u64)>,
}

impl Wishes {
    /// Those of a training of several processes, if it has a sign.
    pub(super) fn of_several(sign: Option<PauseSign>) -> Wishes {
        Wishes { sign, ..Wishes::default() }
    }

    fn show_pause(&self) {
        if let Some(sign) = &self.sign {
            sign.show(self.paused.is_some());
        }
    }

    /// A checkpoint of so many rounds is handed to the writer.
    pub(super) fn handed_over(&mut self, rounds: u64, iteration: u64) {
        self.saves = false;
        self.checkpoint = Some((rounds, iteration, Instant::now(), false));
    }

    /// The last checkpoint is on the disk, or cannot be.
    pub(super) fn written(&mut self, is_written: bool) {
        if let Some((.., written)) = &mut self.checkpoint {
            *written = is_written;
        }
    }
}

impl Driver {
    /// Carries out an action, and answers.
    pub(super) fn errand(&mut self, errand: Errand) {
        let Errand { action, from, answer } = errand;
        let done = self.act(action);
        if let Ok(done) = &done
            && done.changed
        {
            self.desk.log.note(&done.sentence, &from);
        }
        self.show();
        // Whoever asked may have gone away.
        let _ = answer.send(done);
    }

    fn act(&mut self, action: Action) -> Result<Done, Refusal> {
        let is_over = self.engine.stop_reason().is_some();
        match action {
            Action::Unban { address } => Ok(match self.desk.bans.lift(&address) {
                Some(ban) => {
                    for token in ban.tokens {
                        self.desk.bans.disinherit(token);
                        self.ban_token(token, false);
                    }
                    changed(format!("The ban of {address} is lifted."))
                }
                None => unchanged(format!("{address} is not banned.")),
            }),
            _ if is_over => Err(Refusal::Over),
            Action::Pause if self.wishes.paused.is_some() => Ok(unchanged("The training is paused already.")),
            Action::Pause => {
                self.pause();
                Ok(changed("The training is paused: no work is handed out."))
            }
            Action::Continue if self.wishes.paused.is_none() => Ok(unchanged("The training is not paused.")),
            Action::Continue => {
                self.end_pause();
                Ok(changed("The training goes on."))
            }
            Action::Stop if self.wishes.stops => Ok(unchanged("The training ends after this round already.")),
            Action::Stop => Ok(self.stop()),
            Action::Save => Ok(self.save_now()),
            Action::Remove { session } => self.send_away(session, false),
            Action::Ban { session } => self.send_away(session, true),
        }
    }

    pub(super) fn pause(&mut self) {
        self.wishes.paused = Some(Instant::now());
        self.wishes.show_pause();
        self.picture.pauses(true);
        self.engine(Input::Pause);
    }

    fn end_pause(&mut self) {
        let Some(since) = self.wishes.paused.take() else { return };
        self.wishes.show_pause();
        if self.training_began.is_some() {
            self.wishes.rested += since.elapsed();
        }
        self.picture.pauses(false);
        self.engine(Input::Continue);
    }

    fn stop(&mut self) -> Done {
        self.wishes.stops = true;
        if self.engine.round_progress().is_none() {
            self.engine(Input::Stop);
            return changed("The training ends now.");
        }
        // A round that nobody works on would not end.
        self.end_pause();
        changed("The training ends after this round.")
    }

    fn save_now(&mut self) -> Done {
        let rounds = self.engine.counters().rounds;
        let iteration = self.engine.accepted().map_or(0, |accepted| accepted.iteration);
        if let Some((known, _, _, written)) = self.wishes.checkpoint
            && known == rounds
        {
            let text = if written { "is saved already" } else { "is being saved" };
            return unchanged(format!("A checkpoint of iteration {iteration} {text}."));
        }
        self.wishes.saves = true;
        self.save_if_wanted();
        changed(format!("A checkpoint of iteration {iteration} is being saved."))
    }

    /// Hands a checkpoint to the writer if the operator wants one and the writer is free.
    pub(super) fn save_if_wanted(&mut self) {
        let is_free = self.checkpoints.is_free();
        self.note_written();
        if self.wishes.saves && is_free {
            self.write_checkpoint();
        }
    }

    fn send_away(&mut self, session: u64, bans: bool) -> Result<Done, Refusal> {
        let Some((identity, agent, local)) = self.people.find(session) else {
            return match self.latest_session.is_some_and(|latest| session <= latest) {
                true => Ok(unchanged("This volunteer has left already.")),
                false => Err(Refusal::Unknown),
            };
        };
        if local {
            return Err(Refusal::Own);
        }
        let (agent, address) = (agent.to_owned(), address_in_words(identity.address));
        if !bans {
            self.remove(session, "The operator has removed this volunteer.");
            return Ok(changed(format!("Volunteer {session} ({agent}, {address}) is removed.")));
        }
        let there = self.people.at(identity.address);
        let tokens = there.iter().map(|(_, token)| *token).collect();
        let ban = Ban { address: address.clone(), agent: agent.clone(), time: unix_time(), tokens };
        if !self.desk.bans.add(identity.address, ban) {
            return Err(Refusal::Full);
        }
        for (session, token) in &there {
            // It may come from another address next time.
            self.ban_token(*token, true);
            self.remove(*session, "The operator has banned this volunteer's address.");
        }
        let others = match there.len() {
            0 | 1 => String::new(),
            all => format!(", with {} more at this address", all - 1),
        };
        Ok(changed(format!("Volunteer {session} ({agent}, {address}) is banned{others}.")))
    }

    /// Bans a volunteer here and at every gateway, or does not any more.
    fn ban_token(&mut self, token: u128, is_banned: bool) {
        match is_banned {
            true => self.present.doors().ban(token),
            false => self.present.doors().unban(token),
        }
        let now_ms = self.now_ms();
        if let Some(lead) = self.engine.lead() {
            lead.ban(now_ms, token, is_banned);
        }
    }

    fn remove(&mut self, session: u64, text: &str) {
        self.present.send(session, ToSession::Dismiss { text: text.to_owned() });
        self.people.leave(session, Some(text.trim_end_matches('.').to_owned()), Instant::now());
        self.forget(session);
        self.engine(Input::Left { session });
    }

    /// A point was accepted: the examiner's next candidate, if it was evaluated.
    pub(super) fn note_point(&mut self, iteration: u64, is_evaluated: bool) {
        if self.wishes.traffic.is_none() {
            self.wishes.traffic = Some((self.traffic(), iteration));
        }
        if is_evaluated {
            self.examiner.offer(Candidate { iteration, weights: self.engine.weights() });
        }
    }

    /// Brings the table of volunteers up to date, and renews the view if somebody looks.
    pub(super) fn show_operator(&mut self) {
        let now = Instant::now();
        let works = self.engine.round_progress().is_some() && self.wishes.paused.is_none();
        self.people.sample(self.engine.members(self.now_ms()), works, now);
        if !self.desk.is_wanted() {
            return;
        }
        self.examiner.look();
        let accepted = self.engine.accepted().map(|accepted| accepted.iteration);
        let checkpoint = self.wishes.checkpoint.map(|(_, iteration, at, written)| Saved {
            iteration,
            seconds: (now - at).as_secs_f64(),
            written,
        });
        let (copies, coverage) = self.copies();
        let moved = self.traffic();
        let term = self.engine.lead().map(|lead| lead.term().number);
        let gateways = self.gateways().cloned().collect();
        self.desk.show(View {
            term,
            gateways,
            paused: self.wishes.paused.is_some(),
            stopping: self.wishes.stops && self.engine.stop_reason().is_none(),
            method: self.engine.method().to_string(),
            best_iteration: self.engine.best().map(|best| best.point.iteration),
            checkpoint,
            worth: Worth {
                speed: self.examiner.one_core().map(|one| self.picture.examples_per_second() / one),
                waiting: self.people.waiting(),
                duplicated: self.people.duplicated(),
                bytes_per_iteration: self.wishes.traffic.zip(accepted).and_then(
                    |((bytes, from), iteration)| {
                        let done = iteration.checked_sub(from).filter(|done| *done > 0)?;
                        // A gateway that has gone has taken its bytes with it.
                        Some(moved.saturating_sub(bytes) as f64 / done as f64)
                    },
                ),
            },
            volunteers: self.people.rows(now),
            volunteers_count: self.people.len(),
            departed: self.people.departed(now),
            bans: self.desk.bans.all(),
            log: self.desk.log.entries(),
            copies,
            coverage,
            history: self.picture.details(),
            ..View::default()
        });
    }

    /// Bytes that volunteers and pages have sent and received, here and at all gateways.
    fn traffic(&mut self) -> u64 {
        let elsewhere: u64 = self.gateways().map(|about| about.bytes).sum();
        traffic::sent() + traffic::received() + elsewhere
    }

    /// How many copies the shards have, and how many examples of each class somebody holds.
    fn copies(&self) -> (Vec<Copies>, Vec<Coverage>) {
        let mut by_copies = std::collections::BTreeMap::<usize, usize>::new();
        let mut coverage = self.census.nothing_held();
        // The coordinator's own worker holds all.
        let own = usize::from(self.people.has_own());
        for (shard, copies) in self.engine.copies().enumerate() {
            let copies = copies.saturating_sub(own);
            *by_copies.entry(copies).or_default() += 1;
            if copies > 0 {
                self.census.hold(&mut coverage, shard);
            }
        }
        let copies = by_copies.into_iter().map(|(copies, shards)| Copies { copies, shards });
        (copies.collect(), coverage)
    }
}

fn changed(sentence: impl Into<String>) -> Done {
    Done { changed: true, sentence: sentence.into() }
}

fn unchanged(sentence: impl Into<String>) -> Done {
    Done { changed: false, sentence: sentence.into() }
}
