//! Lost connections, damaged shards, dead compute workers, refusals and garbage.

use proptest::prelude::*;
use protocol::message::{Farewell, FromCoordinator, FromVolunteer, LocalBounds, Refusal};
use worker::{
    ASSIGNMENTS_MAX, FETCH_ATTEMPTS_MAX, HubInput, HubPhase, SILENCE_MS_MAX, START_ATTEMPTS_MAX, Settings,
};

use crate::support::{Heard, Volunteer, World, order, result, settings};

fn declined(heard: &Heard) -> Option<u64> {
    match heard {
        Heard::Message(FromVolunteer::Decline { assignment, .. }) => Some(*assignment),
        _ => None,
    }
}

#[test]
fn a_lost_connection_is_opened_again_and_shards_are_kept() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 2);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &[0..6]));
    volunteer.download(&world);
    volunteer.download(&world);
    volunteer.tell(HubInput::Disconnected);
    assert_eq!(volunteer.hub.status().phase, HubPhase::Connecting);
    volunteer.settle(&world, order(1));
    assert_eq!(volunteer.heard(), [], "nothing is said on a closed connection");
    volunteer.wake();
    assert_eq!(volunteer.connects, 2);
    volunteer.tell(HubInput::Connected);
    let mut welcome = world.welcome.clone();
    welcome.session = 99;
    volunteer.frame(&FromCoordinator::Welcome(Box::new(welcome)).encode());
    let heard = volunteer.heard();
    let Heard::Message(FromVolunteer::Ready(ready)) = &heard[1] else { panic!("{heard:?}") };
    assert_eq!(ready.training_shards, [0, 1]);
    // The same numbers as before must not be mixed up with leftovers.
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &[0..6]));
    assert!(volunteer.downloads.is_empty());
    volunteer.settle(&world, order(2));
    result(&round, 1, &world.expected(&round, &[0..6]), &volunteer.heard()[0]);
}

#[test]
fn sums_of_before_a_reconnection_do_not_leak_into_the_next_session() {
    let world = World::new();
    let round = world.gradient_round(1);
    for steps in 0..12 {
        let mut volunteer = Volunteer::welcomed(&world, 2);
        volunteer.frame(&round.frame());
        volunteer.frame(&round.assign(1, &[0..4]));
        volunteer.download(&world);
        for _ in 0..steps {
            volunteer.compute(0);
        }
        volunteer.heard();
        volunteer.tell(HubInput::Disconnected);
        volunteer.wake();
        volunteer.tell(HubInput::Connected);
        volunteer.frame(&world.welcome_frame());
        volunteer.heard();
        volunteer.frame(&round.frame());
        volunteer.frame(&round.assign(1, &[0..4]));
        volunteer.settle(&world, order(steps));
        let heard = volunteer.heard();
        assert_eq!(heard.len(), 1);
        result(&round, 1, &world.expected(&round, &[0..4]), &heard[0]);
    }
}

#[test]
fn another_run_needs_other_shards_and_another_setup() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 1);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &[0..2]));
    volunteer.settle(&world, || 0);
    volunteer.heard();
    let mut other = World::new();
    other.welcome.run += 1;
    other.welcome.preprocessing.offset[0] = 3.0;
    volunteer.tell(HubInput::Disconnected);
    volunteer.wake();
    volunteer.tell(HubInput::Connected);
    volunteer.frame(&other.welcome_frame());
    let heard = volunteer.heard();
    let Heard::Message(FromVolunteer::Ready(ready)) = &heard[1] else { panic!("{heard:?}") };
    assert!(ready.training_shards.is_empty());
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &[0..2]));
    volunteer.settle(&other, || 0);
    let heard = volunteer.heard();
    let Heard::Result(header, vector) = &heard[0] else { panic!("{heard:?}") };
    assert_eq!(header.run, other.welcome.run);
    assert_eq!(vector, &other.expected(&round, &[0..2]).vector);
}

#[test]
fn a_round_that_is_replaced_midway_leaves_no_trace() {
    let world = World::new();
    let (first, second) = (world.gradient_round(1), world.gradient_round(2));
    for steps in 0..20 {
        let mut volunteer = Volunteer::welcomed(&world, 3);
        volunteer.frame(&first.frame());
        volunteer.frame(&first.assign(1, &[0..12]));
        for _ in 0..2 {
            volunteer.download(&world);
        }
        for step in 0..steps {
            volunteer.compute(step);
        }
        assert_eq!(volunteer.heard(), []);
        volunteer.frame(&second.frame());
        volunteer.frame(&first.assign(2, &[0..3]));
        volunteer.frame(&second.assign(3, &[2..9]));
        volunteer.settle(&world, order(steps as u64));
        let heard = volunteer.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        result(&second, 3, &world.expected(&second, &[2..9]), &heard[0]);
    }
}

