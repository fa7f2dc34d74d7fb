//! Volunteers that come back, after they have helped or have done wrong.

use std::time::Instant;

use coordinator::driver::exchange::{FromSession, Joined, ToSession};
use engine::Identity;
use protocol::message::{FromCoordinator, FromVolunteer, Hello, Ready, Refusal};

use crate::harness::{Heard, TestServer, Volunteer, hello, upgrade};

const TOKEN: [u8; 16] = [7; 16];
const OTHER: [u8; 16] = [8; 16];

/// A channel from an address, of which a trusted proxy tells.
async fn connect_from(server: &TestServer, address: &str) -> Volunteer {
    let (socket, _) = upgrade(server.address, &[("x-forwarded-for", address)]).await.expect("a channel");
    Volunteer { socket }
}

/// A volunteer with that token asks to join.
async fn ask(server: &TestServer, address: &str, token: [u8; 16]) -> (Volunteer, Heard) {
    let mut volunteer = connect_from(server, address).await;
    volunteer.say(FromVolunteer::Hello(Hello { token, ..hello() })).await;
    let heard = volunteer.hear().await;
    (volunteer, heard)
}

/// It asks, and is let in.
async fn join(server: &mut TestServer, address: &str, token: [u8; 16]) -> (Volunteer, u64, Joined) {
    let (mut volunteer, heard) = ask(server, address, token).await;
    assert!(matches!(heard, Heard::Message(FromCoordinator::Welcome(_))), "{heard:?}");
    volunteer.say(FromVolunteer::Ready(Ready { training_shards: vec![0] })).await;
    let (session, joined) = server.joined().await;
    (volunteer, session, joined)
}

/// It asks, and must wait: for so many seconds, for this reason.
async fn must_wait(server: &TestServer, address: &str, token: [u8; 16]) -> (u32, String) {
    match ask(server, address, token).await.1 {
        Heard::Message(FromCoordinator::Refused { reason: Refusal::Wait { seconds }, text }) => {
            (seconds, text)
        }
        other => panic!("expected a time to wait, heard {other:?}"),
    }
}

async fn server_behind_a_proxy() -> TestServer {
    TestServer::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await
}

#[tokio::test]
async fn a_token_names_the_volunteer_from_session_to_session() {
    let mut server = server_behind_a_proxy().await;
    let (_first, first_session, first) = join(&mut server, "192.0.2.1", TOKEN).await;
    let (_again, again_session, again) = join(&mut server, "192.0.2.1", TOKEN).await;
    let (_other, _, other) = join(&mut server, "192.0.2.1", OTHER).await;
    assert_ne!(first_session, again_session);
    assert_eq!(first.identity, again.identity);
    assert_ne!(first.identity.token, other.identity.token);
    assert_eq!(first.identity.address, other.identity.address);
    // Who has none gets one for the session.
    let (_a, _, a) = join(&mut server, "192.0.2.1", [0; 16]).await;
    let (_b, _, b) = join(&mut server, "192.0.2.1", [0; 16]).await;
    assert!(a.identity.token != b.identity.token && a.identity.token != 0);
}

#[tokio::test]
async fn the_older_session_of_a_volunteer_is_told_why_it_ends() {
    let mut server = server_behind_a_proxy().await;
    let (mut volunteer, session, joined) = join(&mut server, "192.0.2.1", TOKEN).await;
    joined.outbox.send(ToSession::Replace).await.unwrap();
    let (reason, text) = volunteer.refused().await;
    assert_eq!(reason, Refusal::Replaced);
    assert!(text.contains("newer connection"), "{text}");
    server.left(session).await;
}

