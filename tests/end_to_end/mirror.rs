//! Another address that has the shards: a store's folder, served without a word of how the files are compressed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use model::Arithmetic::Portable;
use support::browser::Tab;
use support::coordinator::Volunteer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::problem::{Options, Problem};
use crate::reference;
use crate::relay::Relay;

/// How a mirror answers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    /// With the files, for pages of every site.
    Good,
    /// With the files, but browsers may not give them to pages.
    Withholding,
    /// With other bytes.
    Lying,
    /// Not at all.
    Silent,
}

/// Serves a folder; ends with the runtime. Gives its address, and the paths that it was asked for by a page or
/// volunteer.
async fn serve(folder: PathBuf, manner: Manner) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/data", listener.local_addr().unwrap());
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, folder.clone(), manner, Arc::clone(&noted)));
        }
    });
    (url, asked)
}

async fn answer(mut stream: TcpStream, folder: PathBuf, manner: Manner, asked: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().strip_prefix("/data/").unwrap();
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    let file = std::fs::read(folder.join(path)).unwrap();
    let body = match manner {
        Manner::Good | Manner::Withholding => file,
        Manner::Lying => vec![7; file.len()],
        Manner::Silent => return std::future::pending().await,
    };
    let allow = if manner == Manner::Withholding { "" } else { "Access-Control-Allow-Origin: *\r\n" };
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{allow}\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
}

/// The weights when a tab or a native volunteer alone trains with a mirror of that manner.
async fn digest(problem: &Problem, manner: Manner, in_a_tab: bool) -> String {
    let folder = TempDir::new().unwrap();
    let (url, asked) = serve(folder.path().to_owned(), manner).await;
    let options = Options { arithmetic: Portable, wait_for: 1, ..Options::default() };
    let more = ["--store", folder.path().to_str().unwrap(), "--shard-url", &url];
    let coordinator = problem.train_with(&options, &more);
    let relay = Relay::to(&coordinator).await;
    // Nothing of the data comes from the coordinator.
    relay.hold((manner == Manner::Good).then_some("/shards/"));
    let (tab, volunteer) = if in_a_tab {
        let tab = Tab::blank().await;
        tab.goto(&relay.url()).await;
        tab.start(1).await;
        (Some(tab), None)
    } else {
        (None, Some(Volunteer::join(&coordinator, 1)))
    };
    if let Some(tab) = &tab {
        tab.until("!document.querySelector('#mirror').hidden").await;
        let meaning = tab.text("#mirror").await;
        let host = url.trim_start_matches("http://").trim_end_matches("/data");
        assert!(meaning.contains(host), "{meaning}");
    }
    let result = coordinator.result();
    if let Some(tab) = tab {
        tab.close().await;
    }
    drop(volunteer);
    if manner != Manner::Silent {
        // While a volunteer waits for what does not come, the coordinator's own worker may be done with all.
        assert_eq!(result.volunteers, 1, "{manner:?}");
    }
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    // The coordinator asks once at the start.
    assert!(asked.len() > 1, "{manner:?}: the volunteer asks there: {asked:?}");
    assert!(asked.iter().all(|path| path.starts_with("shards/")), "{asked:?}");
    result.weights_digest
}

#[test]
fn a_tab_takes_shards_from_another_address_and_what_is_wrong_there_from_the_coordinator() {
    let problem = Problem::dense();
    let expected = reference::weights_digest(&problem, Portable);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for manner in [Manner::Good, Manner::Withholding, Manner::Lying, Manner::Silent] {
        assert_eq!(runtime.block_on(digest(&problem, manner, true)), expected, "{manner:?}");
    }
}

#[test]
fn a_native_volunteer_takes_shards_from_another_address_and_what_is_wrong_there_from_the_coordinator() {
    let problem = Problem::dense();
    let expected = reference::weights_digest(&problem, Portable);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for manner in [Manner::Good, Manner::Lying, Manner::Silent] {
        assert_eq!(runtime.block_on(digest(&problem, manner, false)), expected, "{manner:?}");
    }
}