#[test]
fn a_damaged_shard_is_fetched_afresh_and_given_up_in_the_end() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 1);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &[0..2]));
    for attempt in 1..=FETCH_ATTEMPTS_MAX {
        let download = volunteer.downloads.pop_front().unwrap();
        assert_eq!(download.fresh, attempt > 1);
        let mut bytes = world.shards[&download.name].clone();
        *bytes.last_mut().unwrap() ^= 1;
        volunteer.tell(HubInput::ShardArrived { fetch: download.fetch, bytes });
        if attempt < FETCH_ATTEMPTS_MAX {
            assert_eq!(volunteer.heard(), []);
            volunteer.wake();
        }
    }
    assert_eq!(volunteer.heard().iter().map(declined).collect::<Vec<_>>(), [Some(1)]);
    // The next attempt may succeed.
    volunteer.frame(&round.assign(2, &[0..2]));
    volunteer.settle(&world, || 0);
    result(&round, 2, &world.expected(&round, &[0..2]), &volunteer.heard()[0]);
}

#[test]
fn the_units_of_a_dead_compute_worker_are_done_by_the_others() {
    let world = World::new();
    let round = world.gradient_round(1);
    let units = [0..round.part(0).end];
    for steps in [0, 3, 7, 15, 30] {
        let mut volunteer = Volunteer::welcomed(&world, 3);
        volunteer.frame(&round.frame());
        volunteer.frame(&round.assign(1, &units));
        for step in 0..steps {
            if volunteer.downloads.is_empty() || step % 2 == 1 {
                volunteer.compute(step);
            } else {
                volunteer.download(&world);
            }
        }
        volunteer.tell(HubInput::ComputeFailed { compute: 2 });
        assert_eq!(volunteer.heard(), [Heard::Message(FromVolunteer::Cores(2))]);
        volunteer.settle(&world, order(steps as u64));
        result(&round, 1, &world.expected(&round, &units), &volunteer.heard()[0]);
        assert_eq!(volunteer.computes.len(), 2, "too little memory is not cured by trying again");
    }
}

#[test]
fn with_no_compute_worker_left_the_volunteer_stops() {
    let world = World::new();
    let mut volunteer = Volunteer::welcomed(&world, 1);
    volunteer.tell(HubInput::ComputeFailed { compute: 1 });
    assert_eq!(volunteer.hub.status().phase, HubPhase::Stopped);
    assert!(volunteer.closed);
}

#[test]
fn compute_workers_that_do_not_arrive_are_started_again() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 2);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &[0..12]));
    for compute in [1, 2] {
        volunteer.tell(HubInput::ComputeUnreached { compute });
    }
    assert_eq!(volunteer.hub.status().phase, HubPhase::Downloading);
    assert!(volunteer.computes.is_empty());
    // The line may break in the meantime, and the work is lost, but not the volunteer.
    assert_eq!(volunteer.heard(), []);
    volunteer.wake();
    assert_eq!(volunteer.computes.len(), 2);
    volunteer.settle(&world, || 0);
    result(&round, 1, &world.expected(&round, &[0..12]), &volunteer.heard()[0]);
}

/// None of the compute workers there are arrives, `attempts` times in a row.
fn never_arrive(volunteer: &mut Volunteer, attempts: u32) {
    for _ in 0..attempts {
        volunteer.frame(&FromCoordinator::Heartbeat.encode());
        for compute in volunteer.computes.keys().copied().collect::<Vec<_>>() {
            volunteer.tell(HubInput::ComputeUnreached { compute });
        }
        assert!(volunteer.computes.is_empty());
        volunteer.wake();
    }
}

#[test]
fn the_last_attempt_to_start_compute_workers_brings_all_of_them_back() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 4);
    never_arrive(&mut volunteer, START_ATTEMPTS_MAX - 1);
    assert_eq!(volunteer.computes.len(), 4);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &[0..12]));
    volunteer.settle(&world, || 0);
    result(&round, 1, &world.expected(&round, &[0..12]), &volunteer.heard()[0]);
    // What has worked may fail as often again.
    never_arrive(&mut volunteer, START_ATTEMPTS_MAX - 1);
    assert_eq!(volunteer.computes.len(), 4);
}

