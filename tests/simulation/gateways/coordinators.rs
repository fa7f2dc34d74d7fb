//! Coordinators: those that lead, and those that stand by.

use engine::{Engine, Input, Output, Secret, Settings, Snapshot};
use gateway::{
    BROADCAST_EVERY_MS, Broadcast, Gateway, Leader, LeaderInput, LeaderOutput, MESSAGE_BYTES_MAX, Reply,
    StandbyInput, StandbyOutput, StateName, Strike, Term,
};

use super::protections::Protection;
use super::scenario::Actor;
use super::world::{Event, World};
use crate::examined;
use crate::reference::Limits;

impl World<'_> {
    pub(super) fn standby(&mut self, number: usize, input: StandbyInput) {
        let Some(standby) = &mut self.coordinators[number].standby else { return };
        standby.handle(self.now_ms, input);
        let outputs: Vec<StandbyOutput> = std::iter::from_fn(|| standby.poll_output()).collect();
        let life = self.coordinators[number].machine.life;
        for output in outputs {
            let delay_ms = self.store_ms();
            let fails = self.is_without_store(Actor::Coordinator(number));
            match output {
                StandbyOutput::FindNewest if fails => self.after(delay_ms, Event::StoreFailed(number, life)),
                StandbyOutput::FindNewest if self.end.is_some() => {
                    self.after(delay_ms, Event::Ended(number, life));
                }
                StandbyOutput::FindNewest => {
                    // It is looked up when the request arrives, and the answer is on its way for a while.
                    let newest = self.terms.values().next_back().map(|(newest, _)| *newest);
                    self.after(delay_ms, Event::Newest(number, life, newest));
                }
                StandbyOutput::Create(term) => {
                    // An error may come after it was done.
                    if !fails || self.draw.percent(50) {
                        let there = self.terms.get(&term.number).copied();
                        let is_raced = |(other, at_ms): (Term, u64)| other != term && self.is_racy(at_ms);
                        if there.is_none_or(is_raced) {
                            if there.is_some() {
                                self.note("created twice", term.number);
                            }
                            self.terms.insert(term.number, (term, self.now_ms));
                        }
                    }
                    let event =
                        if fails { Event::StoreFailed(number, life) } else { Event::Created(number, life) };
                    self.after(delay_ms, event);
                }
                StandbyOutput::Lead(term) => {
                    self.note("leads", (number, term.number));
                    assert!(self.led.insert(term), "a term is led twice");
                    self.herald(number, term);
                    let loading_ms = self.scenario.loading_ms;
                    self.after(loading_ms, Event::Loaded(number, life, term));
                }
                StandbyOutput::Finished => {
                    self.go(Actor::Coordinator(number));
                    return;
                }
            }
        }
        self.wake(Actor::Coordinator(number));
    }

    /// Says that it leads while it loads what another has left.
    pub(super) fn herald(&mut self, number: usize, term: Term) {
        let one = &self.coordinators[number];
        if one.leader.is_some() || self.scenario.lacks == Some(Protection::Herald) {
            return;
        }
        let life = one.machine.life;
        self.broadcast(number, &Broadcast::Leads { term });
        self.after(BROADCAST_EVERY_MS, Event::Heralds(number, life, term));
    }

    fn broadcast(&mut self, number: usize, broadcast: &Broadcast) {
        let bytes = broadcast.encode();
        for actor in self.actors() {
            let life = self.machine(actor).life;
            let event = || Event::Broadcast(actor, life, bytes.clone());
            self.send(Actor::Coordinator(number), Some(actor), event);
        }
    }

    /// It has loaded the newest state.
    pub(super) fn lead(&mut self, number: usize, term: Term) {
        if let Some(disturbed_ms) = self.disturbed_ms.take() {
            self.happened.insert("milliseconds until replaced", self.now_ms - disturbed_ms);
        }
        self.is_settled |= !self.undetected.is_empty();
        self.disturb(Actor::Coordinator(number), 0);
        let mut names: Vec<StateName> = self.states.keys().copied().collect();
        StateName::newest_first(&mut names);
        let newest = names.first().map(|name| (name, &self.states[name]));
        let snapshot: Snapshot = newest.map_or_else(
            || self.problem.start(),
            |(name, bytes)| {
                assert!(name.is_of(bytes));
                postcard::from_bytes(bytes).unwrap()
            },
        );
        let examines = self.scenario.seed.is_multiple_of(2);
        let limits = Limits { examines, ..Limits::iterations(self.scenario.iterations) };
        let settings = Settings { audit: self.scenario.audit, ..self.problem.settings(&limits) };
        let mut engine = Engine::new(settings, snapshot, &Secret::new([3; 32]));
        if !self.scenario.checks_owners {
            engine = engine.without_check_of_owners();
        }
        if let Some(partials) = self.scenario.partials_max {
            engine = engine.with_room_for(partials);
        }
        self.coordinators[number].standby = None;
        self.coordinators[number].leader = Some(Leader::new(term, engine, self.problem.network.parameters()));
        self.look_after(number);
        self.leader(number, LeaderInput::Engine(Input::Begin));
    }

    pub(super) fn leader(&mut self, number: usize, input: LeaderInput) {
        let now_ms = self.now_ms;
        let Some(leader) = &mut self.coordinators[number].leader else { return };
        leader.handle(now_ms, input);
        let outputs: Vec<LeaderOutput> = std::iter::from_fn(|| leader.poll_output()).collect();
        let term = leader.term();
        let life = self.coordinators[number].machine.life;
        let own = Actor::Coordinator(number);
        let goes_back = outputs.iter().any(is_rewind);
        for output in outputs {
            match output {
                LeaderOutput::Broadcast(broadcast) => self.broadcast(number, &broadcast),
                LeaderOutput::Answer(answer) => {
                    // Whoever has that number now; others ignore it.
                    let answer = self.without_protection_of_answer(answer);
                    let bytes = answer.encode();
                    assert!(bytes.len() <= MESSAGE_BYTES_MAX);
                    if answer.reply == Reply::Expelled {
                        self.note("expelled", answer.gateway);
                    }
                    for host in 0..self.gateways.len() {
                        let gateway = self.gateways[host].gateway.as_ref().map(Gateway::incarnation);
                        if gateway == Some(answer.gateway) {
                            let life = self.gateways[host].machine.life;
                            self.send(own, Some(Actor::Gateway(host)), || {
                                Event::Answer(host, life, bytes.clone())
                            });
                        }
                    }
                }
                LeaderOutput::Put(name, bytes) => self.put(own, life, name, bytes),
                LeaderOutput::Fetch(name) => self.fetch(own, life, name),
                LeaderOutput::Drop(name) => {
                    self.objects.remove(&name);
                }
                LeaderOutput::DropBefore(term) => self.objects.retain(|place, _| place.term >= term),
                LeaderOutput::Struck(Strike { id, token, is_lie, ago_ms, .. }) => {
                    // What it did since an earlier leader heard the same is another matter.
                    if self.struck.insert(id) && is_lie {
                        self.undetected.remove(&token);
                    }
                    self.shut_out(own, token, ago_ms);
                }
                LeaderOutput::Banned { token, is_banned } => self.banned(own, token, is_banned),
                LeaderOutput::Save(snapshot) => {
                    let saved = self.coordinators[number].saved + 1;
                    self.coordinators[number].saved = saved;
                    // Whoever saves may leave states out for newer ones, but not the one that the training went back to.
                    let goes_back_unsaved = goes_back && self.scenario.lacks == Some(Protection::SavedReturn);
                    let is_saved = self.draw.percent(70) && !self.is_without_store(own);
                    if (is_saved || goes_back) && !goes_back_unsaved {
                        let bytes = postcard::to_allocvec(&*snapshot).unwrap();
                        let name = StateName::new(term, saved, &bytes);
                        let names: Vec<StateName> = self.states.keys().copied().collect();
                        for old in name.superseded(&names) {
                            self.states.remove(&old);
                        }
                        self.states.insert(name, bytes);
                    }
                }
                LeaderOutput::Finished(_) => {
                    let leader = self.coordinators[number].leader.as_ref().expect("it has just spoken");
                    let engine = leader.engine();
                    if let Some(examination) = engine.examination().filter(|_| self.scenario.liars.is_empty())
                    {
                        let best = engine.best().map(|best| best.weights.clone());
                        let weights = best.unwrap_or_else(|| engine.weights());
                        examined::check(self.problem, &weights, examination);
                        self.note("examined", number);
                    }
                    self.begin_to_end(number);
                }
                LeaderOutput::StepDown(newer) => {
                    self.note("stepped down", (number, newer.number));
                    self.start(own);
                    return;
                }
                // The training went back behind it at once.
                LeaderOutput::Engine(Output::Accepted(_)) if goes_back => {}
                LeaderOutput::Engine(output) => self.carry_out(number, life, output),
            }
        }
        self.wake(own);
    }

    fn carry_out(&mut self, number: usize, life: u64, output: Output) {
        let own = Actor::Coordinator(number);
        match output {
            Output::Measure { plan, unit, vectors } => {
                let measure = self.problem.measure(&plan, unit, &vectors);
                let delay_ms = self.draw.between(1, 50);
                self.after(delay_ms, Event::Measured(number, life, plan.round, unit, measure));
            }
            Output::Accepted(accepted) => {
                let iteration = accepted.iteration;
                self.iteration = iteration;
                let known = self.reference.points.iter().find(|point| point.iteration == iteration);
                let bits = |point| postcard::to_allocvec(point).unwrap();
                if self.scenario.checks_owners && !self.may_be_wrong() {
                    assert!(
                        known.is_some_and(|known| bits(known) == bits(&accepted)),
                        "iteration {iteration}"
                    );
                }
            }
            Output::Rewound { iteration } => {
                self.note("rewound", iteration);
                self.iteration = iteration.unwrap_or(0);
            }
            Output::OpenRound { plan, vectors } => {
                self.opened_ms.push(self.now_ms);
                self.coordinators[number].porch.round = Some((plan, vectors));
            }
            Output::Recompute { plan, units, vectors } => {
                let units: Vec<u32> = units.into_iter().flatten().collect();
                let answer = self.problem.compute(&plan, &units, &vectors).ok();
                self.after(50, Event::Recomputed(own, life, plan.round, answer));
            }
            Output::Assign { session, assignment } => self.assign(own, session, assignment),
            Output::Dismiss { session, .. } => self.lose(own, session),
            Output::Convicted { session, identity, offense, is_lie } => {
                self.note("convicted by a leader", identity.token);
                if is_lie {
                    self.undetected.remove(&identity.token);
                }
                self.convict(own, session, identity.token, offense);
            }
            Output::Note(_) | Output::Between | Output::Delivered { .. } => {}
            output => panic!("{output:?}"),
        }
    }
}

fn is_rewind(output: &LeaderOutput) -> bool {
    matches!(output, LeaderOutput::Engine(Output::Rewound { .. }))
}
