//! What visitors are told while a process cannot serve them yet: a coordinator that stands by, or a gateway without a run.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::server::{Socket, Stream};

/// Visitors who are told at the same time.
const VISITORS_MAX: usize = 64;
/// How long telling one may take.
const TELLING_MAX: Duration = Duration::from_secs(2);
/// Bytes of a request that are read before it is answered.
const REQUEST_BYTES: usize = 4096;

/// Does the work, and tells whoever comes to `socket` meanwhile to come again. `why` is a sentence.
pub async fn keep<T>(socket: &Socket, why: &str, work: impl Future<Output = T>) -> T {
    let body = format!("{why}\n");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut visitors = JoinSet::new();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            // Work that is done at once, as a coordinator's without a store, sends nobody away.
            biased;
            done = &mut work => return done,
            Some(_) = visitors.join_next() => {}
            Ok((stream, _)) = socket.accept(), if visitors.len() < VISITORS_MAX => {
                visitors.spawn(timeout(TELLING_MAX, tell(stream, answer.clone())));
            }
        }
    }
}

async fn tell(mut stream: Stream, answer: String) -> std::io::Result<()> {
    // What a connection is closed upon unread may take the answer with it.
    let mut request = [0; REQUEST_BYTES];
    let _ = stream.read(&mut request).await?;
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::server::{Peer, bind};

    #[tokio::test]
    async fn nobody_is_told_where_nothing_is_waited_for() {
        // Without `biased` about every other round fails.
        for _ in 0..20 {
            let socket = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let visitor = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
            keep(&socket, "Not yet.", async {}).await;
            let (_, peer) = socket.accept().await.unwrap();
            assert_eq!(peer, Peer::Tcp(visitor.local_addr().unwrap()));
        }
    }

    #[tokio::test]
    async fn a_visitor_is_told_to_come_again() {
        let socket = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = socket.local_addr().unwrap();
        let visit = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = keep(&socket, "Not yet.", visit).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nNot yet.\n"), "{answer}");
    }
}
