//! A running server, its driver's side, and clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use coordinator::config::Listen;
use coordinator::data::ShardStore;
use coordinator::data::{Dataset, prepare};
use coordinator::driver::doors::Doors;
use coordinator::driver::exchange::{DriverHandle, FromSession, Joined, Letter, OpenRound};
use coordinator::report::status::Status;
use coordinator::server::{ServerConfig, Site, bind, serve};
use futures_util::{SinkExt, StreamExt};
use model::{Arithmetic, Network, NetworkSpec, Task};
use protocol::PROTOCOL_VERSION;
use protocol::frame::{DownwardFrame, decode_downward, encode_round};
use protocol::message::{FromCoordinator, FromVolunteer, Hello, Ready, Refusal, ResultHeader, Welcome};
use protocol::plan::{Assignment, Part, RoundPlan, Set, SetPlan, SetPlans, Work};
use support::world;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{Request, StatusCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::clock::in_time;

/// Parameters of the network: enough that a result is far more than a stranger may send.
pub(crate) const PARAMETERS: usize = 300_000;
/// The run's number.
pub(crate) const RUN: u64 = 4711;
/// What a machine that computes the run's bits answers.
pub(crate) const KNOWN_ANSWER: [u8; 32] = [7; 32];

/// A server, and the driver's side of it.
pub(crate) struct TestServer {
    /// Where it listens; nowhere for a Unix socket.
    pub(crate) address: SocketAddr,
    pub(crate) training: SetPlan,
    /// Who may join.
    pub(crate) doors: Doors,
    inbox: mpsc::Receiver<Letter>,
    round: watch::Sender<Option<Arc<OpenRound>>>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
    _status: watch::Sender<Arc<Status>>,
}

impl TestServer {
    pub(crate) async fn start() -> TestServer {
        TestServer::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(configure: impl FnOnce(&mut ServerConfig)) -> TestServer {
        TestServer::start_at("127.0.0.1:0".parse().unwrap(), configure).await
    }

    /// A server that listens at `place`.
    pub(crate) async fn start_at(place: Listen, configure: impl FnOnce(&mut ServerConfig)) -> TestServer {
        let mut config = ServerConfig { allowed_hosts: vec!["shoal.test".into()], ..ServerConfig::default() };
        configure(&mut config);
        let (shards, sets) = shards();
        let training = sets.training.clone();
        let (round, round_receiver) = watch::channel(None);
        let (driver, inbox) = DriverHandle::new(round_receiver);
        let doors = driver.doors.clone();
        let (status_sender, status) = watch::channel(Arc::new(Status {
            sentence: "Waiting for volunteers.".into(),
            ..Status::default()
        }));
        let site = Site {
            config,
            welcome: Welcome { run: RUN, session: 0, ..world::welcome(&network(), sets) },
            parameters: PARAMETERS,
            known_answer: KNOWN_ANSWER,
            shards: Arc::new(shards),
            status,
            audience: Arc::default(),
            trial: None,
            driver,
            next_session: Arc::new(AtomicU64::new(1)),
        };
        let socket = bind(place).await.unwrap();
        let address = socket.local_addr().unwrap_or_else(|| "0.0.0.0:0".parse().unwrap());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(socket, Arc::new(site), async {
            let _ = stopped.await;
        }));
        TestServer {
            address,
            training,
            doors,
            inbox,
            round,
            stop: Some(stop),
            served,
            _status: status_sender,
        }
    }

    /// The next thing a session tells the driver.
    pub(crate) async fn event(&mut self) -> (u64, FromSession) {
        let letter = in_time(self.inbox.recv()).await.expect("the server holds the sender");
        (letter.session, letter.message)
    }

    /// The next thing is a volunteer joining.
    pub(crate) async fn joined(&mut self) -> (u64, Joined) {
        match self.event().await {
            (session, FromSession::Joined(joined)) => (session, joined),
            other => panic!("expected a volunteer to join, found {other:?}"),
        }
    }

    /// The next thing is that session's end.
    pub(crate) async fn left(&mut self, session: u64) {
        match self.event().await {
            (number, FromSession::Left) => assert_eq!(number, session),
            other => panic!("expected the volunteer to leave, found {other:?}"),
        }
    }

    /// The next thing is that session's end, because of what the volunteer sent. Answers with that.
    pub(crate) async fn dismissed(&mut self, session: u64) -> String {
        let offense = match self.event().await {
            (number, FromSession::Misbehaved { offense }) if number == session => offense,
            other => panic!("expected the volunteer to misbehave, found {other:?}"),
        };
        self.left(session).await;
        offense
    }

    /// Nothing more has been said to the driver.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.inbox.try_recv().is_err()
    }

    /// Opens a round whose frame carries that many weights.
    pub(crate) fn open_round(&self, round: u64, weights: usize) {
        let part = Part::in_turn(Work::Gradient, Set::Training, 8);
        let plan = RoundPlan { round, version: round, parts: vec![part], ..RoundPlan::default() };
        let weights: Vec<f32> = (0..weights).map(|index| index as f32).collect();
        let frame = Bytes::from(encode_round(&plan, &[&weights]));
        self.round.send_replace(Some(Arc::new(OpenRound { plan, frame })));
    }

    /// The bytes of the open round's frame.
    pub(crate) fn round_frame(&self) -> Bytes {
        self.round.borrow().as_ref().expect("an open round").frame.clone()
    }

    pub(crate) async fn connect(&self) -> Volunteer {
        Volunteer::connect(self.address).await
    }

    /// A volunteer that has been welcomed and is ready.
    pub(crate) async fn volunteer(&mut self) -> (Volunteer, u64, Joined) {
        let mut volunteer = self.connect().await;
        volunteer.introduce().await;
        let (session, joined) = self.joined().await;
        (volunteer, session, joined)
    }

    /// Asks the server to stop.
    pub(crate) fn stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).unwrap();
    }

    /// Waits until the server has stopped.
    pub(crate) async fn stopped(self) {
        in_time(self.served).await.unwrap();
    }
}

