//! Clients that are rude, silent or slow. After each of them the server serves others as before.

use std::time::Duration;

use bytes::Bytes;
use coordinator::driver::exchange::{FromSession, ToSession};
use engine::decoder;
use futures_util::{SinkExt, StreamExt};
use protocol::frame::encode_chunks;
use protocol::limits::UPWARD_MESSAGE_BYTES_MAX;
use protocol::message::{FromCoordinator, FromVolunteer, Ready, Refusal, Unfit};
use protocol::pack::{pack, packed_bytes_max};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::clock::{Clock, in_time};
use crate::harness::{
    BINARY, CONTINUATION, Heard, PARAMETERS, PING, RawVolunteer, TestServer, assignment, hello, result,
};
use crate::http::ask;

/// A deadline that passes when the test lets it.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the server asks for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn rubbish_before_the_hello_is_refused() {
    let mut server = TestServer::start().await;
    for rubbish in [
        Message::Binary(vec![].into()),
        Message::Binary(vec![1, 0].into()),
        Message::Binary(vec![0xff; 5000].into()),
        Message::Binary(FromVolunteer::Cores(1).encode().into()),
        Message::Text("hello".into()),
    ] {
        let mut volunteer = server.connect().await;
        volunteer.socket.send(rubbish).await.unwrap();
        assert_eq!(volunteer.refused().await.0, Refusal::Misbehaved);
    }
    server.volunteer().await;
}

#[tokio::test]
async fn pings_instead_of_the_hello_are_refused() {
    let mut server = TestServer::start().await;
    let mut volunteer = server.connect().await;
    let pings = futures_util::stream::iter((0..100).map(|_| Ok(Message::Ping(Bytes::new()))));
    // It may be over before all are sent.
    let _ = volunteer.socket.send_all(&mut { pings }).await;
    assert_eq!(volunteer.refused().await.0, Refusal::Misbehaved);
    assert!(server.is_quiet());
    server.volunteer().await;
}

#[tokio::test]
async fn rubbish_instead_of_ready_is_refused() {
    let mut server = TestServer::start().await;
    let mut volunteer = server.connect().await;
    volunteer.say(FromVolunteer::Hello(hello())).await;
    volunteer.hear().await;
    volunteer.say(FromVolunteer::Hello(hello())).await;
    assert_eq!(volunteer.refused().await.0, Refusal::Misbehaved);
    assert!(server.is_quiet());
    server.volunteer().await;
}

#[tokio::test]
async fn rubbish_during_work_ends_the_session_and_nothing_else() {
    let mut server = TestServer::start().await;
    let (mut bystander, bystander_session, _kept) = server.volunteer().await;
    let ready = FromVolunteer::Ready(Ready { training_shards: vec![] }).encode();
    for rubbish in [
        Message::Binary(vec![9].into()),
        Message::Binary(vec![3, 1, 2, 3].into()),
        Message::Binary(ready.into()),
        Message::Binary(vec![1; UPWARD_MESSAGE_BYTES_MAX + 1].into()),
        Message::Text("work".into()),
    ] {
        let (mut volunteer, session, _joined) = server.volunteer().await;
        volunteer.socket.send(rubbish).await.unwrap();
        let (reason, text) = volunteer.refused().await;
        assert_eq!(reason, Refusal::Misbehaved);
        assert!(text.ends_with('.'), "{text}");
        let offense = server.dismissed(session).await;
        assert!(text.contains(&offense), "{offense}: {text}");
    }
    bystander.say(FromVolunteer::Cores(2)).await;
    let (session, event) = server.event().await;
    assert!(session == bystander_session && matches!(event, FromSession::Said(decoder::Message::Cores(2))));
}

#[tokio::test]
async fn bytes_that_are_no_websocket_frames_end_the_session() {
    let mut server = TestServer::start().await;
    let mut volunteer = RawVolunteer::connect(server.address).await;
    volunteer.introduce().await;
    let (session, _joined) = server.joined().await;
    volunteer.send_raw(&[0xff; 64]).await;
    server.dismissed(session).await;
    server.volunteer().await;
}

