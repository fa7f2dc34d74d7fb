//! What the network and the library alone can do: one message to many clients, without a coordinator.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};

use super::guest::client_config;
use super::{ADDRESSES, Arrivals};

/// Time for all of it.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes of a fragment. The library copies what it sends into a buffer, and moves all that the network has not taken to its
/// front after each write: of whole messages it would move gigabytes.
const FRAGMENT_BYTES: usize = 64 * 1024;

type Channel = WebSocketStream<TcpStream>;

/// Sends a message of so many bytes to so many clients, to this many at a time, all in this process.
///
/// # Errors
/// When a connection fails, or it takes minutes.
pub async fn fan_out(clients: u32, bytes: usize, at_a_time: u32) -> anyhow::Result<Arrivals> {
    crate::server::connections_max();
    timeout(PATIENCE, send_to_all(clients, bytes, at_a_time))
        .await
        .context("the clients do not get the message")?
}

async fn send_to_all(clients: u32, bytes: usize, at_a_time: u32) -> anyhow::Result<Arrivals> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut receiving = JoinSet::new();
    let mut channels = Vec::new();
    let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(2 * FRAGMENT_BYTES);
    for number in 0..clients {
        receiving.spawn(receive(address, number, bytes));
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        channels.push(accept_async_with_config(stream, Some(config)).await?);
    }
    let message = Bytes::from(vec![1; bytes]);
    let turns = Arc::new(Semaphore::new(at_a_time as usize));
    let began = Instant::now();
    let mut sending = JoinSet::new();
    for mut channel in channels {
        let (message, turns) = (message.clone(), Arc::clone(&turns));
        sending.spawn(async move {
            let _turn = turns.acquire().await?;
            send(&mut channel, message).await?;
            // The channel is kept until all have the message.
            anyhow::Ok(channel)
        });
    }
    let mut arrivals = Vec::new();
    while let Some(received) = receiving.join_next().await {
        arrivals.push((received?? - began).as_secs_f64());
    }
    while let Some(sent) = sending.join_next().await {
        sent??;
    }
    Ok(Arrivals::of(arrivals))
}

/// Sends a message in fragments that all channels share.
async fn send(channel: &mut Channel, mut message: Bytes) -> anyhow::Result<()> {
    let mut kind = Data::Binary;
    loop {
        let fragment = message.split_to(message.len().min(FRAGMENT_BYTES));
        let is_last = message.is_empty();
        channel.feed(Message::Frame(Frame::message(fragment, OpCode::Data(kind), is_last))).await?;
        if is_last {
            return Ok(channel.flush().await?);
        }
        kind = Data::Continue;
    }
}

async fn receive(address: SocketAddr, number: u32, bytes: usize) -> anyhow::Result<Instant> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, 1 + (number % ADDRESSES) as u8), 0).into())?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut channel, _) =
        client_async_with_config(format!("ws://{address}/"), stream, Some(client_config())).await?;
    match channel.next().await {
        Some(Ok(Message::Binary(message))) if message.len() == bytes => Ok(Instant::now()),
        other => bail!("not the message: {other:?}"),
    }
}