pub(crate) fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        arithmetic: Arithmetic::Portable,
        known_answer: KNOWN_ANSWER,
        cores: 3,
        fused_capable: true,
        agent: "a test".into(),
        token: [0; 16],
    }
}

pub(crate) fn assignment(assignment: u64, round: u64) -> Assignment {
    Assignment { assignment, round, units: vec![0..2, 5..6] }
}

/// The header of a result whose packed vector has that many bytes.
pub(crate) fn result(assignment: u64, round: u64, vector_bytes: usize) -> ResultHeader {
    ResultHeader {
        run: RUN,
        round,
        version: round,
        assignment,
        losses: vec![1],
        unfit_steps: 0,
        correct: 0,
        vector_bytes: vector_bytes as u32,
    }
}

/// A volunteer's channel.
pub(crate) struct Volunteer<S = TcpStream> {
    pub(crate) socket: WebSocketStream<S>,
}

/// What a volunteer hears.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Message(FromCoordinator),
    /// A round, by its number.
    Round(u64),
    /// The connection is over.
    Closed,
}

impl Volunteer {
    pub(crate) async fn connect(address: SocketAddr) -> Volunteer {
        let (socket, _) = upgrade(address, &[]).await.expect("a channel");
        Volunteer { socket }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Volunteer<S> {
    pub(crate) async fn say(&mut self, message: FromVolunteer) {
        self.send(message.encode()).await;
    }

    pub(crate) async fn send(&mut self, frame: Vec<u8>) {
        in_time(self.socket.send(Message::Binary(frame.into()))).await.expect("an open channel");
    }

    /// What comes next, pings and heartbeats left out.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            match in_time(self.socket.next()).await {
                Some(Ok(Message::Binary(frame))) => match decode_downward(&frame).expect("a frame") {
                    DownwardFrame::Message(FromCoordinator::Heartbeat) => {}
                    DownwardFrame::Message(message) => return Heard::Message(message),
                    DownwardFrame::Round(round) => return Heard::Round(round.plan.round),
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Heard::Closed,
                Some(Ok(other)) => panic!("unexpected: {other:?}"),
            }
        }
    }

    /// Says hello, is welcomed and says that it is ready.
    pub(crate) async fn introduce(&mut self) -> Welcome {
        self.say(FromVolunteer::Hello(hello())).await;
        let welcome = match self.hear().await {
            Heard::Message(FromCoordinator::Welcome(welcome)) => *welcome,
            other => panic!("expected a welcome, heard {other:?}"),
        };
        self.say(FromVolunteer::Ready(Ready { training_shards: vec![0] })).await;
        welcome
    }

    /// Waits for an assignment; rounds before it are passed over.
    pub(crate) async fn assigned(&mut self) {
        loop {
            match self.hear().await {
                Heard::Message(FromCoordinator::Assign(_)) => return,
                Heard::Round(_) => {}
                other => panic!("expected an assignment, heard {other:?}"),
            }
        }
    }

    /// Says hello with that token, and is turned away for that reason.
    pub(crate) async fn refused_at_hello(&mut self, token: [u8; 16]) -> Refusal {
        self.say(FromVolunteer::Hello(Hello { token, ..hello() })).await;
        self.refused().await.0
    }

