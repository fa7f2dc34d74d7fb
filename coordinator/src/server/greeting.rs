//! Whether a newcomer can help, judged by its first message, without I/O.

use model::Arithmetic;
use protocol::PROTOCOL_VERSION;
use protocol::frame::{UpwardFrame, decode_upward};
use protocol::message::{FromVolunteer, Hello, Ready, Refusal};

/// What a volunteer must bring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// The run's arithmetic.
    pub(super) arithmetic: Arithmetic,
    /// The known answer in that arithmetic.
    pub(super) known_answer: [u8; 32],
}

/// Why a newcomer is turned away: for its program, and in a sentence for a person.
pub(super) type Objection = (Refusal, String);

/// Reads and judges the first message of a session.
pub(super) fn judge(frame: &[u8], terms: &Terms) -> Result<Hello, Objection> {
    let decoded = decode_upward(frame);
    // A later version's hello may not decode, but says its version.
    if let Some(version) = version_of(frame).filter(|version| *version != PROTOCOL_VERSION) {
        return Err((
            Refusal::OtherVersion,
            format!(
                "The coordinator speaks version {PROTOCOL_VERSION} of the protocol, this volunteer version \
                 {version}: reload the page, or run the same release of Shoal on both sides."
            ),
        ));
    }
    let hello = match decoded {
        Ok(UpwardFrame::Message(FromVolunteer::Hello(hello))) => hello,
        Ok(_) => return Err(misbehaved("The first message was not a hello.")),
        Err(error) => return Err(misbehaved(format!("The first message could not be read: {error}."))),
    };
    if hello.arithmetic != terms.arithmetic {
        return Err((
            Refusal::OtherArithmetic,
            format!(
                "This run uses {} arithmetic, and the volunteer came with {}: reload the page.",
                terms.arithmetic, hello.arithmetic
            ),
        ));
    }
    if hello.known_answer != terms.known_answer {
        return Err((
            Refusal::OtherBits,
            format!(
                "This machine's {} arithmetic does not give the same bits as the coordinator's, so its \
                 results could not be used. Another browser may do better.",
                terms.arithmetic
            ),
        ));
    }
    Ok(hello)
}

/// Reads the answer to the welcome: the shards of the training set that the volunteer holds, in order and
/// each once.
pub(super) fn judge_ready(frame: &[u8], training_shards: usize) -> Result<Vec<u32>, Objection> {
    let Ready { training_shards: mut held } = match decode_upward(frame) {
        Ok(UpwardFrame::Message(FromVolunteer::Ready(ready))) => ready,
        Ok(_) => return Err(misbehaved("The welcome was not answered with ready.")),
        Err(error) => return Err(misbehaved(format!("A message could not be read: {error}."))),
    };
    if held.iter().any(|shard| *shard as usize >= training_shards) {
        return Err(misbehaved("The volunteer claims to hold a shard that the run does not have."));
    }
    held.sort_unstable();
    held.dedup();
    Ok(held)
}

/// An objection to something that no honest volunteer sends.
pub(super) fn misbehaved(text: impl Into<String>) -> Objection {
    (Refusal::Misbehaved, text.into())
}

/// The protocol version that a hello begins with, whatever follows it: the kind of frame, the number of
/// the variant and the version have kept their places in every version.
fn version_of(frame: &[u8]) -> Option<u16> {
    const KIND_CONTROL: u8 = 1;
    const VARIANT_HELLO: u32 = 0;
    match postcard::take_from_bytes::<(u8, u32, u16)>(frame) {
        Ok(((KIND_CONTROL, VARIANT_HELLO, version), _)) => Some(version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn held_shards_are_listed_once_and_must_exist() {
        let ready = |held: &[u32]| FromVolunteer::Ready(Ready { training_shards: held.to_vec() }).encode();
        assert_eq!(judge_ready(&ready(&[4, 0, 4]), 5), Ok(vec![0, 4]));
        assert_eq!(judge_ready(&ready(&[5]), 5).unwrap_err().0, Refusal::Misbehaved);
    }
}
