//! The messages in both directions. [`crate::frame`] turns them into bytes and back.

use model::{Arithmetic, Preprocessing, Task};
use serde::{Deserialize, Serialize};

use crate::limits::{
    CORES_MAX, FEATURES_MAX, LOCAL_EXAMPLES_MAX, PARAMETERS_MAX, READY_SHARDS_MAX, SPECIFICATION_BYTES_MAX,
    STEPS_MAX, TEXT_BYTES_MAX, UNITS_MAX, WAIT_SECONDS_MAX,
};
use crate::plan::{Assignment, SetPlans};
use crate::{DecodeError, within};

/// A message from a volunteer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromVolunteer {
    /// The first message of a session.
    Hello(Hello),
    /// Answers [`Welcome`]: work may come.
    Ready(Ready),
    /// The number of cores lent has changed. Zero pauses.
    Cores(u16),
    /// An assignment is done. A packed vector of `vector_bytes` follows in chunks.
    Result(ResultHeader),
    /// A unit has a value that does not fit the round's scale or is not finite.
    Unfit(Unfit),
    /// The volunteer gives an assignment back.
    Decline {
        /// The assignment given back.
        assignment: u64,
        /// The reason, for the coordinator's log.
        reason: String,
    },
}

/// A message from the coordinator. Rounds are frames of their own ([`crate::frame::RoundFrame`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromCoordinator {
    /// The volunteer may help. This is everything that it needs to know about the run.
    Welcome(Box<Welcome>),
    /// The volunteer cannot help. It need not come back unless the reason says so.
    Refused {
        /// The reason.
        reason: Refusal,
        /// The reason in one sentence for a person.
        text: String,
    },
    /// Units to compute.
    Assign(Assignment),
    /// What the volunteer has done, as the coordinator counts it. Comes when it has changed, but seldom.
    Credit(Credit),
    /// The training has ended.
    Finished(Farewell),
    /// A sign of life, because a browser does not see pings. The coordinator sends it every few seconds if it
    /// sends nothing else, so that a volunteer notices a silently lost connection.
    Heartbeat,
}

/// What a session has done, and everybody with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Examples in the session's results that were counted.
    pub examples: u64,
    /// Examples in all results that were counted since the coordinator was started.
    pub examples_of_all: u64,
    /// Results of the session that came after somebody else's.
    pub late: u64,
}

/// The last message to a volunteer when the training has ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Farewell {
    /// The reason, in one sentence for a person.
    pub text: String,
    /// How good the trained network is.
    pub figures: FinalFigures,
    /// What the volunteer has done of it.
    pub credit: Credit,
}

/// How good the trained network is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct FinalFigures {
    /// The iteration of the saved weights.
    pub iteration: u64,
    /// The share of examples kept aside that it predicts correctly, 0 to 1; for classes.
    pub accuracy: Option<f64>,
    /// Its mean loss on them.
    pub loss: Option<f64>,
}

/// The reason why a volunteer is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The volunteer uses another version of the protocol: it should reload.
    OtherVersion,
    /// The volunteer runs the other arithmetic's worker: it should load the right one.
    OtherArithmetic,
    /// The volunteer's machine does not compute the run's bits.
    OtherBits,
    /// There are enough volunteers for now: it may try again later.
    Full,
    /// The volunteer sent something that no honest volunteer sends.
    Misbehaved,
    /// The volunteer must wait: it was dismissed of late, or too many have joined from its network. It may try
    /// again then.
    Wait {
        /// Seconds from now, at most [`WAIT_SECONDS_MAX`].
        seconds: u32,
    },
    /// A newer session has the same [`Hello::token`]. The volunteer may come back with another token.
    Replaced,
}

/// A volunteer's introduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`] of the volunteer's build. This remains the first field in every version.
    pub protocol: u16,
    /// The arithmetic of its worker.
    pub arithmetic: Arithmetic,
    /// [`model::known_answer::digest`] as computed on the volunteer's machine.
    pub known_answer: [u8; 32],
    /// Cores it lends.
    pub cores: u16,
    /// Whether its machine could run the fused arithmetic.
    pub fused_capable: bool,
    /// The name of its browser or program, for the log and the page.
    pub agent: String,
    /// A random number that the volunteer keeps. It tells nobody else, so the coordinator knows it again when it
    /// comes back. Zeros if it has none.
    pub token: [u8; TOKEN_BYTES],
}

/// Bytes of a volunteer's token.
pub const TOKEN_BYTES: usize = 16;

