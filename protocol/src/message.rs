//! The messages, either way. [`crate::frame`] turns them into bytes and back.

use model::{Arithmetic, Preprocessing, Task};
use serde::{Deserialize, Serialize};

use crate::limits::{
    CORES_MAX, FEATURES_MAX, LOCAL_EXAMPLES_MAX, PARAMETERS_MAX, READY_SHARDS_MAX, SPECIFICATION_BYTES_MAX,
    STEPS_MAX, TEXT_BYTES_MAX, UNITS_MAX,
};
use crate::plan::{Assignment, SetPlans};
use crate::{DecodeError, within};

/// What a volunteer says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromVolunteer {
    /// The first message of a session.
    Hello(Hello),
    /// Answers [`Welcome`]: work may come.
    Ready(Ready),
    /// The number of cores lent has changed; zero pauses.
    Cores(u16),
    /// An assignment is done. A packed vector of `vector_bytes` follows in chunks.
    Result(ResultHeader),
    /// A unit's value does not fit the round's fixed-point range, or is not finite.
    Unfit(Unfit),
    /// The volunteer gives an assignment back.
    Decline {
        /// The assignment given back.
        assignment: u64,
        /// Why, in words for the coordinator's log.
        reason: String,
    },
}

/// What the coordinator says, besides rounds (see [`crate::frame::RoundFrame`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromCoordinator {
    /// The volunteer may help; all it must know of the run.
    Welcome(Box<Welcome>),
    /// The volunteer cannot help; it need not come back unless the reason says so.
    Refused {
        /// Why.
        reason: Refusal,
        /// The same in one sentence for a person.
        text: String,
    },
    /// Units to compute.
    Assign(Assignment),
    /// The training has ended; nothing more will come.
    Finished {
        /// Why it ended, in one sentence for a person.
        text: String,
    },
    /// Nothing but a sign of life: a browser sees no pings. Sent every few seconds in which nothing
    /// else is, so that a volunteer notices a connection that was lost without a word.
    Heartbeat,
}

/// Why a volunteer is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The volunteer speaks another version of the protocol: it should reload.
    OtherVersion,
    /// The volunteer runs the other arithmetic's worker: it should load the right one.
    OtherArithmetic,
    /// The volunteer's machine does not compute the run's bits.
    OtherBits,
    /// No more volunteers are taken for now: it may try again later.
    Full,
    /// The volunteer sent something that no honest volunteer sends.
    Misbehaved,
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`] of the volunteer's build. Stays the first field for ever.
    pub protocol: u16,
    /// Which worker it runs.
    pub arithmetic: Arithmetic,
    /// [`model::known_answer::digest`] as computed on the volunteer's machine.
    pub known_answer: [u8; 32],
    /// Cores it lends.
    pub cores: u16,
    /// Whether its machine could run the fused arithmetic.
    pub fused_capable: bool,
    /// What kind of client it is, for the log and the page (a browser's or program's name).
    pub agent: String,
}

/// All a volunteer must know of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Names the run: everything that defines its results hashes to this.
    pub run: u64,
    /// Names this session.
    pub session: u64,
    /// The run's arithmetic.
    pub arithmetic: Arithmetic,
    /// The network's specification in JSON ([`model::NetworkSpec`]).
    pub network: String,
    /// Columns of an example.
    pub features: u32,
    /// What is predicted.
    pub task: Task,
    /// How raw columns become the network's input.
    pub preprocessing: Preprocessing,
    /// Keys every random order and mask of the run.
    pub seed: u64,
    /// Examples of one gradient step.
    pub minibatch: u32,
    /// How large rounds of [`Work::Local`](crate::plan::Work::Local) get; none where the run has no such rounds.
    pub local: Option<LocalBounds>,
    /// How each set of examples is cut.
    pub sets: SetPlans,
}

/// How large a run's rounds of local steps get, so that volunteers know beforehand what memory they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalBounds {
    /// Replicas of a round, at least: the fewer, the more examples each has for itself.
    pub replicas: u32,
    /// Steps of each, at most.
    pub steps: u32,
}

/// The volunteer is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Shards of the training set that it already holds, from an earlier session.
    pub training_shards: Vec<u32>,
}

/// The scalars of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultHeader {
    /// The run it belongs to.
    pub run: u64,
    /// The round it belongs to.
    pub round: u64,
    /// The version of the weights it was computed at.
    pub version: u64,
    /// The assignment it answers, whole.
    pub assignment: u64,
    /// Summed losses as integers: one, or one for each step length.
    pub losses: Vec<i64>,
    /// Bit i is set when the loss at step length i does not fit or is not finite for some unit.
    pub unfit_steps: u32,
    /// Correct predictions (evaluation only).
    pub correct: u64,
    /// Bytes of the packed vector that follows ([`crate::pack`]); zero when there is none.
    pub vector_bytes: u32,
}

/// A unit that has no integer result. The coordinator recomputes the unit before it believes this.
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
            FromCoordinator::Refused { text: words, .. } | FromCoordinator::Finished { text: words } => {
                text("the text", words)
            }
            FromCoordinator::Assign(assignment) => assignment.check(),
            FromCoordinator::Heartbeat => Ok(()),
        }
    }
}

fn text(what: &'static str, text: &str) -> Result<(), DecodeError> {
    within(what, text.len() as u64, TEXT_BYTES_MAX as u64)
}