#[test]
fn compute_workers_that_never_arrive_end_the_volunteer_with_the_right_reason() {
    let world = World::new();
    let mut volunteer = Volunteer::welcomed(&world, 2);
    never_arrive(&mut volunteer, START_ATTEMPTS_MAX - 1);
    for compute in volunteer.computes.keys().copied().collect::<Vec<_>>() {
        volunteer.tell(HubInput::ComputeUnreached { compute });
    }
    let status = volunteer.hub.status();
    assert_eq!(status.phase, HubPhase::Stopped);
    assert!(status.sentence.contains("does not arrive"), "{}", status.sentence);
    assert!(volunteer.closed);
}

#[test]
fn a_core_that_never_arrives_beside_one_that_works_is_given_up() {
    let world = World::new();
    let mut volunteer = Volunteer::welcomed(&world, 2);
    let mut attempts = 0;
    for number in 1.. {
        let Some(compute) = volunteer.computes.keys().copied().find(|compute| *compute > 1) else { break };
        attempts += 1;
        volunteer.tell(HubInput::ComputeUnreached { compute });
        let round = world.gradient_round(number);
        volunteer.frame(&round.frame());
        volunteer.frame(&round.assign(number, &[0..4]));
        volunteer.settle(&world, || 0);
        volunteer.heard();
        if attempts < START_ATTEMPTS_MAX {
            volunteer.wake();
        }
    }
    assert_eq!((attempts, volunteer.computes.len()), (START_ATTEMPTS_MAX, 1));
    assert_ne!(volunteer.hub.status().phase, HubPhase::Stopped);
}

#[test]
fn cores_may_be_taken_back_and_lent_again() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 4);
    volunteer.frame(&round.frame());
    volunteer.frame(&round.assign(1, &[0..12]));
    volunteer.download(&world);
    volunteer.compute(0);
    volunteer.tell(HubInput::Cores(1));
    assert_eq!(volunteer.computes.len(), 1);
    volunteer.settle(&world, || 0);
    let heard = volunteer.heard();
    assert_eq!(heard[0], Heard::Message(FromVolunteer::Cores(1)));
    result(&round, 1, &world.expected(&round, &[0..12]), &heard[1]);
    volunteer.frame(&round.assign(2, &[0..2]));
    volunteer.tell(HubInput::Cores(0));
    let heard = volunteer.heard();
    assert_eq!(heard[0], Heard::Message(FromVolunteer::Cores(0)));
    assert_eq!(declined(&heard[1]), Some(2));
    assert_eq!(volunteer.hub.status().phase, HubPhase::Paused);
    volunteer.frame(&round.assign(3, &[0..2]));
    assert_eq!(declined(&volunteer.heard()[0]), Some(3));
    volunteer.tell(HubInput::Cores(2));
    volunteer.frame(&round.assign(4, &[0..2]));
    volunteer.settle(&world, || 0);
    result(&round, 4, &world.expected(&round, &[0..2]), &volunteer.heard()[1]);
}

#[test]
fn too_many_or_impossible_assignments_are_declined() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 1);
    volunteer.frame(&round.assign(1, &[0..1]));
    assert_eq!(volunteer.heard(), [], "of no round, so there is nothing to say");
    volunteer.frame(&round.frame());
    let across = round.part(0).end - 1..round.part(1).start + 1;
    volunteer.frame(&round.assign(2, &[across]));
    volunteer.frame(&round.assign(3, &[]));
    for number in 0..=ASSIGNMENTS_MAX as u64 {
        volunteer.frame(&round.assign(10 + number, &[0..1]));
    }
    let numbers: Vec<_> = volunteer.heard().iter().map(declined).collect();
    assert_eq!(numbers, [Some(2), Some(3), Some(10 + ASSIGNMENTS_MAX as u64)]);
}

#[test]
fn caches_of_any_size_only_cost_time() {
    let world = World::new();
    let round = world.gradient_round(1);
    let units = [round.part(0)];
    for limit in [0, 300, 600] {
        let settings = Settings { shard_cache_bytes: limit, compute_shard_bytes: limit, ..settings(3) };
        let mut volunteer = Volunteer::new(&world, settings);
        volunteer.tell(HubInput::Connected);
        volunteer.frame(&world.welcome_frame());
        volunteer.heard();
        volunteer.frame(&round.frame());
        for number in 0..2 {
            volunteer.frame(&round.assign(number, &units));
            volunteer.settle(&world, order(limit as u64));
            result(&round, number, &world.expected(&round, &units), &volunteer.heard()[0]);
        }
    }
}

