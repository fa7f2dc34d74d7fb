//! What the operator of a training sees and does: the view behind the dashboard, the actions, and the log of them.
//!
//! The engine's driver owns the facts. It renews the [`View`] while somebody looks, and carries out the actions,
//! which reach it through a bounded channel. The server holds the other end, the [`Office`].

mod actions;
mod bans;
mod examiner;
mod log;
mod machine;
mod token;
mod unsaved;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

pub use actions::{Action, Done, Errand, Refusal};
pub(crate) use bans::address_in_words;
pub use bans::{Ban, Bans};
pub use examiner::{Candidate, Examiner, Example, Exams, Layer, Mistakes};
pub(crate) use log::unix_time;
pub use log::{AuditLog, Entry};
pub use machine::{Machine, Usage};
pub use token::{TokenError, operator_token};
pub use unsaved::Unsaved;
pub use view::{Copies, Coverage, Departed, Row, Saved, State, View, Worth};

/// Actions that may wait for the driver.
const ACTIONS_MAX: usize = 16;
/// A view that is older is renewed before it is shown, if the driver has time.
const FRESH: Duration = Duration::from_secs(1);
/// How long a request waits for the driver.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server's end.
#[derive(Debug)]
pub struct Office {
    errands: mpsc::Sender<Errand>,
    view: watch::Receiver<Arc<View>>,
    wanted: Arc<AtomicBool>,
    /// Who may not help.
    pub bans: Arc<Bans>,
    /// What the network gets wrong.
    pub exams: Arc<Exams>,
    /// The model that could not be saved, while there is one.
    pub unsaved: Unsaved,
    /// This machine's processor, memory, network and disk.
    pub machine: Machine,
    /// The links with which volunteers open the page, the nearest first.
    pub links: Vec<String>,
}

/// The driver's end.
#[derive(Debug)]
pub struct Desk {
    /// What the operator wants done.
    pub errands: mpsc::Receiver<Errand>,
    /// What the operator sees.
    pub view: watch::Sender<Arc<View>>,
    wanted: Arc<AtomicBool>,
    /// Who may not help.
    pub bans: Arc<Bans>,
    /// What was done.
    pub log: AuditLog,
}

/// Both ends. `links` are those for volunteers; `run` is the run's directory.
pub fn open(links: Vec<String>, run: PathBuf, exams: Arc<Exams>, unsaved: Unsaved) -> (Office, Desk) {
    let (errands, inbox) = mpsc::channel(ACTIONS_MAX);
    let (view_sender, view) = watch::channel(Arc::default());
    let (wanted, bans) = (Arc::<AtomicBool>::default(), Arc::<Bans>::default());
    let office = Office {
        errands,
        view,
        wanted: Arc::clone(&wanted),
        bans: Arc::clone(&bans),
        exams,
        unsaved,
        machine: Machine::new(run),
        links,
    };
    let desk = Desk { errands: inbox, view: view_sender, wanted, bans, log: AuditLog::default() };
    (office, desk)
}

impl Office {
    /// The view, renewed if the driver has time.
    pub async fn view(&self) -> Arc<View> {
        self.wanted.store(true, Ordering::Relaxed);
        let mut view = self.view.clone();
        let is_fresh = |view: &Arc<View>| view.made.is_some_and(|made| made.elapsed() < FRESH);
        // Without a newer one there is the last, which says how old it is.
        let _ = timeout(FRESH, view.wait_for(is_fresh)).await;
        let latest = view.borrow();
        Arc::clone(&latest)
    }

    /// Has an action carried out, and waits for what came of it.
    ///
    /// # Errors
    /// A [`Refusal`] with a sentence for the operator.
    pub async fn act(&self, action: Action, from: String) -> Result<Done, Refusal> {
        let (answer, done) = oneshot::channel();
        let errand = Errand { action, from, answer };
        self.errands.try_send(errand).map_err(|_| Refusal::Busy)?;
        match timeout(PATIENCE, done).await {
            Ok(done) => done.unwrap_or(Err(Refusal::Over)),
            Err(_) => Err(Refusal::Late),
        }
    }
}

impl Desk {
    /// Whether somebody has asked for the view since the last time.
    pub fn is_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }

    /// Shows a new view.
    pub fn show(&self, view: View) {
        self.view.send_replace(Arc::new(View { made: Some(Instant::now()), ..view }));
    }
}
