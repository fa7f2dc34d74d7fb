//! Writes checkpoints beside the rounds: in a thread of its own, one at a time, and no more often than every
//! second or ten times the time that one takes. Only a state that the training goes back to is waited for.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use engine::Snapshot;
use gateway::Term;
use tokio::runtime::Handle;

use super::Checkpoint;
use crate::report::helpers::Helpers;
use crate::run_directory::RunDirectory;
use crate::scale::{Archive, Pieces};

const EVERY_MIN: Duration = Duration::from_secs(1);
const COST_FACTOR: u32 = 10;
/// How long the driver waits until a state that the training goes back to is in the store. After ten seconds of silence
/// another process would lead, from an older state.
const SHARED_WAIT_MAX: Duration = Duration::from_secs(3);
/// Checkpoints that are handed over and not done: one under way, and one that waits.
const JOBS_MAX: usize = 2;
/// Each says twice how far it is.
const NEWS_MAX: usize = 2 * JOBS_MAX;

/// The driver's end of the writer.
pub(super) struct CheckpointWriter {
    /// `None` once it is finished.
    work: Option<SyncSender<Job>>,
    news: Receiver<News>,
    directory: Arc<RunDirectory>,
    /// Whether there is a store besides the run's directory.
    is_shared: bool,
    /// Jobs that are handed over and not over.
    under_way: usize,
    /// Whether the one under way may still write into the run's directory.
    is_writing: bool,
    /// The training went back and could not replace the checkpoints of before.
    owes_both: bool,
    /// What the training went back to last, if the store is to have it and there was no room to hand it over.
    owed: Option<Vec<u8>>,
    /// [`SHARED_WAIT_MAX`].
    shared_wait: Duration,
    began: Instant,
    cost: Duration,
    /// The result of writing the last checkpoint, until it is asked for.
    written: Option<io::Result<()>>,
}

#[derive(Debug)]
enum Job {
    /// Into the run's directory, in place of `both` checkpoints or the last one, and into the store.
    Write { checkpoint: Box<Checkpoint>, helpers: Helpers, both: bool },
    /// Into the store alone.
    Share(Vec<u8>),
}

#[derive(Debug)]
enum News {
    /// The run's directory has it, or cannot have it: whether the next checkpoint must replace both.
    OnDisk { owes_both: bool },
    /// The job is over, and took so long.
    Over(Duration, io::Result<()>),
}

impl CheckpointWriter {
    /// Writes into the run's directory and, in a training of several processes, into the store that they share, under
    /// the term that this one leads. The store has the directory's metrics as far as they are in these pieces.
    pub(super) fn start(
        directory: Arc<RunDirectory>,
        mut shared: Option<(Term, Archive, Pieces)>,
        runtime: Handle,
    ) -> io::Result<CheckpointWriter> {
        let (work, jobs) = sync_channel::<Job>(1);
        let (news_sender, news) = sync_channel(NEWS_MAX);
        let (own, is_shared) = (Arc::clone(&directory), shared.is_some());
        std::thread::Builder::new().name("checkpoints".into()).spawn(move || {
            for (sequence, job) in (1..).zip(jobs) {
                let began = Instant::now();
                let (bytes, mut written, owes_both) = match job {
                    Job::Write { checkpoint, helpers, both } => {
                        let (bytes, rounds) = (checkpoint.to_bytes(), checkpoint.snapshot.counters.rounds);
                        drop(checkpoint);
                        let written = write(&directory, &bytes, rounds, &helpers, both);
                        let owes_both = both && written.is_err();
                        (bytes, written, owes_both)
                    }
                    Job::Share(bytes) => (bytes, Ok(()), false),
                };
                if news_sender.send(News::OnDisk { owes_both }).is_err() {
                    return;
                }
                if let Some((term, archive, pieces)) = &mut shared {
                    let shared = share(archive, *term, sequence, &directory, bytes, pieces);
                    let shared = runtime.block_on(shared);
                    written = written.and(shared);
                }
                if news_sender.send(News::Over(began.elapsed(), written)).is_err() {
                    return;
                }
            }
        })?;
        // The first is due at once, so that a run that dies early can be resumed.
        let began = Instant::now().checked_sub(EVERY_MIN).unwrap_or_else(Instant::now);
        Ok(CheckpointWriter {
            work: Some(work),
            news,
            directory: own,
            is_shared,
            under_way: 0,
            is_writing: false,
            owes_both: false,
            owed: None,
            shared_wait: SHARED_WAIT_MAX,
            began,
            cost: Duration::ZERO,
            written: None,
        })
    }