#[tokio::test]
async fn a_flood_of_anything_is_stopped_and_the_driver_hears_little_of_it() {
    let mut server = TestServer::start().await;
    let decline = FromVolunteer::Decline { assignment: 99, reason: "no".into() };
    let unfit = FromVolunteer::Unfit(Unfit { assignment: 99, round: 1, unit: 0 });
    let drops: [(Message, std::ops::Range<u64>); 5] = [
        // Of the cores it hears the first number at once, and no other comes after it.
        (Message::Binary(FromVolunteer::Cores(1).encode().into()), 1..2),
        (Message::Binary(decline.encode().into()), 0..1),
        (Message::Binary(unfit.encode().into()), 0..1),
        (Message::Ping(Bytes::new()), 0..1),
        (Message::Pong(Bytes::from_static(&[1; 100])), 0..1),
    ];
    for (drop, heard) in drops {
        let (volunteer, session, _joined) = server.volunteer().await;
        let (mut sink, mut stream) = volunteer.socket.split();
        let flooding = drop.clone();
        let flood = tokio::spawn(async move { while sink.send(flooding.clone()).await.is_ok() {} });
        let mut messages = 0u64;
        loop {
            match server.event().await {
                (_, FromSession::Said(_)) => messages += 1,
                (_, FromSession::Misbehaved { offense }) => {
                    assert!(offense.contains("more than"), "{offense}")
                }
                (from, FromSession::Left) => break assert_eq!(from, session),
                other => panic!("{other:?}"),
            }
        }
        assert!(heard.contains(&messages), "{drop:?}: the driver hears of it {messages} times");
        while let Some(Ok(_)) = in_time(stream.next()).await {}
        in_time(flood).await.unwrap();
    }
    server.volunteer().await;
}

#[tokio::test]
async fn a_message_in_pieces_without_end_is_refused() {
    let mut server = TestServer::start().await;
    let mut volunteer = RawVolunteer::connect(server.address).await;
    volunteer.introduce().await;
    let (session, _joined) = server.joined().await;
    // A piece without bytes and without a mask that changes anything, of a message that goes on.
    let piece = |opcode: u8| [opcode, 0x80, 0, 0, 0, 0];
    volunteer.send_raw(&piece(BINARY)).await;
    let pieces = piece(CONTINUATION).repeat(4 * UPWARD_MESSAGE_BYTES_MAX / piece(CONTINUATION).len() + 1);
    volunteer.send_raw(&pieces).await;
    assert!(server.dismissed(session).await.contains("too many pieces"));
    server.volunteer().await;
}

#[tokio::test]
async fn strangers_that_stay_silent_are_cut_off() {
    let clock = Clock::stop();
    let mut server = TestServer::start_with(|config| config.deadlines.handshake = DEADLINE).await;
    // Not even a request.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut rest = Vec::new();
    clock.pass_until(DEADLINE, stream.read_to_end(&mut rest)).await.unwrap();
    // A channel without a hello.
    let mut volunteer = server.connect().await;
    assert_eq!(clock.pass_until(DEADLINE, volunteer.hear()).await, Heard::Closed);
    // A hello without an answer to the welcome.
    let mut volunteer = server.connect().await;
    volunteer.say(FromVolunteer::Hello(hello())).await;
    assert!(matches!(volunteer.hear().await, Heard::Message(FromCoordinator::Welcome(_))));
    assert_eq!(clock.pass_until(DEADLINE, volunteer.hear()).await, Heard::Closed);
    assert!(server.is_quiet(), "the driver never hears of them");
}

#[tokio::test]
async fn a_volunteer_that_is_not_heard_from_has_left() {
    let clock = Clock::stop();
    let mut server = TestServer::start_with(|config| config.deadlines.silence = DEADLINE).await;
    let mut volunteer = RawVolunteer::connect(server.address).await;
    volunteer.introduce().await;
    let (session, _joined) = server.joined().await;
    clock.pass_until(DEADLINE, server.left(session)).await;
}

#[tokio::test]
async fn a_quiet_volunteer_that_answers_pings_stays() {
    let clock = Clock::stop();
    let mut server = TestServer::start_with(|config| {
        config.deadlines.heartbeat = HEARTBEAT;
        config.deadlines.silence = DEADLINE;
    })
    .await;
    let (mut volunteer, session, _joined) = server.volunteer().await;
    let heartbeat = Message::Binary(FromCoordinator::Heartbeat.encode().into());
    // As many pings as make several times what a silent one is allowed.
    for ping in 0..50 {
        clock.pass(HEARTBEAT).await;
        let heard = in_time(volunteer.socket.next()).await.unwrap().unwrap();
        assert!(matches!(heard, Message::Ping(_)), "{heard:?}");
        // What a page sees is a heartbeat; before the first, the welcome was sign of life enough.
        if ping > 0 {
            assert_eq!(in_time(volunteer.socket.next()).await.unwrap().unwrap(), heartbeat);
        }
    }
    volunteer.say(FromVolunteer::Cores(1)).await;
    assert!(
        matches!(server.event().await, (from, FromSession::Said(decoder::Message::Cores(1))) if from == session)
    );
}