    /// Is told why it must go, and then the channel is closed. Rounds before that are passed over.
    pub(crate) async fn refused(&mut self) -> (Refusal, String) {
        let refusal = loop {
            match self.hear().await {
                Heard::Message(FromCoordinator::Refused { reason, text }) => break (reason, text),
                Heard::Round(_) => {}
                other => panic!("expected a refusal, heard {other:?}"),
            }
        };
        assert_eq!(self.hear().await, Heard::Closed);
        refusal
    }
}

/// Asks for a channel with these headers besides the usual ones.
pub(crate) async fn upgrade(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<(WebSocketStream<TcpStream>, StatusCode), StatusCode> {
    upgrade_at(&format!("ws://{address}/channel"), address, headers).await
}

/// The same at another URL, from the program that listens on `address`.
pub(crate) async fn upgrade_at(
    url: &str,
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<(WebSocketStream<TcpStream>, StatusCode), StatusCode> {
    upgrade_over(TcpStream::connect(address).await.unwrap(), url, headers).await
}

/// The same over a connection.
pub(crate) async fn upgrade_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    url: &str,
    headers: &[(&'static str, &str)],
) -> Result<(WebSocketStream<S>, StatusCode), StatusCode> {
    let mut request: Request<()> = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match in_time(client_async(request, stream)).await {
        Ok((socket, response)) => Ok((socket, response.status())),
        Err(Error::Http(response)) => Err(response.status()),
        Err(error) => panic!("{error}"),
    }
}

/// A volunteer that sees WebSocket frames one by one, and reads only when told to.
pub(crate) struct RawVolunteer {
    stream: TcpStream,
}

/// One WebSocket frame.
pub(crate) struct RawFrame {
    pub(crate) is_final: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const BINARY: u8 = 2;
pub(crate) const PING: u8 = 9;

impl RawVolunteer {
    /// A channel on which nothing has been said.
    pub(crate) async fn connect(address: SocketAddr) -> RawVolunteer {
        // The server speaks only when spoken to, so that nothing can be lost between the layers here.
        let (socket, _) = upgrade(address, &[]).await.expect("a channel");
        RawVolunteer { stream: socket.into_inner() }
    }

    /// Says hello and ready, without reading anything but the welcome.
    pub(crate) async fn introduce(&mut self) {
        self.send(&FromVolunteer::Hello(hello()).encode()).await;
        assert_eq!(self.frame().await.opcode, BINARY, "the welcome");
        self.send(&FromVolunteer::Ready(Ready { training_shards: Vec::new() }).encode()).await;
    }

    /// Sends a short binary message, masked with zeros.
    pub(crate) async fn send(&mut self, message: &[u8]) {
        assert!(message.len() < 126, "longer messages have longer headers");
        let head = [0x80 | BINARY, 0x80 | message.len() as u8, 0, 0, 0, 0];
        self.stream.write_all(&[&head, message].concat()).await.unwrap();
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn frame(&mut self) -> RawFrame {
        let head = in_time(self.stream.read_u16()).await.unwrap().to_be_bytes();
        let length = match head[1] {
            126 => usize::from(self.stream.read_u16().await.unwrap()),
            127 => self.stream.read_u64().await.unwrap() as usize,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        in_time(self.stream.read_exact(&mut payload)).await.unwrap();
        RawFrame { is_final: head[0] & 0x80 != 0, opcode: head[0] & 0x0f, payload }
    }

    /// The next whole binary message and the sizes of its fragments; pings in between are passed over.
    pub(crate) async fn message(&mut self) -> (Vec<u8>, Vec<usize>) {
        let (mut message, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let frame = self.frame().await;
            if frame.opcode == PING {
                continue;
            }
            assert_eq!(frame.opcode, if sizes.is_empty() { BINARY } else { CONTINUATION });
            sizes.push(frame.payload.len());
            message.extend(frame.payload);
            if frame.is_final {
                return (message, sizes);
            }
        }
    }
}

/// 64 examples of 4 columns and 3 classes, cut into units of 8.
fn shards() -> (ShardStore, SetPlans) {
    let examples = 64;
    let features: Vec<u8> = (0..4 * examples).map(|index| index as u8).collect();
    let names = ["a", "b", "c"].map(String::from).to_vec();
    let ids = (0..examples).map(|index| index as u16 % 3).collect();
    let dataset = Dataset::of_bytes(4, &features, ids, names);
    ShardStore::cut(Arc::new(prepare(dataset, None, 0.25, 1).unwrap()), 8)
}

fn network() -> Network {
    Network::new(&NetworkSpec::default(), 4, Task::Classes(3)).unwrap()
}