#[tokio::test]
async fn who_was_dismissed_waits_and_so_do_strangers_from_its_network() {
    let mut server = server_behind_a_proxy().await;
    let (mut liar, session, joined) = join(&mut server, "192.0.2.1", TOKEN).await;
    liar.send(vec![9]).await;
    assert_eq!(liar.refused().await.0, Refusal::Misbehaved);
    let offense = server.dismissed(session).await;
    // As the driver does once the engine has struck it out.
    server.doors.dismissed(Instant::now(), joined.identity, &offense);

    let (seconds, text) = must_wait(&server, "192.0.2.77", TOKEN).await;
    assert!(
        (20..=30).contains(&seconds) && text.contains(&offense) && text.contains("s."),
        "{seconds}: {text}"
    );
    let (seconds, text) = must_wait(&server, "192.0.2.1", OTHER).await;
    assert!((1..=2).contains(&seconds) && text.contains("from this network"), "{seconds}: {text}");
    assert!(server.is_quiet(), "the driver never hears of them");
    join(&mut server, "192.0.2.2", OTHER).await;
    let (_, event) = server.event().await;
    assert!(matches!(event, FromSession::Left));
    // Whoever has helped does not wait for its neighbors.
    server.doors.helped(Identity { token: u128::from_le_bytes(OTHER), ..joined.identity });
    join(&mut server, "192.0.2.1", OTHER).await;
}

#[tokio::test]
async fn rubbish_before_the_hello_keeps_nobody_else_out() {
    let server = server_behind_a_proxy().await;
    for _ in 0..3 {
        let mut volunteer = connect_from(&server, "192.0.2.1").await;
        volunteer.send(vec![9]).await;
        assert_eq!(volunteer.refused().await.0, Refusal::Misbehaved);
        // Or after it.
        let (mut volunteer, heard) = ask(&server, "192.0.2.1", OTHER).await;
        assert!(matches!(heard, Heard::Message(FromCoordinator::Welcome(_))), "{heard:?}");
        volunteer.send(vec![9]).await;
        assert_eq!(volunteer.refused().await.0, Refusal::Misbehaved);
    }
    let (_, heard) = ask(&server, "192.0.2.1", TOKEN).await;
    assert!(matches!(heard, Heard::Message(FromCoordinator::Welcome(_))), "{heard:?}");
}

#[tokio::test]
async fn a_crowd_that_only_answers_pings_keeps_nobody_out_who_has_helped() {
    let mut server = TestServer::start_with(|config| config.volunteers_max = 2).await;
    let (_first, _, joined) = server.volunteer().await;
    let (mut second, second_session, _joined) = server.volunteer().await;
    assert_eq!(server.connect().await.refused_at_hello(OTHER).await, Refusal::Full);
    let helper = |token| Identity { token: u128::from_le_bytes(token), address: 0 };
    server.doors.helped(helper(TOKEN));
    server.doors.helped(joined.identity);
    let (mut known, heard) = ask(&server, "127.0.0.1", TOKEN).await;
    assert!(matches!(heard, Heard::Message(FromCoordinator::Welcome(_))), "{heard:?}");
    let (reason, text) = second.refused().await;
    assert!(reason == Refusal::Full && text.contains("those who have helped"), "{reason:?}: {text}");
    server.left(second_session).await;
    known.say(FromVolunteer::Ready(Ready { training_shards: Vec::new() })).await;
    let (_, _known_joined) = server.joined().await;
    // Only those are left that have helped.
    server.doors.helped(helper(OTHER));
    assert_eq!(server.connect().await.refused_at_hello(OTHER).await, Refusal::Full);
    assert!(server.is_quiet());
}

#[tokio::test]
async fn strangers_of_one_network_join_at_a_bounded_rate_and_those_who_helped_do_not_count() {
    let server = server_behind_a_proxy().await;
    let identity = Identity { token: u128::from_le_bytes(TOKEN), address: 0 };
    server.doors.helped(identity);
    let mut held = None;
    for number in 1_u128..2000 {
        if let (_, Heard::Message(FromCoordinator::Refused { reason, text })) =
            ask(&server, "192.0.2.1", number.to_le_bytes()).await
        {
            held = Some((number, reason, text));
            break;
        }
    }
    let (number, reason, text) = held.expect("a bound");
    assert!(number > 100, "a class may press Start together: {number}");
    assert!(matches!(reason, Refusal::Wait { seconds: 1.. }) && text.contains("joins"), "{reason:?}: {text}");
    let (_, heard) = ask(&server, "192.0.2.1", TOKEN).await;
    assert!(matches!(heard, Heard::Message(FromCoordinator::Welcome(_))), "{heard:?}");
}
