//! Commands that serve a proxy on this machine over a Unix socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::shoal::Folder;

/// The whole answer to a request over the socket, as a proxy passes it on.
fn ask(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: shoal.test\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_training_has_the_proxys_links_and_takes_its_file_along() {
    let folder = Folder::new();
    let socket = folder.path("shoal.sock");
    let place = format!("--listen unix:{} --public-url https://shoal.test/shoal", socket.display());
    let train = format!(
        "train --data classes.csv --model mlp:4 --minibatch 8 --iterations 5 --wait-for 1 --local-workers 1 {place}"
    );
    let mut running = folder.start(&format!("{train} --invite a-token-of-a-test --out run"));
    let dashboard = running.says("dashboard: ");
    assert!(dashboard.contains("https://shoal.test/shoal/dashboard#operator="), "{dashboard}");
    let link = "https://shoal.test/shoal/#invite=a-token-of-a-test";
    running.says(&format!("listening on {link}"));
    running.says(&format!("finds the page at unix:{}.", socket.display()));
    running.says("Waiting");
    let opened = folder.run("open run").succeeded().stdout;
    assert!(opened.contains(link), "{opened}");
    assert!(
        ask(&socket, "/").starts_with("HTTP/1.1 401 "),
        "the public name is admitted, without an invitation not"
    );

    folder.run(&format!("{train} --out other")).failed(1, &["another program", "--listen"]);
    assert!(!folder.path("other").exists(), "nothing stands in the way of the next try");

    // Killed, it cannot take the file along. The next one replaces it.
    drop(running);
    assert!(socket.exists());
    folder.run("resume run").succeeded();
    assert!(!socket.exists());

    let mut running =
        folder.start(&format!("serve run --allow-host shoal.test --listen unix:{}", socket.display()));
    running.says(&format!("on unix:{};", socket.display()));
    assert!(ask(&socket, "/model").starts_with("HTTP/1.1 200 "));
    running.signal("INT");
    running.ended().succeeded();
    assert!(!socket.exists());
}