    /// Whether a checkpoint should be written now.
    pub(super) fn is_due(&mut self) -> bool {
        self.is_free() && self.began.elapsed() >= EVERY_MIN.max(self.cost * COST_FACTOR)
    }

    /// Whether a checkpoint can be written now.
    pub(super) fn is_free(&mut self) -> bool {
        loop {
            match self.news.try_recv() {
                Ok(news) => self.note(news),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.thread_has_ended();
                    break;
                }
            }
        }
        self.work.is_some() && self.under_way == 0 && self.owed.is_none()
    }

    /// Hands a checkpoint to the writer, with the account of who helped so far. Call this only when [`CheckpointWriter::is_free`].
    pub(super) fn write(&mut self, checkpoint: Checkpoint, helpers: Helpers) {
        self.began = Instant::now();
        let both = std::mem::take(&mut self.owes_both);
        self.is_writing = self.hand_over(Job::Write { checkpoint: Box::new(checkpoint), helpers, both });
    }

    /// The training has gone back to this checkpoint: replaces both in the run's directory, cuts the metrics, and has the
    /// state shared. Returns when that is done, so that no kill brings back what the training went back for. For the
    /// store it does not wait as long as it takes: a process that says nothing leads no more.
    pub(super) fn rewind(&mut self, checkpoint: &Checkpoint) {
        // The one under way would be the last to write.
        while self.is_writing && self.wait() {}
        self.began = Instant::now();
        let bytes = checkpoint.to_bytes();
        let Snapshot { counters, accepted, .. } = &checkpoint.snapshot;
        let iteration = accepted.map(|accepted| accepted.iteration);
        let rewound = self.directory.rewind(Checkpoint::VERSION, &bytes, counters.rounds, iteration);
        self.owes_both = rewound.is_err();
        self.written = Some(rewound.map_err(io::Error::other));
        if self.is_shared {
            // What it went back to before is void.
            self.owed = Some(bytes);
            self.hand_over_owed();
            let until = Instant::now() + self.shared_wait;
            while self.under_way > 0 && self.wait_until(until) {}
        }
    }

    fn hand_over_owed(&mut self) {
        let (Some(work), Some(bytes)) = (&self.work, self.owed.take()) else { return };
        match work.try_send(Job::Share(bytes)) {
            Ok(()) => self.under_way += 1,
            Err(TrySendError::Full(Job::Share(bytes))) => self.owed = Some(bytes),
            Err(_) => {}
        }
    }

    /// Accepts no more. The checkpoint under way is being written yet, and an older one must not overtake a newer one: wait
    /// for it where waiting is no harm.
    pub(super) fn finish(&mut self) -> Unwritten {
        (self.under_way, self.is_writing) = (0, false);
        let (_, nothing) = sync_channel(1);
        let news = std::mem::replace(&mut self.news, nothing);
        Unwritten { work: self.work.take(), owed: self.owed.take(), owes_both: self.owes_both, news }
    }

    /// The result of writing the last checkpoint, reported once.
    pub(super) fn take_written(&mut self) -> Option<io::Result<()>> {
        self.written.take()
    }

    fn hand_over(&mut self, job: Job) -> bool {
        let is_taken = self.work.as_ref().is_some_and(|work| work.try_send(job).is_ok());
        self.under_way += usize::from(is_taken);
        is_taken
    }

    fn note(&mut self, news: News) {
        match news {
            News::OnDisk { owes_both } => {
                self.is_writing = false;
                self.owes_both |= owes_both;
            }
            News::Over(cost, written) => {
                self.under_way -= 1;
                self.hand_over_owed();
                self.cost = cost;
                // What went wrong is told, whatever comes after it.
                self.written = Some(self.written.take().unwrap_or(Ok(())).and(written));
            }
        }
    }

    /// Waits for the writer's next news. False if there are none.
    fn wait(&mut self) -> bool {
        match self.news.recv() {
            Ok(news) => self.note(news),
            Err(_) => self.thread_has_ended(),
        }
        self.under_way > 0
    }

    /// The same until then.
    fn wait_until(&mut self, until: Instant) -> bool {
        match self.news.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(news) => self.note(news),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => self.thread_has_ended(),
        }
        true
    }

    fn thread_has_ended(&mut self) {
        (self.under_way, self.is_writing) = (0, false);
        if self.work.take().is_some() {
            self.written = Some(Err(io::Error::other("the thread that writes them has ended")));
        }
    }
}

/// A checkpoint that may be under way to the disk and to the store.
#[derive(Debug)]
pub struct Unwritten {
    work: Option<SyncSender<Job>>,
    owed: Option<Vec<u8>>,
    owes_both: bool,
    news: Receiver<News>,
}

