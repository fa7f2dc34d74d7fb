//! A way to a server that can be cut.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Listens on a port, and passes on what it hears.
pub(crate) struct Relay {
    port: u16,
    way: Arc<Mutex<Way>>,
}

/// Where connections lead.
#[derive(Default)]
struct Way {
    /// The server's port; 0 while there is no way.
    target: u16,
    /// Both ends of each connection.
    open: Vec<TcpStream>,
}

impl Relay {
    pub(crate) fn serve() -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(Mutex::new(Way::default()));
        let relay = Relay { port, way: Arc::clone(&way) };
        std::thread::spawn(move || {
            for near in listener.incoming() {
                // A client whose way is cut tries again.
                let _ = near.and_then(|near| join(near, &way));
            }
        });
        relay
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Leads to a server at this port from now on, or nowhere if it is 0. Connections of before are cut.
    pub(crate) fn leads_to(&self, target: u16) {
        let mut way = self.way.lock().unwrap();
        way.target = target;
        way.open.drain(..).for_each(|end| {
            let _ = end.shutdown(Shutdown::Both);
        });
    }
}

fn join(near: TcpStream, way: &Mutex<Way>) -> io::Result<()> {
    let mut way = way.lock().unwrap();
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, way.target))?;
    for (from, to) in [(&near, &far), (&far, &near)] {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        std::thread::spawn(move || carry(from, to));
    }
    way.open.extend([near, far]);
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
