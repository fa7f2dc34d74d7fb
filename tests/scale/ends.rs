//! The end of a training, and its beginning: whoever dies then, and whatever is away then, nothing is done by hand.

use support::program::{Ran, shoal};
use tempfile::TempDir;

use crate::cast::{Cast, ENDLESS, FEW, LEADS, MANY, Place, alone, reference};

/// The store keeps a leader at that point of the end, where it is killed.
fn is_replaced_when_it_is_killed_before_it_writes(what: &str) {
    let mut cast = Cast::begin(Place::Bucket, FEW);
    cast.bucket().refuse(Some(what));
    cast.is_refused();
    assert!(cast.are_all_there(), "nobody has left while the results are not in the store");
    assert_eq!(cast.leader(), 0);
    cast.kill_leader();
    cast.bucket().refuse(None);
    assert_eq!(cast.ends_without(0), reference(FEW), "{what}");
}

#[test]
fn a_leader_that_is_killed_between_its_last_round_and_the_results_is_replaced() {
    is_replaced_when_it_is_killed_before_it_writes("PUT bucket/runs/one/results/");
}

#[test]
fn a_leader_that_is_killed_between_the_results_and_the_end_is_replaced() {
    is_replaced_when_it_is_killed_before_it_writes("PUT bucket/runs/one/final");
}

#[test]
fn the_only_standby_waits_for_a_store_that_is_away_when_it_has_taken_over() {
    let mut cast = Cast::begin(Place::Bucket, MANY);
    cast.reaches(2);
    cast.kill_leader();
    // It wins the term, and cannot read the state.
    cast.bucket().refuse(Some("checkpoints"));
    cast.says(1, LEADS);
    cast.says(1, "waiting for the store");
    cast.bucket().refuse(None);
    assert_eq!(cast.ends_without(0), reference(MANY));
}

#[test]
fn a_training_begins_when_the_store_and_nats_are_there_and_not_before() {
    let mut cast = Cast::begin_without_store_and_nats(FEW);
    cast.says(0, "waiting for the store");
    cast.bucket().be_out_of_order(false);
    cast.says(0, "trying until it answers");
    assert!(cast.are_all_there());
    cast.start_nats();
    assert_eq!(cast.ends(), reference(FEW));
}

#[test]
fn a_stop_on_the_dashboard_ends_the_training_for_all() {
    let mut cast = Cast::begin(Place::Folder, ENDLESS);
    cast.reaches(2);
    cast.operator("stop");
    cast.keeps("final", true);
    // The standby ends with the model that the leader has saved.
    let (leaders, standbys) = (cast.path_of_model(0), cast.path_of_model(1));
    let model = cast.ends_for_all();
    assert_eq!(model, std::fs::read(leaders).unwrap());
    assert_eq!(model, std::fs::read(standbys).unwrap());
}

/// Gateways hear it from the leader: here they cannot learn it from the store.
#[test]
fn a_stop_on_the_dashboard_holds_for_all_when_the_leader_is_interrupted_before_the_round_is_over() {
    let mut cast = Cast::begin(Place::Bucket, ENDLESS);
    cast.reaches(2);
    cast.bucket().refuse(Some("HEAD bucket/runs/one/final"));
    cast.freeze_volunteers();
    cast.operator("stop");
    cast.interrupt(0);
    cast.keeps("final", true);
    cast.thaw_volunteers();
    cast.gateways_end();
    cast.bucket().refuse(None);
    cast.ends();
}

#[test]
fn a_pause_holds_for_whoever_takes_over() {
    let mut cast = Cast::begin(Place::Folder, MANY);
    cast.reaches(2);
    cast.operator("pause");
    cast.keeps("paused", true);
    cast.kill_leader();
    cast.says(1, LEADS);
    cast.shows("The operator has paused the training");
    cast.operator("continue");
    cast.keeps("paused", false);
    assert_eq!(cast.ends_without(0), reference(MANY));
}

/// Its time is up when it comes back: it ends with the weights that it had, and another one leads.
#[test]
fn a_leader_whose_time_is_up_when_it_comes_back_too_late_ends_nothing() {
    let mut cast = Cast::begin_for_seconds(10);
    cast.reaches(1);
    cast.freeze_leader_until_replaced(10_700);
    cast.keeps("final", true);
    let directories = [cast.path_of_model(0), cast.path_of_model(1)];
    let model = cast.ends_for_all();
    for path in directories {
        assert_eq!(std::fs::read(path).unwrap(), model, "there is one end");
    }
}

#[test]
fn a_training_that_has_ended_in_a_store_goes_on_with_a_larger_limit() {
    let folder = TempDir::new().unwrap();
    let (run, store) = (folder.path().join("run"), folder.path().join("store"));
    Ran::of(&mut alone(&run, &store, FEW / 2)).succeeded();
    let resume = |limit: &[&str]| {
        let listen = ["resume", run.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        Ran::of(&mut shoal([&listen[..], limit].concat())).succeeded()
    };
    // Whoever is started again, as a service is, begins nothing.
    let elsewhere = resume(&[]);
    assert!(elsewhere.stderr.contains("ended in another process"), "{}", elsewhere.stderr);
    resume(&["--iterations", &FEW.to_string()]);
    assert_eq!(std::fs::read(run.join("model.safetensors")).unwrap(), reference(FEW));
    assert!(store.join("final").exists() && store.join("final-1").exists());
}

#[test]
fn a_process_without_a_bus_does_not_take_a_training_from_those_that_have_one() {
    let mut cast = Cast::begin(Place::Folder, ENDLESS);
    cast.reaches(2);
    let out = cast.place().with_file_name("three");
    let store = cast.place().to_str().unwrap();
    let refused =
        Ran::of(&mut shoal(["resume", store, "--out", out.to_str().unwrap(), "--listen", "127.0.0.1:0"]));
    refused.failed(1, &["another process leads", "--link"]);
    assert_eq!(cast.leader(), 0);
    cast.goes_on();
}
