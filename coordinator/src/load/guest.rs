//! One volunteer of many.

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use model::{Arithmetic, NetworkSpec};
use protocol::PROTOCOL_VERSION;
use protocol::frame::{DownwardFrame, decode_downward, encode_chunks};
use protocol::limits::{DOWNWARD_MESSAGE_BYTES_MAX, FRAGMENT_BYTES};
use protocol::message::{
    FromCoordinator, FromVolunteer, Hello, Ready, Refusal, ResultHeader, TOKEN_BYTES, Unfit, Welcome,
};
use protocol::pack::{pack, packed_bytes_max};
use protocol::plan::{Assignment, RoundPlan, SetPlans};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::oracle::Oracle;
use super::{Attack, Counts, Plan};
use crate::volunteer::Address;

/// Time in which a coordinator must answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause before a volunteer comes back.
const PAUSE: Duration = Duration::from_millis(500);
/// What a slow reader reads each tenth of a second.
const SLOW_BYTES: usize = 4_000;
/// Pause between the chunks of a slow writer.
const SLOW_CHUNK: Duration = Duration::from_secs(5);
/// Pause between the chunks of the second half of a vector: somewhat more than the least rate.
const HALF_CHUNK: Duration = Duration::from_millis(1_800);
/// Pause between two changes of the number of cores: as often as an attacker can for ten seconds before it is thrown out.
const CORES_PAUSE: Duration = Duration::from_millis(35);
/// Bytes of the read buffer: many volunteers share one process.
const READ_BUFFER_BYTES: usize = 16 * 1024;

type Socket = WebSocketStream<TcpStream>;

/// How all clients read.
pub(super) fn client_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(DOWNWARD_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(DOWNWARD_MESSAGE_BYTES_MAX))
}

/// A volunteer, before it begins.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) address: Address,
    pub(super) target: SocketAddr,
    pub(super) source: IpAddr,
    pub(super) arithmetic: Arithmetic,
    pub(super) known_answer: [u8; 32],
    pub(super) plan: Plan,
    pub(super) counts: Arc<Counts>,
    pub(super) oracle: Oracle,
    pub(super) began: Instant,
}

/// How a connection ended.
enum Over {
    /// The training is over, or the volunteer is not wanted.
    ForGood,
    /// It may come back.
    ForNow,
    /// It may come back after that time.
    Until(Duration),
}

/// What it knows of the run.
struct Run {
    parameters: usize,
    examples_per_unit: f64,
    run: u64,
    sets: SetPlans,
    /// What the newest round is.
    plan: RoundPlan,
}

impl Run {
    /// How many examples the units have, if they are evaluated and so count correct predictions.
    fn judged(&self, assignment: &Assignment) -> Option<u64> {
        let (part, _) = self.plan.locate(assignment.units.first()?.start)?;
        let part = &self.plan.parts[part];
        if !part.work.judges() || assignment.round != self.plan.round {
            return None;
        }
        let (set, layout) = (self.sets.of(part.set), part.lay_out(self.sets.of(part.set), 0));
        let units = assignment.units.iter().cloned().flatten();
        let numbers = units.filter_map(|unit| Some(self.plan.locate(unit)?.1));
        Some(numbers.map(|unit| layout.examples_of(set, unit).len() as u64).sum())
    }
}

impl Guest {
    /// Volunteers until the training ends, and comes back whenever a connection ends.
    pub(super) async fn live(self, number: u32) {
        let mut chance = Chance(u64::from(number) + 1);
        loop {
            match self.once(number, &mut chance).await {
                Ok(Over::ForGood) => return,
                Ok(Over::ForNow) => {}
                Ok(Over::Until(wait)) => sleep(wait).await,
                Err(error) => tracing::debug!("a volunteer's connection ended: {error:#}"),
            }
            // Not all at the same time.
            sleep(PAUSE.mul_f64(0.5 + chance.draw())).await;
        }
    }

    /// An honest volunteer keeps its token. An attacker has another each time.
    fn token(&self, number: u32) -> anyhow::Result<[u8; TOKEN_BYTES]> {
        if self.plan.attack.is_some() {
            let mut token = [0; TOKEN_BYTES];
            getrandom::fill(&mut token)
                .map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
            return Ok(token);
        }
        let material = [&std::process::id().to_le_bytes()[..], &number.to_le_bytes()].concat();
        Ok(*blake3::hash(&material).as_bytes().first_chunk().expect("a hash is longer than a token"))
    }

    async fn once(&self, number: u32, chance: &mut Chance) -> anyhow::Result<Over> {
        let socket = timeout(PATIENCE, self.connect()).await.context("no answer")??;
        self.counts.made.fetch_add(1, Ordering::Relaxed);
        let open = self.counts.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.counts.open_most.fetch_max(open, Ordering::Relaxed);
        let over = self.converse(number, socket, chance, open == 1).await;
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        over
    }

