//! The dashboard's API: who may use it, and what reaches the driver.

use std::sync::Arc;

use coordinator::data::{Dataset, prepare};
use coordinator::operator::{self, Action, Ban, Desk, Done, Exams, Refusal, Unsaved, View};
use coordinator::server::Ticket;
use model::{Arithmetic, Network, NetworkSpec, Task};
use protocol::message::{FromVolunteer, Refusal as Refused};
use serde_json::Value;

use crate::clock::in_time;
use crate::harness::{TestServer, hello};
use crate::http::{Answer, ask, send};

const TOKEN: &str = "the-operators-own-token";

/// A server with an operator, and the driver's end of the office.
async fn server() -> (TestServer, Desk) {
    let names = ["a", "b"].map(String::from).to_vec();
    let data = Dataset::of_bytes(2, &[1, 2, 3, 4, 5, 6, 7, 8], vec![0, 1, 0, 1], names);
    let network = Network::new(&NetworkSpec::default(), 2, Task::Classes(2)).unwrap();
    let exams = Exams::new(network, Arithmetic::Portable, Arc::new(prepare(data, None, 0.0, 1).unwrap()));
    let links = vec!["http://127.0.0.1:8080".to_owned()];
    let (office, desk) = operator::open(links, "runs/one".into(), Arc::new(exams), Unsaved::default());
    let server = TestServer::start_with(|config| {
        config.operator = Some(Ticket::operator(TOKEN));
        config.office = Some(Arc::new(office));
    })
    .await;
    (server, desk)
}

/// The cookie that the server gives for the token.
async fn cookie(server: &TestServer) -> String {
    let taken = send(server.address, "POST /operator", &[], TOKEN.as_bytes()).await;
    assert_eq!(taken.status, 204);
    let cookie = taken.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("Secure"), "without TLS, a secure cookie would never come back");
    cookie.split(';').next().unwrap().to_owned()
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(answer.text()).unwrap()
}

#[tokio::test]
async fn without_the_operators_token_there_is_nothing_but_the_door() {
    let (server, desk) = server().await;
    let door = ask(server.address, "GET /dashboard", &[]).await;
    assert_eq!(door.status, 401);
    assert!(door.text().contains("operator") && door.text().contains("door.js"), "{}", door.text());
    let stranger = ["GET /api/operator", "GET /api/operator/model", "GET /api/operator/qr.svg?link=0"];
    let actions = ["POST /api/operator/pause", "POST /api/operator/stop", "POST /api/operator/anything"];
    let wrong = [
        ("cookie", "shoal-operator=another-token"),
        ("cookie", &format!("shoal-invite={TOKEN}")),
        ("authorization", "Bearer another-token"),
    ];
    for request in stranger.iter().chain(&actions) {
        assert_eq!(ask(server.address, request, &[]).await.status, 401, "{request}");
        for header in wrong {
            assert_eq!(ask(server.address, request, &[header]).await.status, 401, "{request} {header:?}");
        }
    }
    assert_eq!(send(server.address, "POST /operator", &[], b"another-token").await.status, 403);
    assert!(!desk.is_wanted(), "nobody was shown anything");

    let cookie = cookie(&server).await;
    let cookie = [("cookie", cookie.as_str())];
    let page = ask(server.address, "GET /dashboard", &cookie).await;
    assert!(page.status == 200 && page.text().contains("Is it worth it?"));
    desk.show(View::default());
    assert_eq!(ask(server.address, "GET /api/operator", &cookie).await.status, 200);
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(ask(server.address, "GET /api/operator", &[("authorization", &bearer)]).await.status, 200);
    // Metrics too, wherever the operator is.
    let from_elsewhere = [("authorization", bearer.as_str()), ("x-forwarded-for", "192.0.2.1")];
    assert_eq!(ask(server.address, "GET /metrics", &from_elsewhere).await.status, 200);
    assert_eq!(ask(server.address, "GET /metrics", &from_elsewhere[1..]).await.status, 401);
}

#[tokio::test]
async fn another_sites_page_can_neither_take_the_token_nor_act() {
    let (server, mut desk) = server().await;
    let cookie = cookie(&server).await;
    let headers = [("cookie", cookie.as_str()), ("origin", "http://evil.example")];
    for request in ["POST /operator", "POST /api/operator/stop", "GET /api/operator"] {
        assert_eq!(send(server.address, request, &headers, b"x").await.status, 403, "{request}");
    }
    assert!(desk.errands.try_recv().is_err());
}

