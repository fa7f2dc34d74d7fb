//! Judges by a newcomer's first message whether it can help. Does no I/O.

use std::fmt::Display;

use model::Arithmetic;
use protocol::PROTOCOL_VERSION;
use protocol::frame::hello_version;
use protocol::message::{Hello, Refusal};

use engine::decoder::{Misbehavior, read_hello};

/// The conditions that a volunteer must meet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// The run's arithmetic.
    pub(super) arithmetic: Arithmetic,
    /// The known answer in that arithmetic.
    pub(super) known_answer: [u8; 32],
}

/// Why a newcomer is refused: a reason for its program, and a sentence for a person.
pub(super) type Objection = (Refusal, String);

/// Reads and judges the first message of a session.
pub(super) fn judge(frame: &[u8], terms: &Terms) -> Result<Hello, Objection> {
    // The hello of a later version may not decode, but always tells its version.
    if let Some(version) = hello_version(frame).filter(|version| *version != PROTOCOL_VERSION) {
        return Err((
            Refusal::OtherVersion,
            format!(
                "The coordinator speaks version {PROTOCOL_VERSION} of the protocol, this volunteer version \
                 {version}. Reload the page, or run the same release of Shoal on both sides."
            ),
        ));
    }
    let hello = read_hello(frame).map_err(misbehaved)?;
    if hello.arithmetic != terms.arithmetic {
        return Err((
            Refusal::OtherArithmetic,
            format!(
                "This run uses {} arithmetic, but the volunteer runs the {} worker. Reload the page.",
                terms.arithmetic, hello.arithmetic
            ),
        ));
    }
    if hello.known_answer != terms.known_answer {
        return Err((
            Refusal::OtherBits,
            format!(
                "This machine's {} arithmetic does not give the same bits as the coordinator's, so the \
                 coordinator cannot use its results. Try another browser.",
                terms.arithmetic
            ),
        ));
    }
    Ok(hello)
}

/// The objection to a message that no honest volunteer sends.
pub(super) fn misbehaved(misbehavior: Misbehavior) -> Objection {
    sent_away(misbehavior)
}

/// The objection to `offense`, which a volunteer sent and no honest one sends.
pub(super) fn sent_away(offense: impl Display) -> Objection {
    (Refusal::Misbehaved, format!("The coordinator dismissed this volunteer: it sent {offense}."))
}

#[cfg(test)]
mod tests {
    use protocol::message::{FromVolunteer, Ready};

    use super::*;

    const TERMS: Terms = Terms { arithmetic: Arithmetic::Portable, known_answer: [7; 32] };

    fn hello() -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            arithmetic: Arithmetic::Portable,
            known_answer: [7; 32],
            cores: 4,
            fused_capable: true,
            agent: "a test".into(),
            token: [5; 16],
        }
    }

    fn refusal(hello: Hello) -> Refusal {
        judge(&FromVolunteer::Hello(hello).encode(), &TERMS).expect_err("a refusal").0
    }

    #[test]
    fn who_can_help_is_taken() {
        assert_eq!(judge(&FromVolunteer::Hello(hello()).encode(), &TERMS), Ok(hello()));
    }

    #[test]
    fn who_cannot_help_is_told_why() {
        assert_eq!(refusal(Hello { protocol: PROTOCOL_VERSION + 1, ..hello() }), Refusal::OtherVersion);
        assert_eq!(refusal(Hello { arithmetic: Arithmetic::Fused, ..hello() }), Refusal::OtherArithmetic);
        assert_eq!(refusal(Hello { known_answer: [8; 32], ..hello() }), Refusal::OtherBits);
        let ready = FromVolunteer::Ready(Ready { training_shards: Vec::new() }).encode();
        assert_eq!(judge(&ready, &TERMS).unwrap_err().0, Refusal::Misbehaved);
        assert_eq!(judge(&[9, 9, 9], &TERMS).unwrap_err().0, Refusal::Misbehaved);
        assert_eq!(judge(&[], &TERMS).unwrap_err().0, Refusal::Misbehaved);
    }

    #[test]
    fn a_hello_of_another_version_is_known_even_if_the_rest_is_foreign() {
        let mut bytes = FromVolunteer::Hello(Hello { protocol: 300, ..hello() }).encode();
        bytes.truncate(5);
        bytes.extend([0xff; 9]);
        let (reason, text) = judge(&bytes, &TERMS).unwrap_err();
        assert_eq!(reason, Refusal::OtherVersion);
        assert!(text.contains("300"), "{text}");
    }
}