/// Everything that a volunteer needs to know about the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The run's number: a hash of everything that defines its results.
    pub run: u64,
    /// The session's number.
    pub session: u64,
    /// The run's arithmetic.
    pub arithmetic: Arithmetic,
    /// The network's specification in JSON ([`model::NetworkSpec`]).
    pub network: String,
    /// Columns of an example.
    pub features: u32,
    /// Whether the network predicts classes or numbers.
    pub task: Task,
    /// The transformation from raw columns to the network's inputs.
    pub preprocessing: Preprocessing,
    /// The seed of every random order and mask of the run.
    pub seed: u64,
    /// Examples of one gradient step.
    pub minibatch: u32,
    /// The size of rounds of [`Work::Local`](crate::plan::Work::Local); `None` if the run has no such rounds.
    pub local: Option<LocalBounds>,
    /// How each set of examples is cut.
    pub sets: SetPlans,
}

/// The size of a run's rounds of local steps, from which volunteers derive their memory needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalBounds {
    /// Minimum number of replicas in a round. Fewer replicas mean more examples for each.
    pub replicas: u32,
    /// Maximum steps of a replica.
    pub steps: u32,
}

/// The volunteer is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Shards of the training set that it holds from an earlier session.
    pub training_shards: Vec<u32>,
}

/// A result, except for its vector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultHeader {
    /// The run it belongs to.
    pub run: u64,
    /// The round it belongs to.
    pub round: u64,
    /// The version of the weights it was computed at.
    pub version: u64,
    /// The assignment, all of whose units are in the result.
    pub assignment: u64,
    /// Summed losses as integers: one, or one for each step length of
    /// [`Work::Losses`](crate::plan::Work::Losses).
    pub losses: Vec<i64>,
    /// Bit i is set if the loss at step length i does not fit or is not finite for some unit.
    pub unfit_steps: u32,
    /// Correct predictions (evaluation only).
    pub correct: u64,
    /// Bytes of the packed vector that follows ([`crate::pack`]); zero if there is none.
    pub vector_bytes: u32,
}

/// A report of a unit without an integer result. The coordinator recomputes the unit before it believes the
/// report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfit {
    /// The assignment, which ends with this message.
    pub assignment: u64,
    /// The round it belongs to.
    pub round: u64,
    /// The first unit that does not fit.
    pub unit: u32,
}

impl FromVolunteer {
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        match self {
            FromVolunteer::Hello(hello) => {
                within("the number of cores", hello.cores.into(), CORES_MAX.into())?;
                text("the agent's name", &hello.agent)
            }
            FromVolunteer::Ready(ready) => {
                let shards = ready.training_shards.len() as u64;
                within("the number of shards", shards, READY_SHARDS_MAX as u64)
            }
            FromVolunteer::Cores(cores) => within("the number of cores", (*cores).into(), CORES_MAX.into()),
            FromVolunteer::Result(header) => {
                within("the number of losses", header.losses.len() as u64, STEPS_MAX as u64)?;
                let vector = u64::from(header.vector_bytes);
                within("a packed vector", vector, crate::pack::packed_bytes_max(PARAMETERS_MAX) as u64)
            }
            FromVolunteer::Unfit(_) => Ok(()),
            FromVolunteer::Decline { reason, .. } => text("the reason", reason),
        }
    }
}

impl FromCoordinator {
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        match self {
            FromCoordinator::Welcome(welcome) => {
                let specification = welcome.network.len() as u64;
                within("the specification", specification, SPECIFICATION_BYTES_MAX as u64)?;
                within("the number of features", welcome.features.into(), FEATURES_MAX as u64)?;
                let features = welcome.features as usize;
                let preprocessing = &welcome.preprocessing;
                if preprocessing.offset.len() != features || preprocessing.scale.len() != features {
                    return Err(DecodeError::Malformed);
                }
                if welcome.minibatch == 0 {
                    return Err(DecodeError::Malformed);
                }
                if let Some(local) = welcome.local {
                    within("the number of replicas", local.replicas.into(), UNITS_MAX.into())?;
                    within("the number of local steps", local.steps.into(), LOCAL_EXAMPLES_MAX.into())?;
                    if local.replicas == 0 {
                        return Err(DecodeError::Malformed);
                    }
                }
                welcome.sets.check()
            }
            FromCoordinator::Refused { reason, text: words } => {
                if let Refusal::Wait { seconds } = reason {
                    within("the time to wait", (*seconds).into(), WAIT_SECONDS_MAX.into())?;
                }
                text("the text", words)
            }
            FromCoordinator::Finished(Farewell { text: words, .. }) => text("the text", words),
            FromCoordinator::Assign(assignment) => assignment.check(),
            FromCoordinator::Credit(_) | FromCoordinator::Heartbeat => Ok(()),
        }
    }
}

fn text(what: &'static str, text: &str) -> Result<(), DecodeError> {
    within(what, text.len() as u64, TEXT_BYTES_MAX as u64)
}
