//! Volunteers from hello to goodbye.

use std::time::Duration;

use coordinator::driver::exchange::{FromSession, OUTBOX_MAX, ToSession};
use engine::decoder::Message;
use model::Arithmetic;
use protocol::frame::encode_chunks;
use protocol::limits::FRAGMENT_BYTES;
use protocol::message::{Farewell, FromCoordinator, FromVolunteer, Hello, Ready, Refusal, ResultHeader};
use protocol::pack::pack;

use crate::clock::in_time;
use crate::harness::{
    CONTINUATION, Heard, KNOWN_ANSWER, PARAMETERS, RUN, RawVolunteer, TestServer, assignment, hello, result,
};

/// Weights of a round that is larger than all the operating system's buffers between the two together.
const LARGE_ROUND: usize = 8_000_000;

#[tokio::test]
async fn a_volunteer_is_welcomed_and_known_to_the_driver() {
    let mut server = TestServer::start().await;
    let mut volunteer = server.connect().await;
    let welcome = volunteer.introduce().await;
    let (session, joined) = server.joined().await;
    assert_eq!((welcome.run, welcome.session), (RUN, session));
    assert_eq!(welcome.sets.training, server.training);
    assert_eq!((joined.cores, joined.local, joined.fused_capable), (3, false, true));
    assert_eq!(joined.training_shards, [0]);
    let (_other, other_session, _) = server.volunteer().await;
    assert_ne!(session, other_session);
}

#[tokio::test]
async fn who_cannot_help_is_told_why_in_words() {
    let mut server = TestServer::start().await;
    for (hello, expected) in [
        (Hello { protocol: 99, ..hello() }, Refusal::OtherVersion),
        (Hello { arithmetic: Arithmetic::Fused, ..hello() }, Refusal::OtherArithmetic),
        (Hello { known_answer: KNOWN_ANSWER.map(|byte| byte + 1), ..hello() }, Refusal::OtherBits),
    ] {
        let mut volunteer = server.connect().await;
        volunteer.say(FromVolunteer::Hello(hello)).await;
        let (reason, text) = volunteer.refused().await;
        assert_eq!(reason, expected);
        assert!(text.ends_with('.'), "{text}");
    }
    assert!(server.is_quiet(), "the driver never hears of them");
}

#[tokio::test]
async fn when_all_places_are_taken_the_next_comes_later() {
    let mut server = TestServer::start_with(|config| config.volunteers_max = 1).await;
    let (first, session, _joined) = server.volunteer().await;
    let mut second = server.connect().await;
    second.say(FromVolunteer::Hello(hello())).await;
    assert_eq!(second.refused().await.0, Refusal::Full);
    drop(first);
    server.left(session).await;
    server.volunteer().await;
}

#[tokio::test]
async fn the_round_comes_before_its_assignments_and_only_once() {
    let mut server = TestServer::start().await;
    server.open_round(1, 10);
    let (mut volunteer, _, joined) = server.volunteer().await;
    joined.outbox.send(ToSession::Assign(assignment(5, 1))).await.unwrap();
    joined.outbox.send(ToSession::Assign(assignment(6, 1))).await.unwrap();
    assert_eq!(volunteer.hear().await, Heard::Round(1));
    assert_eq!(volunteer.hear().await, Heard::Message(FromCoordinator::Assign(assignment(5, 1))));
    assert_eq!(volunteer.hear().await, Heard::Message(FromCoordinator::Assign(assignment(6, 1))));
    // A round is sent as soon as it is open, not with its first assignment.
    server.open_round(2, 10);
    assert_eq!(volunteer.hear().await, Heard::Round(2));
    joined.outbox.send(ToSession::Assign(assignment(7, 1))).await.unwrap();
    joined.outbox.send(ToSession::Assign(assignment(8, 2))).await.unwrap();
    let heard = volunteer.hear().await;
    assert_eq!(
        heard,
        Heard::Message(FromCoordinator::Assign(assignment(8, 2))),
        "7 is of a round that is over"
    );
}

