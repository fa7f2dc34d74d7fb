//! An invitation for phones: the page's address as a QR code.

use std::net::SocketAddr;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// The first address that is not a loopback address.
pub(super) fn address(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    addresses.iter().copied().find(|address| !address.ip().is_loopback())
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

    #[test]
    fn a_phone_is_not_sent_to_itself() {
        let addresses = ["127.0.0.1:8080", "192.168.1.20:8080"].map(|address| address.parse().unwrap());
        assert_eq!(address(&addresses), Some(addresses[1]));
        assert_eq!(address(&addresses[..1]), None);
    }
}