impl Unwritten {
    /// Blocks until it is there, or has failed. Answers whether the next checkpoint must replace both in the run's
    /// directory, because these hold what the training went back for.
    pub fn wait(self) -> bool {
        let mut owes_both = self.owes_both;
        if let (Some(work), Some(bytes)) = (self.work, self.owed) {
            // If the thread has ended, the news say so.
            let _ = work.send(Job::Share(bytes));
        }
        for news in self.news {
            match news {
                News::OnDisk { owes_both: still } => owes_both |= still,
                News::Over(_, Err(error)) => {
                    tracing::warn!("the checkpoint before the last cannot be written: {error}");
                }
                News::Over(..) => {}
            }
        }
        owes_both
    }
}

fn write(
    directory: &RunDirectory,
    checkpoint: &[u8],
    rounds: u64,
    helpers: &Helpers,
    both: bool,
) -> io::Result<()> {
    let saved = match both {
        true => directory.replace_checkpoints(Checkpoint::VERSION, checkpoint, rounds),
        false => directory.save_checkpoint(Checkpoint::VERSION, checkpoint, rounds),
    };
    saved.map_err(io::Error::other)?;
    directory.save_helpers(helpers).map_err(io::Error::other)
}

/// Saves a checkpoint where the other processes find it. The rounds of a term may count backward, after a lie; the
/// sequence of its checkpoints does not.
async fn share(
    archive: &Archive,
    term: Term,
    sequence: u64,
    directory: &RunDirectory,
    checkpoint: Vec<u8>,
    pieces: &mut Pieces,
) -> io::Result<()> {
    let metrics = directory.metrics_from(|unchanged| pieces.cut(unchanged)).map_err(io::Error::other)?;
    archive.save(term, sequence, checkpoint, &metrics, pieces).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use engine::Figures;
    use engine::optimizers::Method;
    use tempfile::TempDir;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::report::progress::IterationReport;
    use crate::run_directory::load_metrics;
    use crate::store::Store;

    /// So many lines that fill several pieces.
    const LINES: u64 = 2_000;

    #[tokio::test]
    async fn the_store_has_the_lines_of_the_directory_however_often_the_training_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let directory = RunDirectory::create(&run, "").unwrap();
        let archive = Archive::new(Store::in_memory());
        let (term, mut pieces) = (Term { number: 1, nonce: 9 }, Pieces::default());
        let (mut sequence, mut iteration) = (0, 0);
        // The training goes back after each of these iterations; some of them are in pieces.
        for (last, back) in [(LINES, LINES - 1), (LINES + 5, 300), (LINES, 0), (LINES / 2, LINES / 2)] {
            while iteration <= last {
                directory.append_metrics(&report(iteration, sequence)).unwrap();
                iteration += 1;
                if iteration % 400 == 0 || iteration > last {
                    sequence += 1;
                    share(&archive, term, sequence, &directory, vec![1], &mut pieces).await.unwrap();
                    let state = archive.newest_state().await.unwrap().unwrap();
                    let lines = std::fs::read(run.join("metrics.jsonl")).unwrap();
                    assert!(state.metrics == lines, "after iteration {iteration} and {sequence} states");
                    assert!(iteration < LINES || pieces.count() > 1, "this must happen to be tested");
                }
            }
            directory.cut_metrics(Some(back)).unwrap();
            iteration = back + 1;
        }
    }

    fn report(iteration: u64, rounds: u64) -> IterationReport {
        IterationReport {
            iteration,
            iterations_max: LINES,
            rounds,
            epochs: 1.0,
            figures: Figures { train_loss: 0.5, ..Figures::UNKNOWN },
            gradient_norm: 1.0,
            step: 1.0,
            volunteers: 2,
            cores: 8,
            examples_per_second: 1e6,
            seconds: 1.5,
            eta_seconds: None,
            method: Method::Lbfgs,
            resumed: false,
        }
    }

    const TERM: Term = Term { number: 1, nonce: 7 };

    #[test]
    fn once_the_training_has_gone_back_no_kill_brings_back_what_it_went_back_for() {
        let (folder, runtime) = (TempDir::new().unwrap(), Runtime::new().unwrap());
        let path = folder.path().join("run");
        let directory = Arc::new(RunDirectory::create(&path, "").unwrap());
        let archive = Archive::new(Store::in_memory());
        let shared = Some((TERM, archive.clone(), Pieces::default()));
        let mut writer =
            CheckpointWriter::start(Arc::clone(&directory), shared, runtime.handle().clone()).unwrap();
        writer.shared_wait = Duration::from_secs(600);
        for iteration in 0..=20 {
            directory.append_metrics(&report(iteration, iteration)).unwrap();
        }
        // One of them is under way when the lie is found out.
        for lie in [19, 20] {
            while !writer.is_free() {
                std::thread::yield_now();
            }
            writer.write(Checkpoint::sample(lie), Helpers::default());
        }
        writer.rewind(&Checkpoint::sample(8));
        assert!(writer.take_written().unwrap().is_ok());
        // From here on, whatever happens.
        let state = runtime.block_on(archive.newest_state()).unwrap().unwrap();
        let on_disk = || directory.load_checkpoint(Checkpoint::VERSION).unwrap().unwrap().state;
        for bytes in [state.checkpoint, on_disk()] {
            assert_eq!(Checkpoint::from_bytes(&bytes).unwrap().snapshot.accepted.unwrap().iteration, 8);
        }
        for metrics in [state.metrics, std::fs::read(path.join("metrics.jsonl")).unwrap()] {
            assert_eq!(metrics.iter().filter(|&&byte| byte == b'\n').count(), 9);
        }
        std::fs::remove_file(path.join("checkpoint")).unwrap();
        assert_eq!(Checkpoint::from_bytes(&on_disk()).unwrap().snapshot.counters.rounds, 8);
        directory.append_metrics(&report(9, 9)).unwrap();
        writer.finish().wait();
        assert_eq!(load_metrics::<serde_json::Value>(&path).unwrap().len(), 10);
    }

    /// Two liars are found out while the store takes its time.
    #[test]
    fn the_store_has_at_last_what_the_training_went_back_to_last() {
        for ends in [false, true] {
            let folder = TempDir::new().unwrap();
            let directory = Arc::new(RunDirectory::create(&folder.path().join("run"), "").unwrap());
            let (work, jobs) = sync_channel(1);
            let (news_sender, news) = sync_channel(NEWS_MAX);
            let mut writer = CheckpointWriter {
                work: Some(work),
                news,
                directory,
                is_shared: true,
                under_way: 0,
                is_writing: false,
                owes_both: false,
                owed: None,
                shared_wait: Duration::ZERO,
                began: Instant::now(),
                cost: Duration::ZERO,
                written: None,
            };
            for rounds in [8, 6, 5] {
                writer.rewind(&Checkpoint::sample(rounds));
            }
            assert!(!writer.is_free());
            let next = |news_sender: &SyncSender<News>| {
                let Job::Share(bytes) = jobs.recv().unwrap() else { panic!("all are for the store alone") };
                news_sender.send(News::Over(Duration::ZERO, Ok(()))).unwrap();
                Checkpoint::from_bytes(&bytes).unwrap().snapshot.counters.rounds
            };
            assert_eq!(next(&news_sender), 8);
            if ends {
                let unwritten = writer.finish();
                let waiting = std::thread::spawn(|| unwritten.wait());
                assert_eq!(next(&news_sender), 5);
                drop(news_sender);
                assert!(!waiting.join().unwrap());
            } else {
                assert!(!writer.is_free());
                assert_eq!(next(&news_sender), 5);
                assert!(writer.is_free());
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_full_disk_did_not_take_is_made_up_for_with_the_next_checkpoint() {
        let (folder, runtime) = (TempDir::new().unwrap(), Runtime::new().unwrap());
        let path = folder.path().join("run");
        let directory = Arc::new(RunDirectory::create(&path, "").unwrap());
        let mut writer =
            CheckpointWriter::start(Arc::clone(&directory), None, runtime.handle().clone()).unwrap();
        writer.write(Checkpoint::sample(20), Helpers::default());
        while !writer.is_free() {
            std::thread::yield_now();
        }
        assert!(writer.take_written().unwrap().is_ok());
        // `/dev/full` is a disk without room.
        let fill = || std::os::unix::fs::symlink("/dev/full", path.join("checkpoint.new")).unwrap();
        directory.forget_earlier().unwrap();
        fill();
        writer.rewind(&Checkpoint::sample(8));
        assert!(writer.take_written().unwrap().is_err());
        assert!(writer.owes_both);
        // The failed write has removed the link. The disk is full once more ...
        fill();
        writer.write(Checkpoint::sample(9), Helpers::default());
        while !writer.is_free() {
            std::thread::yield_now();
        }
        assert!(writer.take_written().unwrap().is_err());
        // ... and then there is room.
        writer.write(Checkpoint::sample(9), Helpers::default());
        assert!(!writer.finish().wait());
        std::fs::remove_file(path.join("checkpoint")).unwrap();
        let bytes = directory.load_checkpoint(Checkpoint::VERSION).unwrap().unwrap().state;
        assert_eq!(Checkpoint::from_bytes(&bytes).unwrap().snapshot.counters.rounds, 9);
    }
}