    async fn connect(&self) -> anyhow::Result<Socket> {
        let socket = if self.target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if self.target.ip().is_loopback() && self.target.is_ipv4() {
            socket.bind(SocketAddr::new(self.source, 0))?;
        }
        if self.plan.attack == Some(Attack::SlowReader) {
            socket.set_recv_buffer_size(SLOW_BYTES as u32)?;
        }
        let stream = socket.connect(self.target).await?;
        stream.set_nodelay(true)?;
        let (socket, _) =
            client_async_with_config(self.address.channel(), stream, Some(client_config())).await?;
        Ok(socket)
    }

    /// `is_only`: nobody else of the load is connected.
    async fn converse(
        &self,
        number: u32,
        socket: Socket,
        chance: &mut Chance,
        is_only: bool,
    ) -> anyhow::Result<Over> {
        let (mut sink, mut stream) = socket.split();
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            arithmetic: self.arithmetic,
            known_answer: self.known_answer,
            cores: 1,
            fused_capable: true,
            // So that whoever is found out is known by what it played.
            agent: self.plan.attack.map_or("shoal load".into(), |attack| format!("shoal load {attack}")),
            token: self.token(number)?,
        };
        say(&mut sink, FromVolunteer::Hello(hello)).await?;
        let frame = timeout(PATIENCE, self.hear(&mut stream)).await.context("no welcome")??;
        let mut run = match decode_downward(&frame)? {
            DownwardFrame::Message(FromCoordinator::Welcome(welcome)) => read(*welcome)?,
            DownwardFrame::Message(FromCoordinator::Refused { reason, .. }) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                return Ok(match reason {
                    Refusal::Wait { seconds } => Over::Until(Duration::from_secs(seconds.into())),
                    Refusal::Full | Refusal::Replaced => Over::ForNow,
                    _ => Over::ForGood,
                });
            }
            _ => bail!("no welcome"),
        };
        self.oracle.welcome(frame, is_only).await;
        say(&mut sink, FromVolunteer::Ready(Ready { training_shards: Vec::new() })).await?;
        match self.plan.attack {
            Some(Attack::Unasked) => return self.flood(sink, &run).await,
            Some(Attack::Cores) => return self.fidget(sink, stream).await,
            Some(Attack::Paused) => {
                say(&mut sink, FromVolunteer::Cores(0)).await?;
                loop {
                    self.hear(&mut stream).await?;
                    // The answers to pings go out.
                    sink.flush().await?;
                }
            }
            Some(Attack::SlowReader) => {
                let socket = sink.reunite(stream)?;
                return read_slowly(socket.into_inner()).await;
            }
            _ => {}
        }
        self.counts.ready(self.began.elapsed());
        let (mut has_round, mut answered) = (false, 0);
        loop {
            let frame = self.hear(&mut stream).await?;
            match decode_downward(&frame)? {
                DownwardFrame::Round(round) if round.is_whole(run.parameters) => {
                    self.counts.rounds.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut has_round, true) {
                        self.counts.arrived(self.began.elapsed());
                    }
                    run.plan = round.plan.clone();
                    self.oracle.round(run.plan.round, frame).await;
                }
                DownwardFrame::Message(FromCoordinator::Assign(assignment)) => {
                    if chance.draw() < self.plan.failures {
                        return Ok(Over::ForNow);
                    }
                    if self.attack(answered) == Some(Attack::Frozen) {
                        pending::<()>().await;
                    }
                    self.answer(&mut sink, assignment, &run, (number, answered)).await?;
                    answered += 1;
                }
                DownwardFrame::Message(FromCoordinator::Refused { reason, .. }) => {
                    self.counts.refused.fetch_add(1, Ordering::Relaxed);
                    let is_found_out = reason == Refusal::Misbehaved;
                    return Ok(if self.plan.once && is_found_out { Over::ForGood } else { Over::ForNow });
                }
                DownwardFrame::Message(FromCoordinator::Finished { .. }) => return Ok(Over::ForGood),
                _ => {}
            }
        }
    }

    async fn answer(
        &self,
        sink: &mut SplitSink<Socket, Message>,
        assignment: Assignment,
        run: &Run,
        (volunteer, answered): (u32, u64),
    ) -> anyhow::Result<()> {
        let (number, round) = (assignment.assignment, assignment.round);
        let (units, judged) = (assignment.unit_count(), run.judged(&assignment));
        let attack = self.attack(answered);
        match attack {
            Some(Attack::Sleepers) => return Ok(()),
            Some(Attack::Stall) if answered % 2 == 1 => {
                let unit = assignment.units.first().map_or(0, |range| range.start);
                return say(sink, FromVolunteer::Unfit(Unfit { assignment: number, round, unit })).await;
            }
            Some(Attack::FalseUnfit) => {
                let unit = assignment.units.first().map_or(0, |range| range.start);
                return say(sink, FromVolunteer::Unfit(Unfit { assignment: number, round, unit })).await;
            }
            _ => {}
        }
        let Some(answer) = self.oracle.result(assignment).await else { return Ok(()) };
        let mut header = ResultHeader { assignment: number, ..answer.header.clone() };
        if let Some(attack) = attack.filter(|attack| attack.lies()) {
            let mut vector = answer.vector(run.parameters)?;
            attack.distort(volunteer, &mut header, vector.as_mut(), judged);
            let packed = vector.map(|vector| pack(&vector)).unwrap_or_default();
            header.vector_bytes = packed.len() as u32;
            say(sink, FromVolunteer::Result(header)).await?;
            for chunk in encode_chunks(&packed) {
                sink.send(Message::Binary(chunk.into())).await?;
            }
            return Ok(());
        }
        if attack == Some(Attack::HalfSent) && header.vector_bytes > 0 {
            return send_half(sink, header, run.parameters).await;
        }
        let computing = self.plan.speed.map_or(0.0, |speed| f64::from(units) * run.examples_per_unit / speed);
        sleep(Duration::from_secs_f64(computing) + self.plan.latency).await;
        say(sink, FromVolunteer::Result(header)).await?;
        for chunk in &answer.chunks {
            if attack == Some(Attack::SlowWriter) {
                sleep(SLOW_CHUNK).await;
            }
            sink.feed(Message::Binary(chunk.clone())).await?;
        }
        sink.flush().await?;
        self.counts.results.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// What it plays after so many answers.
    fn attack(&self, answered: u64) -> Option<Attack> {
        self.plan.attack.filter(|_| answered >= self.plan.after)
    }

    /// Sends results of full width that nobody asked for, until it is thrown out.
    async fn flood(&self, mut sink: SplitSink<Socket, Message>, run: &Run) -> anyhow::Result<Over> {
        let vector = vec![1; packed_bytes_max(run.parameters) / 2];
        for assignment in 1_000_000.. {
            let header = ResultHeader {
                run: run.run,
                round: 1,
                version: 1,
                assignment,
                losses: vec![1],
                unfit_steps: 0,
                correct: 0,
                vector_bytes: vector.len() as u32,
            };
            say(&mut sink, FromVolunteer::Result(header)).await?;
            for chunk in encode_chunks(&vector) {
                sink.send(Message::Binary(chunk.into())).await?;
            }
        }
        Ok(Over::ForNow)
    }

    /// Changes its number of cores as often as it can.
    async fn fidget(
        &self,
        mut sink: SplitSink<Socket, Message>,
        mut stream: SplitStream<Socket>,
    ) -> anyhow::Result<Over> {
        let talk = async {
            for number in 0_u64.. {
                say(&mut sink, FromVolunteer::Cores(1 + (number % 2) as u16)).await?;
                sleep(CORES_PAUSE).await;
            }
            anyhow::Ok(())
        };
        let listen = async { while self.hear(&mut stream).await.is_ok() {} };
        tokio::select! {
            talked = talk => talked?,
            () = listen => {}
        }
        Ok(Over::ForNow)
    }

    /// The next frame of the protocol.
    async fn hear(&self, stream: &mut SplitStream<Socket>) -> anyhow::Result<Bytes> {
        loop {
            match stream.next().await {
                Some(Ok(Message::Binary(frame))) => {
                    self.counts.bytes_received.fetch_add(frame.len() as u64, Ordering::Relaxed);
                    return Ok(frame);
                }
                Some(Ok(Message::Close(_))) | None => bail!("closed"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}

fn read(welcome: Welcome) -> anyhow::Result<Run> {
    let spec = NetworkSpec::from_json(&welcome.network)?;
    let network = model::Network::new(&spec, welcome.features as usize, welcome.task)?;
    let examples_per_unit = f64::from(welcome.sets.training.examples_per_unit);
    Ok(Run {
        parameters: network.parameters(),
        examples_per_unit,
        run: welcome.run,
        sets: welcome.sets,
        plan: RoundPlan::default(),
    })
}

async fn say(sink: &mut SplitSink<Socket, Message>, message: FromVolunteer) -> anyhow::Result<()> {
    Ok(sink.send(Message::Binary(message.encode().into())).await?)
}

/// Sends the first half of the largest vector at once, and the second slowly.
async fn send_half(
    sink: &mut SplitSink<Socket, Message>,
    header: ResultHeader,
    parameters: usize,
) -> anyhow::Result<()> {
    let vector = vec![0; packed_bytes_max(parameters)];
    say(sink, FromVolunteer::Result(ResultHeader { vector_bytes: vector.len() as u32, ..header })).await?;
    let chunks = encode_chunks(&vector);
    let half = vector.len().div_ceil(FRAGMENT_BYTES) / 2;
    for (index, chunk) in chunks.enumerate() {
        if index >= half {
            sleep(HALF_CHUNK).await;
        }
        sink.send(Message::Binary(chunk.into())).await?;
    }
    Ok(())
}

async fn read_slowly(mut stream: TcpStream) -> anyhow::Result<Over> {
    let mut buffer = vec![0; SLOW_BYTES];
    while stream.read(&mut buffer).await? > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    Ok(Over::ForNow)
}

/// Chances that are the same in every process (xorshift; G. Marsaglia, 2003).
struct Chance(u64);

impl Chance {
    /// A number from 0 to 1.
    fn draw(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
