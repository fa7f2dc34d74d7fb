//! Browser tabs that lend themselves, driven through chromedriver or geckodriver.

use std::fs::DirEntry;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::coordinator::Coordinator;

/// A browser of its own with a tab in front. The browser is killed when this is dropped.
pub struct Tab {
    client: Client,
    port: u16,
    driver: Driver,
}

/// How often a condition in a page is looked at, and how many times before the test fails: for longer than anything
/// takes on a slow and busy machine, because this only turns a hang into a failure.
const POLL: Duration = Duration::from_millis(50);
const POLLS_MAX: usize = 3600;
/// How long an element may take to be there, and a script in the page to end, for the same reason.
const PATIENCE: Duration = Duration::from_secs(180);

/// The Tab key as WebDriver names it, and how often it is pressed at most on the way to an element.
const TAB_KEY: &str = "\u{e004}";
const TABS_MAX: usize = 200;
const DRIVER_STARTS_MAX: usize = 5;

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
        let tab = Tab::blank().await;
        tab.client.goto(&format!("http://{}/", coordinator.address())).await.unwrap();
        tab
    }

    /// Opens Firefox, and no page yet.
    pub async fn firefox() -> Tab {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin/geckodriver");
        let (driver, port) = Driver::start("GECKODRIVER", own.to_str().expect("a name in Unicode"));
        Tab::connect(driver, port, json!({ "moz:firefoxOptions": { "args": ["-headless"] } })).await
    }

    /// Opens Chromium, and no page yet.
    pub async fn blank() -> Tab {
        let (driver, port) = Driver::start("CHROMEDRIVER", "chromedriver");
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
        Tab::connect(driver, port, json!({ "goog:chromeOptions": { "args": flags } })).await
    }

    async fn connect(driver: Driver, port: u16, capabilities: Value) -> Tab {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let mut capabilities = capabilities.as_object().unwrap().clone();
        capabilities.insert("timeouts".to_owned(), json!({ "script": PATIENCE.as_secs() * 1000 }));
        builder.capabilities(capabilities);
        let client = builder.connect(&format!("http://127.0.0.1:{port}")).await.unwrap();
        Tab { client, port, driver }
    }

    /// Chooses the cores and presses Start.
    pub async fn start(&self, cores: u32) {
        let start = self.awaited("#start:enabled").await;
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

    /// The same for a script that calls the last of its arguments when it is done.
    pub async fn evaluate_async(&self, script: &str) -> Value {
        self.evaluate_async_with(script, vec![]).await
    }

    /// The same with arguments before that one.
    pub async fn evaluate_async_with(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute_async(script, arguments).await.unwrap()
    }

    /// Sends a command of the browser's debugging protocol, which chromedriver passes on.
    pub async fn debug(&self, command: &str, parameters: Value) {
        let session = self.client.session_id().await.unwrap().expect("a session");
        let body = json!({ "cmd": command, "params": parameters }).to_string();
        let request = format!(
            "POST /session/{session}/goog/cdp/execute HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // Chromedriver does not close the connection, but its answer begins with the status.
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{command}: {answer}");
    }

    /// Waits until a script in the page returns true.
    ///
    /// # Panics
    /// When that takes minutes; it shows the page's own words then.
    pub async fn until(&self, script: &str) {
        for _ in 0..POLLS_MAX {
            if self.evaluate(&format!("return {script}"), vec![]).await == json!(true) {
                return;
            }
            sleep(POLL).await;
        }
        let page = self.evaluate("return document.body.innerText", vec![]).await;
        panic!("waited in vain for {script} in: {page}");
    }

    /// Waits until something is so in the test itself.
    ///
    /// # Panics
    /// When that takes minutes.
    pub async fn until_here(&self, mut condition: impl FnMut() -> bool) {
        for _ in 0..POLLS_MAX {
            if condition() {
                return;
            }
            sleep(POLL).await;
        }
        panic!("waited in vain");
    }

    /// Waits until the page is in that state, and gives its sentence.
    pub async fn reaches(&self, state: &str) -> String {
        // Both at once, because a moment later the state may be another one.
        let script = "document.querySelector('#status')?.dataset.state === STATE \
                      && (window.sentence = document.querySelector('#sentence').textContent) !== ''";
        self.until(&script.replace("STATE", &format!("'{state}'"))).await;
        let sentence = self.evaluate("return window.sentence", vec![]).await;
        sentence.as_str().unwrap().to_owned()
    }

    /// The text of an element.
    pub async fn text(&self, selector: &str) -> String {
        let text =
            self.evaluate("return document.querySelector(arguments[0]).textContent", vec![json!(selector)]);
        text.await.as_str().unwrap().to_owned()
    }

    /// Clicks on an element, once it is there and can be seen.
    pub async fn click(&self, selector: &str) {
        self.until(&format!("document.querySelector('{selector}')?.checkVisibility()")).await;
        self.client.find(Locator::Css(selector)).await.unwrap().click().await.unwrap();
    }

    /// Opens an address, whatever it is.
    pub async fn open_link(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Presses keys together, wherever the focus is, and lets go of them.
    pub async fn press(&self, keys: &str) {
        let down = keys.chars().map(|value| KeyAction::Down { value });
        let up = keys.chars().rev().map(|value| KeyAction::Up { value });
        let actions = down.chain(up).fold(KeyActions::new("keyboard".into()), KeyActions::then);
        self.client.perform_actions(actions).await.unwrap();
    }

    /// Presses the Tab key until an element has the focus.
    ///
    /// # Panics
    /// When the keyboard does not get there.
    pub async fn tab_to(&self, selector: &str) {
        for _ in 0..TABS_MAX {
            let script = format!("return document.activeElement?.matches({selector:?})");
            if self.evaluate(&script, vec![]).await == json!(true) {
                return;
            }
            self.press(TAB_KEY).await;
        }
        panic!("the Tab key does not lead to {selector}");
    }

    /// Opens another page of the coordinator and waits for an element.
    pub async fn visit(&self, coordinator: &Coordinator, path: &str, awaited: &str) {
        self.client.goto(&format!("http://{}{path}", coordinator.address())).await.unwrap();
        self.awaited(awaited).await;
    }

    /// The element, once it is there.
    async fn awaited(&self, selector: &str) -> Element {
        self.client.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await.unwrap()
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

    /// Opens an address.
    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Goes back to the page before.
    pub async fn back(&self) {
        self.client.back().await.unwrap();
    }

    /// Opens another tab in the same browser, brings it to the front, and names it.
    pub async fn beside(&self) -> WindowHandle {
        let handle = self.client.new_window(true).await.unwrap().handle;
        self.front(&handle).await;
        handle
    }

    /// All tabs.
    pub async fn handles(&self) -> Vec<WindowHandle> {
        self.client.windows().await.unwrap()
    }

    /// The tab in front.
    pub async fn handle(&self) -> WindowHandle {
        self.client.window().await.unwrap()
    }

    /// Brings a tab of the browser to the front.
    pub async fn front(&self, handle: &WindowHandle) {
        self.client.switch_to_window(handle.clone()).await.unwrap();
    }

    /// Has axe-core look for what people with disabilities cannot use.
    ///
    /// # Panics
    /// When it finds anything; it shows what.
    pub async fn is_accessible(&self) {
        if self.evaluate("return typeof axe", vec![]).await == json!("undefined") {
            self.evaluate(axe(), vec![]).await;
        }
        let run = "const [done] = arguments; axe.run().then(({ violations }) => done(violations.map(({ id, help, nodes }) => \
                   `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 200)).join(' | ')}`)), (error) => done([String(error)]))";
        let found = self.evaluate_async(run).await;
        assert_eq!(found, json!([]), "axe-core finds something");
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
    /// A driver on a free port: the program that the environment names, or else this one.
    fn start(variable: &str, otherwise: &str) -> (Driver, u16) {
        let program = std::env::var(variable).unwrap_or_else(|_| otherwise.into());
        // Chromedriver takes a port that is free on 127.0.0.1, and gives up when somebody has the same one on ::1.
        (0..DRIVER_STARTS_MAX)
            .find_map(|_| Driver::try_start(&program, variable))
            .unwrap_or_else(|| panic!("{program} names its port in one of {DRIVER_STARTS_MAX} starts"))
    }

    /// `None` if the program ends before it has named its port.
    fn try_start(program: &str, variable: &str) -> Option<(Driver, u16)> {
        let mut command = Command::new(program);
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it, or set {variable}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            // "... started successfully on port 41235." or "... Listening on 127.0.0.1:41235".
            let (_, port) = line.rsplit_once("on port ").or_else(|| line.rsplit_once("on 127.0.0.1:"))?;
            port.trim_end_matches('.').parse().ok().filter(|port| *port != 0)
        });
        // Geckodriver goes on writing, and ends when nobody reads.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let driver = Driver(child);
        Some((driver, port?))
    }
}

/// The script of axe-core.
fn axe() -> &'static str {
    static SCRIPT: OnceLock<String> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../target/tools/axe/node_modules/axe-core/axe.min.js");
        let read = std::fs::read_to_string(&path);
        read.unwrap_or_else(|error| panic!("{}: {error}; tests/run installs axe-core", path.display()))
    })
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The whole group, so that the browser dies with it.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).status();
        let _ = self.0.wait();
    }
}