#[test]
fn a_refusal_is_final_unless_it_is_for_lack_of_room() {
    let world = World::new();
    for reason in [Refusal::OtherVersion, Refusal::OtherArithmetic, Refusal::OtherBits, Refusal::Misbehaved] {
        let mut volunteer = Volunteer::new(&world, settings(1));
        volunteer.tell(HubInput::Connected);
        volunteer.frame(&FromCoordinator::Refused { reason, text: "The reason.".into() }.encode());
        let status = volunteer.hub.status();
        assert_eq!((status.phase, status.sentence.as_str()), (HubPhase::Stopped, "The reason."));
        assert!(volunteer.closed && volunteer.wake_ms.is_none_or(|wake| wake > volunteer.now_ms));
        volunteer.now_ms += 1_000_000;
        volunteer.tell(HubInput::Tick);
        assert_eq!(volunteer.connects, 1);
    }
    let mut volunteer = Volunteer::new(&world, settings(1));
    volunteer.tell(HubInput::Connected);
    let full = FromCoordinator::Refused { reason: Refusal::Full, text: "It is full.".into() };
    volunteer.frame(&full.encode());
    assert!(volunteer.closed && volunteer.hub.status().sentence.contains("It is full"));
    volunteer.wake();
    assert_eq!(volunteer.connects, 2);
}

#[test]
fn who_is_told_to_wait_waits_so_long_and_says_why() {
    let world = World::new();
    let mut volunteer = Volunteer::new(&world, settings(1));
    volunteer.tell(HubInput::Connected);
    let reason = Refusal::Wait { seconds: 40 };
    volunteer.frame(&FromCoordinator::Refused { reason, text: "Wait for 40 s.".into() }.encode());
    let refused_ms = volunteer.now_ms;
    let status = volunteer.hub.status();
    assert_eq!((status.phase, status.sentence.as_str()), (HubPhase::Connecting, "Wait for 40 s."));
    assert!(volunteer.closed);
    volunteer.now_ms += 39_000;
    volunteer.tell(HubInput::Disconnected);
    volunteer.tell(HubInput::Retry);
    assert_eq!(volunteer.connects, 1, "the page's wish changes nothing");
    volunteer.wake();
    assert_eq!((volunteer.connects, volunteer.now_ms), (2, refused_ms + 40_000));
}

#[test]
fn who_is_replaced_comes_back_under_another_name_that_it_finds_again() {
    let world = World::new();
    let tokens = || {
        let mut volunteer = Volunteer::new(&world, Settings { token: [7; 16], ..settings(1) });
        let mut tokens = Vec::new();
        for _ in 0..3 {
            volunteer.tell(HubInput::Connected);
            let Heard::Message(FromVolunteer::Hello(hello)) = volunteer.heard().remove(0) else {
                panic!("a hello comes first")
            };
            tokens.push(hello.token);
            let replaced =
                FromCoordinator::Refused { reason: Refusal::Replaced, text: "Another tab.".into() };
            volunteer.frame(&replaced.encode());
            assert!(volunteer.hub.status().sentence.contains("Another tab"));
            volunteer.wake();
        }
        tokens
    };
    let (once, again) = (tokens(), tokens());
    assert_eq!(once, again);
    assert_eq!(once[0], [7; 16]);
    assert!(once[1] != once[0] && once[2] != once[0] && once[1] != once[2]);
}

#[test]
fn the_end_of_the_training_is_the_end() {
    let world = World::new();
    let mut volunteer = Volunteer::welcomed(&world, 2);
    volunteer
        .frame(&FromCoordinator::Finished(Farewell { text: "Done.".into(), ..Farewell::default() }).encode());
    let status = volunteer.hub.status();
    assert_eq!((status.phase, status.sentence.as_str()), (HubPhase::Finished, "Done."));
    assert!(volunteer.closed && volunteer.computes.is_empty());
}

