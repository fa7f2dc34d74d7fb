//! An invitation for phones: the page's address as a QR code.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::report::progress::Link;

/// The first link that does not lead to a loopback address.
pub(super) fn link(links: &[Link]) -> Option<&Link> {
    links.iter().find(|link| link.address.is_none_or(|address| !address.ip().is_loopback()))
}

/// The text as a QR code of half blocks. It is black on white whatever the terminal's colors, because most
/// cameras cannot read an inverted code.
pub(super) fn qr_code(text: &str) -> Option<String> {
    const BLACK_ON_WHITE: &str = "\u{1b}[38;5;16;48;5;231m";
    const RESET: &str = "\u{1b}[0m";
    let picture = QrCode::new(text).ok()?.render::<Dense1x2>().quiet_zone(true).build();
    let lines: Vec<String> = picture.lines().map(|line| format!("  {BLACK_ON_WHITE}{line}{RESET}")).collect();
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::progress::Page;

    #[test]
    fn a_phone_is_not_sent_to_itself() {
        let links = ["127.0.0.1:8080", "192.168.1.20:8080"]
            .map(|address| Link::new(&Page::at(address.parse().unwrap(), false), None));
        assert_eq!(link(&links), Some(&links[1]));
        assert_eq!(link(&links[..1]), None);
    }
}
