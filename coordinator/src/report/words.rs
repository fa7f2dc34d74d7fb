//! Numbers as people read them.

/// `102,346`.
pub(crate) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 volunteer`, `3 volunteers`, `3 classes`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let plural = match number {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{plural}", count(number))
}

/// `8.3 s`, `2 min 10 s`, `3 h 05 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 59.95 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let whole = seconds.round() as u64;
    match whole / 3600 {
        0 => format!("{} min {:02} s", whole / 60, whole % 60),
        hours => format!("{hours} h {:02} min", whole / 60 % 60),
    }
}

/// The beginning of a text, at most so many characters of it, without characters that [steer](steers) what is shown.
pub(crate) fn bounded(text: &str, characters: usize) -> String {
    text.chars().take(characters).map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether a character is no letter but a command: a control character, or one that turns the direction of writing for
/// all that follows, by which a name could have the text after it read backwards.
pub(crate) fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `97.61 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Four significant digits, whatever the size: `0.07981`, `2.303`, `1.2e-7`.
pub(crate) fn loss(loss: f64) -> String {
    match loss.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-4..1e5).contains(&size) => format!("{loss:.3e}"),
        size => {
            let decimals = (3.0 - size.log10().floor()).clamp(0.0, 7.0) as usize;
            format!("{loss:.decimals$}")
        }
    }
}

/// Six significant digits, without zeros at the end: `0.25`, `1234568`.
pub(crate) fn brief(value: f64) -> String {
    const DIGITS: i32 = 6;
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let places = (DIGITS - 1 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `850`, `18.2 k`, `3.4 M`: examples a second.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate < 999.5 => format!("{rate:.0}"),
        rate if rate < 999_500.0 => format!("{:.1} k", rate / 1e3),
        rate => format!("{:.1} M", rate / 1e6),
    }
}

/// `850`, `18.2 k`, `3.4 M`, `1.2 G`.
pub(crate) fn large(number: u64) -> String {
    scaled(number as f64, ["", " k", " M", " G", " T"])
}

/// `850 B`, `18.2 KB`, `3.4 MB`, `1.2 GB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number as f64, [" B", " KB", " MB", " GB", " TB"])
}

/// The number in the largest fitting unit, with one decimal in all units but the first.
fn scaled(number: f64, units: [&str; 5]) -> String {
    if number < 999.5 {
        return format!("{number:.0}{}", units[0]);
    }
    let (mut scaled, mut unit) = (number / 1e3, 1);
    while scaled >= 999.95 && unit + 1 < units.len() {
        scaled /= 1e3;
        unit += 1;
    }
    format!("{scaled:.1}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_command_nothing() {
        assert_eq!(bounded("a\u{202e}gpj.exe\n and more", 9), "a\u{fffd}gpj.exe");
        assert_eq!(
            bounded("\u{5e9}\u{200f} \u{1f469}\u{200d}\u{1f393}", 9),
            "\u{5e9}\u{200f} \u{1f469}\u{200d}\u{1f393}"
        );
        assert_eq!(bounded("\u{2067}x\u{7}", 9), "\u{fffd}x\u{fffd}");
    }

    #[test]
    fn numbers_are_brief() {
        for (value, text) in
            [(0.0, "0"), (1_234_567.8, "1234568"), (0.000_123_456_78, "0.000123457"), (-2.5, "-2.5")]
        {
            assert_eq!(brief(value), text);
        }
    }

    #[test]
    fn sizes_read_naturally() {
        let large_numbers = [0, 999, 1000, 18_249, 999_949, 999_950, 3_400_000, 5_000_000_000_000_000];
        let words = large_numbers.map(large);
        assert_eq!(words, ["0", "999", "1.0 k", "18.2 k", "999.9 k", "1.0 M", "3.4 M", "5000.0 T"]);
        assert_eq!([850, 18_249].map(bytes), ["850 B", "18.2 KB"]);
    }

    #[test]
    fn numbers_read_naturally() {
        assert_eq!(count(7), "7");
        assert_eq!(count(999), "999");
        assert_eq!(count(101_770), "101,770");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "volunteer"), "1 volunteer");
        assert_eq!(counted(0, "volunteer"), "0 volunteers");
        assert_eq!(counted(2, "class"), "2 classes");
        assert_eq!(duration(8.26), "8.3 s");
        assert_eq!(duration(59.97), "1 min 00 s");
        assert_eq!(duration(130.4), "2 min 10 s");
        assert_eq!(duration(11_100.0), "3 h 05 min");
        assert_eq!(percent(0.97614), "97.61 %");
        assert_eq!(loss(2.567_89), "2.568");
        assert_eq!(loss(0.079_812_3), "0.07981");
        assert_eq!(loss(1.2e-7), "1.200e-7");
        assert_eq!(loss(123.456), "123.5");
        assert_eq!(loss(f64::NAN), "NaN");
        assert_eq!(loss(f64::INFINITY), "inf");
        assert_eq!(rate(850.2), "850");
        assert_eq!(rate(18_230.0), "18.2 k");
        assert_eq!(rate(3_400_000.0), "3.4 M");
    }
}