#[tokio::test]
async fn the_status_of_volunteers_has_nothing_of_the_operators() {
    let (server, desk) = server().await;
    let cookie = cookie(&server).await;
    desk.show(View { method: "local steps".to_owned(), ..View::default() });
    let seen = json(&ask(server.address, "GET /api/operator", &[("cookie", &cookie)]).await);
    assert_eq!(seen["operator"]["method"], "local steps");
    assert_eq!(seen["status"]["sentence"], "Waiting for volunteers.");
    assert!(seen["history"].is_null() && seen["links"][0] == "http://127.0.0.1:8080");
    let with_history = ask(server.address, "GET /api/operator?history=1", &[("cookie", &cookie)]).await;
    assert!(json(&with_history)["history"].is_array());
    let public = json(&ask(server.address, "GET /api/status", &[]).await);
    for key in ["operator", "system", "links", "volunteers_count"] {
        // Who runs the training may be told; the operator's view may not.
        assert!(public.get(key).is_none_or(|value| value.is_null()), "{key}");
    }
    let compressed = [("cookie", cookie.as_str()), ("accept-encoding", "gzip")];
    assert_eq!(
        ask(server.address, "GET /api/operator", &compressed).await.header("content-encoding"),
        "gzip"
    );
}

#[tokio::test]
async fn actions_reach_the_driver_and_bring_back_its_answer() {
    let (mut server, mut desk) = server().await;
    let cookie = cookie(&server).await;
    let driver = tokio::spawn(async move {
        let mut actions = Vec::new();
        while let Some(errand) = desk.errands.recv().await {
            assert_eq!(errand.from, "127.0.0.1");
            let done = match &errand.action {
                Action::Remove { session: 99 } => Err(Refusal::Unknown),
                Action::Stop => Err(Refusal::Over),
                _ => Ok(Done { changed: true, sentence: "Done.".to_owned() }),
            };
            actions.push(errand.action);
            errand.answer.send(done).unwrap();
        }
        actions
    });
    let address = server.address;
    let headers = [("cookie", cookie.as_str())];
    let post = async |action: &str, body: &str| {
        send(address, &format!("POST /api/operator/{action}"), &headers, body.as_bytes()).await
    };
    let done = post("pause", "").await;
    assert_eq!((done.status, &json(&done)["sentence"]), (200, &Value::from("Done.")));
    for (action, body) in [
        ("continue", ""),
        ("save", "{}"),
        ("remove", "{\"session\": 7}"),
        ("ban", "{\"session\": 8}"),
        ("unban", "{\"address\": \"192.0.2.7\"}"),
    ] {
        assert_eq!(post(action, body).await.status, 200, "{action}");
    }
    assert_eq!(post("remove", "{\"session\": 99}").await.status, 404);
    assert_eq!(post("stop", "").await.status, 409);
    for (action, body) in
        [("remove", ""), ("ban", "{\"session\": -1}"), ("unban", "7"), ("remove", "rubbish")]
    {
        assert_eq!(post(action, body).await.status, 400, "{action} {body}");
    }
    assert_eq!(post("anything", "").await.status, 404);
    assert_eq!(post("pause", &"x".repeat(2000)).await.status, 413);
    server.stop();
    server.stopped().await;
    let expected = [
        Action::Pause,
        Action::Continue,
        Action::Save,
        Action::Remove { session: 7 },
        Action::Ban { session: 8 },
        Action::Unban { address: "192.0.2.7".to_owned() },
        Action::Remove { session: 99 },
        Action::Stop,
    ];
    assert_eq!(in_time(driver).await.unwrap(), expected);
}

#[tokio::test]
async fn links_become_qr_codes() {
    let (server, _desk) = server().await;
    let cookie = cookie(&server).await;
    let headers = [("cookie", cookie.as_str())];
    let code = ask(server.address, "GET /api/operator/qr.svg?link=0", &headers).await;
    assert_eq!((code.status, code.header("content-type")), (200, "image/svg+xml"));
    assert!(code.text().contains("<svg") && !code.text().contains("<script"));
    for query in ["", "?link=1", "?link=-1", "?link=99999999999999999999"] {
        let request = format!("GET /api/operator/qr.svg{query}");
        assert_eq!(ask(server.address, &request, &headers).await.status, 404, "{query}");
    }
    assert_eq!(ask(server.address, "GET /api/operator/model", &headers).await.status, 404);
}

#[tokio::test]
async fn whoever_is_banned_gets_neither_work_nor_data() {
    let (mut server, desk) = server().await;
    let shard = format!("GET /shards/{}", server.training.shards[0].name());
    let ban = Ban { address: "127.0.0.1".into(), agent: "a test".into(), time: 0, tokens: Vec::new() };
    assert!(desk.bans.add(0x7f00_0001, ban));
    let mut volunteer = server.connect().await;
    volunteer.say(FromVolunteer::Hello(hello())).await;
    let (reason, text) = volunteer.refused().await;
    assert!(matches!(reason, Refused::Wait { .. }), "{reason:?}");
    assert!(text.contains("banned"), "{text}");
    let refused = ask(server.address, &shard, &[]).await;
    assert!(refused.status == 403 && refused.text().contains("banned"), "{}", refused.text());
    assert!(server.is_quiet(), "the driver never hears of it");
    assert!(desk.bans.lift("127.0.0.1").is_some());
    assert_eq!(ask(server.address, &shard, &[]).await.status, 200);
    server.volunteer().await;
}