#[tokio::test]
async fn frames_that_vanish_on_the_way_are_no_sign_of_life() {
    let clock = Clock::stop();
    let mut server = TestServer::start_with(|config| {
        config.deadlines.heartbeat = HEARTBEAT;
        config.deadlines.silence = DEADLINE;
    })
    .await;
    // It is frozen: the operating system accepts heartbeats, small rounds and assignments for it.
    let mut volunteer = RawVolunteer::connect(server.address).await;
    volunteer.introduce().await;
    let (session, joined) = server.joined().await;
    let mut round = 0;
    let left = async {
        loop {
            tokio::select! {
                biased;
                () = server.left(session) => return,
                () = clock.pass(HEARTBEAT) => {}
            }
        }
    };
    let small_talk = async {
        loop {
            round += 1;
            let _ = joined.outbox.try_send(ToSession::Assign(assignment(round, 1)));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = left => {}
        () = small_talk => {}
    }
}

#[tokio::test]
async fn a_result_that_nobody_asked_for_is_refused_at_its_header() {
    let mut server = TestServer::start().await;
    server.open_round(1, 10);
    for unasked in [result(5, 1, PARAMETERS), result(6, 2, PARAMETERS), result(6, 1, 0)] {
        let (mut volunteer, session, joined) = server.volunteer().await;
        joined.outbox.send(ToSession::Assign(assignment(6, 1))).await.unwrap();
        volunteer.assigned().await;
        if unasked.vector_bytes == 0 {
            // The second answer to the same assignment.
            volunteer.say(FromVolunteer::Result(unasked.clone())).await;
            assert!(matches!(server.event().await, (from, FromSession::Said(_)) if from == session));
        }
        volunteer.say(FromVolunteer::Result(unasked)).await;
        let (reason, text) = volunteer.refused().await;
        assert_eq!(reason, Refusal::Misbehaved);
        assert!(text.contains("was not asked for"), "{text}");
        server.dismissed(session).await;
    }
}

#[tokio::test]
async fn a_vector_that_stops_half_way_ends_the_session() {
    let clock = Clock::stop();
    let mut server = TestServer::start_with(|config| {
        config.deadlines.heartbeat = HEARTBEAT;
        config.deadlines.stall = DEADLINE;
    })
    .await;
    server.open_round(1, 10);
    let (mut volunteer, session, joined) = server.volunteer().await;
    joined.outbox.send(ToSession::Assign(assignment(1, 1))).await.unwrap();
    volunteer.assigned().await;
    let packed = pack(&vec![i64::MAX; PARAMETERS]);
    volunteer.say(FromVolunteer::Result(result(1, 1, packed.len()))).await;
    volunteer.send(encode_chunks(&packed).next().unwrap()).await;
    // It goes on answering pings, so that it is not silent.
    let (mut sink, mut stream) = volunteer.socket.split();
    let answers = async {
        while let Some(Ok(_)) = stream.next().await {
            let _ = sink.flush().await;
        }
    };
    let left = clock.pass_until(HEARTBEAT, server.left(session));
    tokio::join!(left, answers);
}

#[tokio::test]
async fn a_slow_vector_arrives_whole() {
    let clock = Clock::stop();
    let mut server = TestServer::start_with(|config| {
        config.deadlines.silence = DEADLINE;
        config.deadlines.stall = DEADLINE;
    })
    .await;
    server.open_round(1, 10);
    let (mut volunteer, session, joined) = server.volunteer().await;
    joined.outbox.send(ToSession::Assign(assignment(1, 1))).await.unwrap();
    volunteer.assigned().await;
    let packed = pack(&vec![i64::MAX; PARAMETERS]);
    volunteer.say(FromVolunteer::Result(result(1, 1, packed.len()))).await;
    // 16 KB every 1.9 s: 2.4 MB take 280 s.
    for chunk in encode_chunks(&packed) {
        clock.pass(Duration::from_millis(1900)).await;
        volunteer.send(chunk).await;
        // By the time of an answer, the server has read what came before.
        ask(server.address, "GET /api/status", &[]).await;
    }
    let event = server.event().await;
    assert!(
        matches!(event, (from, FromSession::Said(decoder::Message::Result { vector: Some(_), .. })) if from == session)
    );
}

#[tokio::test]
async fn announcements_alone_take_no_room_from_those_who_send() {
    // Together they announce more than there is room for, and send next to nothing.
    const SCRIPTS: usize = 240;
    let mut server = TestServer::start().await;
    server.open_round(1, 10);
    let largest = packed_bytes_max(PARAMETERS);
    let begun = vec![0; largest];
    assert!(SCRIPTS * largest > 512 << 20);
    let mut scripts = Vec::new();
    for _ in 0..SCRIPTS {
        let (mut script, _, joined) = server.volunteer().await;
        joined.outbox.send(ToSession::Assign(assignment(1, 1))).await.unwrap();
        script.assigned().await;
        script.say(FromVolunteer::Result(result(1, 1, largest))).await;
        script.send(encode_chunks(&begun).next().unwrap()).await;
        scripts.push((script, joined));
    }
    let (mut volunteer, session, joined) = server.volunteer().await;
    joined.outbox.send(ToSession::Assign(assignment(1, 1))).await.unwrap();
    volunteer.assigned().await;
    let packed = pack(&vec![i64::MAX; PARAMETERS]);
    volunteer.say(FromVolunteer::Result(result(1, 1, packed.len()))).await;
    for chunk in encode_chunks(&packed) {
        volunteer.send(chunk).await;
    }
    let event = server.event().await;
    assert!(
        matches!(event, (from, FromSession::Said(decoder::Message::Result { vector: Some(_), .. })) if from == session),
        "{event:?}"
    );
}

#[tokio::test]
async fn a_vector_whose_round_is_over_is_read_past() {
    let mut server = TestServer::start().await;
    server.open_round(1, 10);
    let (mut volunteer, session, joined) = server.volunteer().await;
    joined.outbox.send(ToSession::Assign(assignment(1, 1))).await.unwrap();
    volunteer.assigned().await;
    let packed = pack(&vec![i64::MAX; PARAMETERS]);
    volunteer.say(FromVolunteer::Result(result(1, 1, packed.len()))).await;
    for (index, chunk) in encode_chunks(&packed).enumerate() {
        if index == 3 {
            server.open_round(2, 10);
        }
        volunteer.send(chunk).await;
    }
    volunteer.say(FromVolunteer::Cores(7)).await;
    let event = server.event().await;
    assert!(
        matches!(event, (from, FromSession::Said(decoder::Message::Cores(7))) if from == session),
        "{event:?}"
    );
}

#[tokio::test]
async fn a_volunteer_that_takes_nothing_has_left() {
    let clock = Clock::stop();
    let mut server = TestServer::start_with(|config| config.deadlines.stall = DEADLINE).await;
    let mut volunteer = RawVolunteer::connect(server.address).await;
    volunteer.introduce().await;
    let (session, _joined) = server.joined().await;
    server.open_round(1, 8_000_000);
    clock.pass_until(DEADLINE, server.left(session)).await;
    server.volunteer().await;
}

#[tokio::test]
async fn a_large_round_on_its_way_is_a_sign_of_life() {
    const BYTES_BETWEEN_PINGS: usize = 1 << 20;
    let clock = Clock::stop();
    let mut server = TestServer::start_with(|config| {
        config.deadlines.heartbeat = HEARTBEAT;
        config.deadlines.silence = DEADLINE;
    })
    .await;
    // It never answers a ping, and takes several times the silence that is allowed.
    let mut volunteer = RawVolunteer::connect(server.address).await;
    volunteer.introduce().await;
    let (_, _joined) = server.joined().await;
    server.open_round(1, 8_000_000);
    let frame = server.round_frame();
    let heartbeat = FromCoordinator::Heartbeat.encode();
    let (mut message, mut pings) = (Vec::new(), 0);
    while message.len() < frame.len() {
        clock.pass(HEARTBEAT).await;
        let pause_at = message.len() + BYTES_BETWEEN_PINGS;
        while message.len() < pause_at.min(frame.len()) {
            let fragment = volunteer.frame().await;
            if fragment.payload == heartbeat {
                continue;
            }
            pings += usize::from(fragment.opcode == PING);
            message.extend(fragment.payload);
        }
    }
    assert!(message == frame, "pings are empty, so all else is the round");
    assert!(pings > 0, "pings stand between the fragments");
}
