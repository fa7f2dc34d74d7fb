//! Chromium tabs that lend themselves, driven through chromedriver.

use std::fs::DirEntry;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::coordinator::Coordinator;

/// A tab in a Chromium of its own. The browser is killed when this is dropped.
pub struct Tab {
    client: Client,
    driver: Driver,
}

/// A chromedriver and every process it started.
struct Driver(Child);

impl Tab {
    /// Opens the page, chooses the cores and presses Start.
    ///
    /// # Panics
    /// When chromedriver or the page does not do as told, as with all that follows.
    pub async fn lend(coordinator: &Coordinator, cores: u32) -> Tab {
        let tab = Tab::open(coordinator).await;
        tab.start(cores).await;
        tab
    }

    /// Opens the page.
    pub async fn open(coordinator: &Coordinator) -> Tab {
        let (driver, port) = Driver::start();
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let capabilities = json!({ "goog:chromeOptions": { "args": flags } });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        let client = builder.connect(&format!("http://127.0.0.1:{port}")).await.unwrap();
        client.goto(&format!("http://{}/", coordinator.address())).await.unwrap();
        Tab { client, driver }
    }

    /// Chooses the cores and presses Start.
    pub async fn start(&self, cores: u32) {
        let start = self.client.wait().for_element(Locator::Css("#start:enabled")).await.unwrap();
        // The tab offers as many cores as the machine has; a test may lend fewer or pretend to more.
        let choose = "const cores = document.querySelector('#cores'); cores.max = Math.max(cores.max, arguments[0]); \
                      cores.value = arguments[0]; \
                      for (const kind of ['input', 'change']) cores.dispatchEvent(new Event(kind, { bubbles: true }));";
        self.evaluate(choose, vec![json!(cores)]).await;
        start.click().await.unwrap();
    }

    /// Runs a script in the page and answers with what it returns.
    pub async fn evaluate(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute(script, arguments).await.unwrap()
    }

    /// Opens another page of the coordinator and waits for an element.
    pub async fn visit(&self, coordinator: &Coordinator, path: &str, awaited: &str) {
        self.client.goto(&format!("http://{}{path}", coordinator.address())).await.unwrap();
        self.client.wait().for_element(Locator::Css(awaited)).await.unwrap();
    }

    /// The most memory that its process has had so far.
    pub fn peak_bytes(&self) -> u64 {
        let group = self.driver.0.id().to_string();
        let peak = |process: DirEntry| {
            let read = |name| std::fs::read_to_string(process.path().join(name)).ok();
            // After the name, which may contain anything: state, parent, group.
            let is_ours = read("stat")?.rsplit(')').next()?.split_whitespace().nth(2)? == group;
            let is_tab = read("cmdline")?.contains("--type=renderer");
            let status = read("status").filter(|_| is_ours && is_tab)?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            Some(1024 * line.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
        };
        let processes = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
        processes.filter_map(peak).max().expect("the tab has a process")
    }

    /// Closes the tab as a person would.
    pub async fn close(self) {
        self.client.close().await.unwrap();
    }

    /// Ends the browser with no chance to say goodbye.
    pub fn kill(self) {
        drop(self.driver);
    }
}

impl Driver {
    /// A chromedriver on a free port.
    fn start() -> (Driver, u16) {
        let program = std::env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".into());
        let mut command = Command::new(&program);
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{program}: {error}; install Debian's chromium-driver or set CHROMEDRIVER")
        });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.rsplit_once("on port ")?;
            port.trim_end_matches('.').parse().ok().filter(|port| *port != 0)
        });
        (Driver(child), port.expect("chromedriver names its port"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The whole group, so that the browser dies with it.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).status();
        let _ = self.0.wait();
    }
}