#[tokio::test]
async fn a_large_round_travels_in_small_fragments() {
    let mut server = TestServer::start().await;
    let mut volunteer = RawVolunteer::connect(server.address).await;
    volunteer.introduce().await;
    let (_, _joined) = server.joined().await;
    server.open_round(1, 5 * FRAGMENT_BYTES);
    let (message, sizes) = volunteer.message().await;
    assert_eq!(message, server.round_frame());
    assert!(sizes.iter().all(|size| *size <= FRAGMENT_BYTES), "{sizes:?}");
    assert!(sizes[..sizes.len() - 1].iter().all(|size| *size == FRAGMENT_BYTES), "no more than needed");
}

#[tokio::test]
async fn a_slow_reader_skips_to_the_newest_round() {
    let mut server = TestServer::start().await;
    let mut volunteer = RawVolunteer::connect(server.address).await;
    volunteer.introduce().await;
    let (_, joined) = server.joined().await;
    server.open_round(1, LARGE_ROUND);
    let first = server.round_frame();
    let mut begun = volunteer.frame().await.payload;
    // However many rounds it misses, their assignments do not fill its outbox.
    let last = 3 * OUTBOX_MAX as u64;
    for round in 2..=last {
        server.open_round(round, 10);
        in_time(joined.outbox.send(ToSession::Assign(assignment(round, round)))).await.unwrap();
    }
    // Nobody needs the rest of the round that was begun, so its frame ends early.
    loop {
        let frame = volunteer.frame().await;
        begun.extend(frame.payload);
        if frame.is_final && frame.opcode == CONTINUATION {
            break;
        }
    }
    assert!(begun.len() < first.len() && first.starts_with(&begun));
    assert_eq!(volunteer.message().await.0, server.round_frame(), "the last round");
    let assigned = volunteer.message().await.0;
    assert_eq!(assigned, FromCoordinator::Assign(assignment(last, last)).encode());
}

#[tokio::test]
async fn a_session_that_the_driver_lets_go_of_ends_whatever_is_on_its_way() {
    let mut server =
        TestServer::start_with(|config| config.deadlines.stall = Duration::from_secs(3600)).await;
    let mut volunteer = RawVolunteer::connect(server.address).await;
    volunteer.introduce().await;
    let (session, joined) = server.joined().await;
    server.open_round(1, LARGE_ROUND);
    volunteer.frame().await;
    for number in 0..OUTBOX_MAX as u64 {
        joined.outbox.send(ToSession::Assign(assignment(number, 1))).await.unwrap();
    }
    drop(joined);
    server.left(session).await;
}

#[tokio::test]
async fn a_result_reaches_the_driver_unpacked() {
    let mut server = TestServer::start().await;
    server.open_round(1, 10);
    let (mut volunteer, session, joined) = server.volunteer().await;
    joined.outbox.send(ToSession::Assign(assignment(5, 1))).await.unwrap();
    assert_eq!(volunteer.hear().await, Heard::Round(1));
    assert_eq!(volunteer.hear().await, Heard::Message(FromCoordinator::Assign(assignment(5, 1))));
    // Full width: the largest result there is.
    let vector: Vec<i64> = (0..PARAMETERS as i64).map(|index| i64::MAX - index).collect();
    let packed = pack(&vector);
    let header = ResultHeader { losses: vec![3], ..result(5, 1, packed.len()) };
    volunteer.say(FromVolunteer::Result(header.clone())).await;
    for chunk in encode_chunks(&packed) {
        volunteer.send(chunk).await;
    }
    volunteer.say(FromVolunteer::Cores(0)).await;
    match server.event().await {
        (from, FromSession::Said(Message::Result { header: found, vector: Some(unpacked) })) => {
            assert_eq!((from, found), (session, header));
            assert!(unpacked == vector);
        }
        other => panic!("expected a result, found {other:?}"),
    }
    assert!(matches!(server.event().await, (from, FromSession::Said(Message::Cores(0))) if from == session));
}