#[test]
fn a_coordinator_that_does_not_answer_or_talks_nonsense_is_tried_again_later() {
    let world = World::new();
    let mut volunteer = Volunteer::new(&world, settings(1));
    volunteer.tell(HubInput::Connected);
    volunteer.wake();
    assert!(volunteer.closed);
    volunteer.wake();
    assert_eq!(volunteer.connects, 2);
    let mut round = world.gradient_round(1);
    round.plan.scales.loss_exponent = 5000;
    for nonsense in [round.frame(), vec![9], Vec::new(), world.welcome_frame()] {
        let mut volunteer = Volunteer::welcomed(&world, 1);
        volunteer.frame(&nonsense);
        assert!(volunteer.closed);
        assert_eq!(volunteer.hub.status().phase, HubPhase::Connecting);
    }
}

#[test]
fn a_connection_that_is_lost_without_a_word_is_given_up_and_opened_again() {
    let world = World::new();
    let mut volunteer = Volunteer::welcomed(&world, 1);
    let heard_ms = volunteer.now_ms;
    while !volunteer.closed {
        volunteer.wake();
    }
    let silence_ms = volunteer.now_ms - heard_ms;
    assert!((SILENCE_MS_MAX..SILENCE_MS_MAX + 1000).contains(&silence_ms), "{silence_ms} ms");
    assert_eq!(volunteer.hub.status().phase, HubPhase::Connecting);
    volunteer.wake();
    assert_eq!(volunteer.connects, 2);
}

#[test]
fn a_round_that_is_cut_short_is_over_and_the_next_one_counts() {
    let world = World::new();
    let mut volunteer = Volunteer::welcomed(&world, 1);
    let (first, second) = (world.gradient_round(1), world.gradient_round(2));
    let frame = first.frame();
    for length in [frame.len() - 1, frame.len() - 4] {
        volunteer.frame(&frame[..length]);
        volunteer.frame(&first.assign(1, &[0..1]));
        assert!(!volunteer.closed && volunteer.hub.status().phase == HubPhase::Waiting);
    }
    volunteer.frame(&second.frame());
    volunteer.frame(&second.assign(2, &[0..1]));
    assert_ne!(volunteer.hub.status().phase, HubPhase::Waiting);
}

#[test]
fn whatever_the_coordinator_says_keeps_the_connection() {
    let world = World::new();
    let round = world.gradient_round(1);
    let mut volunteer = Volunteer::welcomed(&world, 1);
    for frame in [FromCoordinator::Heartbeat.encode(), round.frame(), round.assign(1, &[0..1])] {
        // The clock of a machine that slept runs on; the time of the last frame counts.
        volunteer.now_ms += SILENCE_MS_MAX - 1;
        volunteer.frame(&frame);
        volunteer.tell(HubInput::Tick);
        assert!(!volunteer.closed);
    }
    volunteer.now_ms += 2 * SILENCE_MS_MAX;
    volunteer.tell(HubInput::Tick);
    assert!(volunteer.closed, "silence counts while there is work to do as well");
}

#[test]
fn a_network_that_cannot_be_is_said_so() {
    let mut world = World::new();
    world.welcome.network = "{}}".into();
    let mut volunteer = Volunteer::new(&world, settings(1));
    volunteer.tell(HubInput::Connected);
    volunteer.frame(&world.welcome_frame());
    let status = volunteer.hub.status();
    assert_eq!(status.phase, HubPhase::Stopped);
    assert!(status.sentence.contains("network"), "{}", status.sentence);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A faulty coordinator: frames with changed bytes among good ones.
    #[test]
    fn no_frame_makes_a_volunteer_panic(
        changes in prop::collection::vec((0usize..6, 0usize..4000, any::<u8>(), 0usize..9), 1..40),
    ) {
        let world = World::new();
        let rounds = [world.gradient_round(1), world.losses_round(2, &[0.5, 2.0])];
        let mut volunteer = Volunteer::welcomed(&world, 2);
        for (kind, place, value, steps) in changes {
            let round = &rounds[kind % 2];
            let mut frame = match kind {
                0 | 1 => round.frame(),
                2 | 3 => round.assign(place as u64, &[0..5, 6..8]),
                4 => world.welcome_frame(),
                _ => round.assign(place as u64, &[round.part(0)]),
            };
            if value % 2 == 0 {
                let place = place % frame.len();
                frame[place] = value;
            }
            volunteer.frame(&frame);
            for step in 0..steps {
                volunteer.compute(step);
                if !volunteer.downloads.is_empty() {
                    volunteer.download(&world);
                }
            }
            if volunteer.hub.status().phase == HubPhase::Connecting {
                volunteer.wake();
                volunteer.tell(HubInput::Connected);
                volunteer.frame(&world.welcome_frame());
            }
            volunteer.heard();
        }
    }
}

