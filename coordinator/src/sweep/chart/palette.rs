//! Colors, each twice: for a light page and for a dark one.
//!
//! A search found the colors of the lines. Each stands out from the background (contrast at least 3 to 1).
//! Any two also differ for readers who do not see red or green (distance in Oklab after simulating protanopia
//! and deuteranopia, Machado et al. 2009, at least 10 of 100).

use plotters::style::RGBColor;

/// A color on a light page and on a dark one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Swatch {
    /// The color on a light page, as drawn.
    pub(super) light: RGBColor,
    /// The color that replaces it on a dark page.
    dark: RGBColor,
}

const fn swatch(light: u32, dark: u32) -> Swatch {
    const fn rgb(hex: u32) -> RGBColor {
        RGBColor((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
    }
    Swatch { light: rgb(light), dark: rgb(dark) }
}

pub(super) const BACKGROUND: Swatch = swatch(0xFFFFFF, 0x0D1117);
pub(super) const TEXT: Swatch = swatch(0x24292F, 0xE2E8EE);
pub(super) const QUIET_TEXT: Swatch = swatch(0x59636E, 0x9198A1);
pub(super) const GRID: Swatch = swatch(0xE4E8EC, 0x272E36);
pub(super) const AXIS: Swatch = swatch(0x8C959F, 0x6E7681);

/// The lines, in this order.
pub(super) const SERIES: [Swatch; 8] = [
    swatch(0x3348E8, 0x2564FF),
    swatch(0xF04A18, 0xBF6700),
    swatch(0x659C8B, 0x25FD98),
    swatch(0x662B57, 0xB8209A),
    swatch(0xA97BDE, 0xD9A7FC),
    swatch(0x434D01, 0xD0B60A),
    swatch(0x1F2328, 0xF0F3F6),
    swatch(0x0A6D82, 0x69A0AE),
];

/// A style sheet that replaces the light colors by the dark ones if the reader prefers dark pages. It selects
/// elements by their color, so all light colors must differ.
pub(super) fn style() -> String {
    let mut rules = String::new();
    for Swatch { light, dark } in [BACKGROUND, TEXT, QUIET_TEXT, GRID, AXIS].iter().chain(&SERIES) {
        for attribute in ["fill", "stroke"] {
            rules += &format!("[{attribute}=\"{}\"]{{{attribute}:{}}}", hex(*light), hex(*dark));
        }
    }
    format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>")
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_colors_are_all_different() {
        let all: Vec<String> = [BACKGROUND, TEXT, QUIET_TEXT, GRID, AXIS]
            .iter()
            .chain(&SERIES)
            .map(|color| hex(color.light))
            .collect();
        for (index, color) in all.iter().enumerate() {
            assert!(!all[..index].contains(color), "{color}");
        }
    }
}