#[tokio::test]
async fn whoever_leaves_has_left_once() {
    let mut server = TestServer::start().await;
    let (mut polite, session, _joined) = server.volunteer().await;
    polite.socket.close(None).await.unwrap();
    server.left(session).await;
    let (rude, session, _joined) = server.volunteer().await;
    drop(rude);
    server.left(session).await;
    // Before it is ready a volunteer is nobody.
    let mut brief = server.connect().await;
    brief.say(FromVolunteer::Hello(hello())).await;
    assert!(matches!(brief.hear().await, Heard::Message(FromCoordinator::Welcome(_))));
    drop(brief);
    server.volunteer().await;
    assert!(server.is_quiet());
}

#[tokio::test]
async fn the_drivers_last_word_is_passed_on() {
    let mut server = TestServer::start().await;
    let (mut volunteer, session, joined) = server.volunteer().await;
    let text = String::from("The target is reached.");
    joined
        .outbox
        .send(ToSession::Finish(Farewell { text: text.clone(), ..Farewell::default() }.into()))
        .await
        .unwrap();
    assert_eq!(
        volunteer.hear().await,
        Heard::Message(FromCoordinator::Finished(Farewell { text, ..Farewell::default() }))
    );
    assert_eq!(volunteer.hear().await, Heard::Closed);
    server.left(session).await;
    let (mut volunteer, session, joined) = server.volunteer().await;
    joined.outbox.send(ToSession::Dismiss { text: "Its sums are wrong.".into() }).await.unwrap();
    assert_eq!(volunteer.refused().await, (Refusal::Misbehaved, "Its sums are wrong.".into()));
    server.left(session).await;
    // Nor do assignments that are out of date keep it, or that nothing follows.
    let (mut volunteer, session, joined) = server.volunteer().await;
    for number in 0..10 {
        joined.outbox.send(ToSession::Assign(assignment(number, 7))).await.unwrap();
    }
    let text = String::from("That was all.");
    joined
        .outbox
        .send(ToSession::Finish(Farewell { text: text.clone(), ..Farewell::default() }.into()))
        .await
        .unwrap();
    drop(joined);
    assert_eq!(
        volunteer.hear().await,
        Heard::Message(FromCoordinator::Finished(Farewell { text, ..Farewell::default() }))
    );
    assert_eq!(volunteer.hear().await, Heard::Closed);
    server.left(session).await;
    // A driver that gives up a session has nothing to say.
    let (mut volunteer, session, joined) = server.volunteer().await;
    drop(joined);
    assert_eq!(volunteer.hear().await, Heard::Closed);
    server.left(session).await;
}

#[tokio::test]
async fn a_shutdown_ends_everything_and_passes_on_the_last_word() {
    let mut server = TestServer::start().await;
    let (mut told, _, joined) = server.volunteer().await;
    let (mut untold, _, _kept) = server.volunteer().await;
    let mut stranger = server.connect().await;
    let idle = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let text = String::from("The training is over.");
    joined
        .outbox
        .send(ToSession::Finish(Farewell { text: text.clone(), ..Farewell::default() }.into()))
        .await
        .unwrap();
    server.stop();
    assert_eq!(
        told.hear().await,
        Heard::Message(FromCoordinator::Finished(Farewell { text, ..Farewell::default() }))
    );
    assert_eq!(told.hear().await, Heard::Closed);
    assert_eq!(untold.hear().await, Heard::Closed);
    assert_eq!(stranger.hear().await, Heard::Closed);
    let address = server.address;
    server.stopped().await;
    drop(idle);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_reconnecting_volunteer_may_hold_shards_already() {
    let mut server = TestServer::start().await;
    let mut volunteer = server.connect().await;
    volunteer.say(FromVolunteer::Hello(hello())).await;
    assert!(matches!(volunteer.hear().await, Heard::Message(FromCoordinator::Welcome(_))));
    let shards = server.training.shards.len() as u32;
    volunteer.say(FromVolunteer::Ready(Ready { training_shards: vec![shards] })).await;
    assert_eq!(volunteer.refused().await.0, Refusal::Misbehaved, "a shard that does not exist");
    assert!(server.is_quiet());
}
