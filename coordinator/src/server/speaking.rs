//! The loop that sends each round and the driver's messages to a volunteer.

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use protocol::message::{Credit, FromCoordinator};
use tokio::time::{MissedTickBehavior, interval};

use super::Server;
use super::ending::Ending;
use super::lanes::Traveler;
use super::limits::CREDIT_EVERY;
use super::mail::{Mail, Next};
use super::outgoing::Outgoing;
use super::rights::{Rights, of};
use crate::driver::exchange::{OpenRound, SharedCredit};

/// Sends each round, the driver's messages and now and then the volunteer's credit.
pub(super) async fn speak(
    server: &Server,
    outgoing: &mut Outgoing,
    mail: &mut Mail,
    rights: &Mutex<Rights>,
    credit: &SharedCredit,
) -> Result<Infallible, Ending> {
    let mut told = Credit::default();
    let mut credit_due = interval(CREDIT_EVERY);
    credit_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut traveler = Traveler::default();
    loop {
        tokio::select! {
            biased;
            next = mail.next() => match next {
                Next::Round(round) => send_round(server, outgoing, mail, &mut traveler, &round).await?,
                Next::Assign(assignment) => {
                    of(rights).grant(&assignment);
                    say(outgoing, FromCoordinator::Assign(assignment)).await?;
                }
                Next::End(ending) => return Err(ending),
            },
            () = outgoing.quiet() => outgoing.beat().await?,
            _ = credit_due.tick() => {
                let now = credit.get();
                if std::mem::replace(&mut told, now) != now {
                    say(outgoing, FromCoordinator::Credit(now)).await?;
                }
            }
        }
    }
}

/// Sends a round, or a part of it if the rest becomes useless meanwhile.
async fn send_round(
    server: &Server,
    outgoing: &mut Outgoing,
    mail: &mut Mail,
    traveler: &mut Traveler,
    round: &OpenRound,
) -> Result<(), Ending> {
    let taken = outgoing.taken();
    let sending =
        traveler.send(&server.lanes, round.frame.len(), &taken, outgoing.send_round(round.frame.clone()));
    tokio::select! {
        biased;
        sent = sending => return Ok(sent?),
        () = mail.interrupts() => {}
    }
    outgoing.cut_short();
    Ok(())
}

/// Sends a message.
pub(super) async fn say(outgoing: &mut Outgoing, message: FromCoordinator) -> Result<(), Ending> {
    Ok(outgoing.send(Bytes::from(message.encode())).await?)
}