#[test]
fn no_more_cores_are_used_than_there_is_memory_for() {
    let world = World::new();
    let footprint = world.footprint();
    let memory = |cores: u64| footprint.hub_bytes + cores * footprint.core_bytes;
    for (memory_bytes, cores) in [(memory(2), 2), (memory(3) - 1, 2), (memory(3), 3), (u64::MAX, 4)] {
        let settings = Settings { memory_bytes, ..settings(4) };
        let mut volunteer = Volunteer::new(&world, settings);
        volunteer.tell(HubInput::Connected);
        volunteer.frame(&world.welcome_frame());
        assert_eq!(volunteer.computes.len(), cores);
        let told = volunteer.heard().contains(&Heard::Message(FromVolunteer::Cores(cores as u16)));
        assert_eq!(told, cores < 4, "the coordinator learns of cores that the hello promised in vain");
        let limit = volunteer.hub.status().limit;
        assert_eq!(limit.is_some(), cores < 4);
        assert!(limit.is_none_or(|limit| limit.starts_with(&format!("{cores} of 4 cores: each needs"))));
        // The hub remembers the chosen number and uses as many cores as fit.
        volunteer.tell(HubInput::Cores(1));
        assert_eq!((volunteer.computes.len(), volunteer.hub.status().limit), (1, None));
        volunteer.tell(HubInput::Cores(4));
        assert_eq!(volunteer.computes.len(), cores);
    }
}

#[test]
fn a_network_too_large_for_one_core_is_declined_with_words() {
    let world = World::new();
    let footprint = world.footprint();
    let memory_bytes = footprint.hub_bytes + footprint.core_bytes - 1;
    let mut volunteer = Volunteer::new(&world, Settings { memory_bytes, ..settings(4) });
    volunteer.tell(HubInput::Connected);
    volunteer.frame(&world.welcome_frame());
    let status = volunteer.hub.status();
    assert_eq!(status.phase, HubPhase::Stopped);
    assert!(status.sentence.contains("too large for this device"), "{}", status.sentence);
    assert!(volunteer.closed && volunteer.computes.is_empty());
}

#[test]
fn a_network_beyond_what_a_program_can_address_is_declined_with_words() {
    let world = World::new();
    let footprint = world.footprint();
    let address_space_bytes = footprint.hub_bytes.max(footprint.core_bytes) - 1;
    let mut volunteer = Volunteer::new(&world, Settings { address_space_bytes, ..settings(4) });
    volunteer.tell(HubInput::Connected);
    volunteer.frame(&world.welcome_frame());
    let status = volunteer.hub.status();
    assert_eq!(status.phase, HubPhase::Stopped);
    assert!(status.sentence.contains("too large for this kind of worker"), "{}", status.sentence);
    assert!(volunteer.closed && volunteer.computes.is_empty());
}

/// The memory that a volunteer needs follows from the welcome, so no round may exceed it.
#[test]
fn local_steps_beyond_what_was_announced_do_not_suit() {
    let (replicas, steps) = (4, 10);
    let mut world = World::new();
    world.welcome.local = Some(LocalBounds { replicas, steps });
    for (asked, fits) in [((4, 10), true), ((5, 9), true), ((3, 10), false), ((4, 11), false)] {
        let mut volunteer = Volunteer::new(&world, settings(1));
        volunteer.tell(HubInput::Connected);
        volunteer.frame(&world.welcome_frame());
        volunteer.frame(&world.local_round(1, asked.0, asked.1).frame());
        assert_eq!(volunteer.hub.status().phase == HubPhase::Connecting, !fits, "{asked:?}");
    }
}

#[test]
fn a_minibatch_beyond_all_bounds_is_declined_with_words() {
    let mut world = World::new();
    world.welcome.network = r#"{"layers": [{"kind": "batch-norm"}]}"#.into();
    world.welcome.minibatch = u32::MAX;
    let mut volunteer = Volunteer::new(&world, settings(1));
    volunteer.tell(HubInput::Connected);
    volunteer.frame(&world.welcome_frame());
    let status = volunteer.hub.status();
    assert_eq!(status.phase, HubPhase::Stopped);
    assert!(status.sentence.contains("use a smaller minibatch"), "{}", status.sentence);
}
