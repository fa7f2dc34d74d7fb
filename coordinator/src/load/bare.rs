//! What the network and the library alone can do: one message to many clients, without a coordinator.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::limits::DOWNWARD_MESSAGE_BYTES_MAX;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{accept_async, client_async_with_config};

use super::{ADDRESSES, Arrivals};

/// Time for all of it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sends a message of so many bytes to so many clients at once, all in this process.
///
/// # Errors
/// When a connection fails, or it takes minutes.
pub async fn fan_out(clients: u32, bytes: usize) -> anyhow::Result<Arrivals> {
    crate::server::connections_max();
    timeout(PATIENCE, send_to_all(clients, bytes)).await.context("the clients do not get the message")?
}

async fn send_to_all(clients: u32, bytes: usize) -> anyhow::Result<Arrivals> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut receiving = JoinSet::new();
    let mut channels = Vec::new();
    for number in 0..clients {
        receiving.spawn(receive(address, number, bytes));
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        channels.push(accept_async(stream).await?);
    }
    let message = Message::Binary(Bytes::from(vec![1; bytes]));
    let began = Instant::now();
    let mut sending = JoinSet::new();
    for mut channel in channels {
        let message = message.clone();
        // The channel is kept until all have the message.
        sending.spawn(async move { channel.send(message).await.map(|()| channel) });
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

async fn receive(address: SocketAddr, number: u32, bytes: usize) -> anyhow::Result<Instant> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, 1 + (number % ADDRESSES) as u8), 0).into())?;
    let stream = socket.connect(address).await?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(DOWNWARD_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(DOWNWARD_MESSAGE_BYTES_MAX));
    let (mut channel, _) = client_async_with_config(format!("ws://{address}/"), stream, Some(config)).await?;
    match channel.next().await {
        Some(Ok(Message::Binary(message))) if message.len() == bytes => Ok(Instant::now()),
        other => bail!("not the message: {other:?}"),
    }
}
