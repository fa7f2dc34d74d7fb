//! exp, ln, tanh and sigmoid in plain multiplications, additions and divisions.
//!
//! The platform's own functions differ from machine to machine. These use only operations that IEEE 754
//! defines to the last bit and never a fused multiply-add, in either arithmetic, so they give the same bits
//! everywhere. They are total: NaN in, NaN out; infinities and subnormals are handled. They have no branches
//! that stop a compiler from vectorizing a loop (except `ln`, which is needed once per example).
//!
//! Largest errors against 64-bit results, over a dense sweep of all magnitudes, in units in the last place:
//! `exp` 1.0, `ln` 0.51, `sigmoid` 2.2, `tanh` 2.3.

/// 1.5 * 2^23: adding it to a number of magnitude below 2^22 rounds that number to an integer, ties to even,
/// and leaves the integer in the lowest bits.
const SHIFT: f32 = 12_582_912.0;

/// ln 2 = LN2_HIGH + LN2_LOW. LN2_HIGH has 15 significant bits, so that its products with |n| < 512 are
/// exact.
const LN2_HIGH: f32 = 22_713.0 / 32_768.0;
const LN2_LOW: f32 = (std::f64::consts::LN_2 - 22_713.0 / 32_768.0) as f32;

/// e^x.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Beyond 105, the result is infinity or 0 anyway.
    let (n, r) = reduce(at_most(x.abs(), 105.0).copysign(x));
    // The scale is applied in two steps, because 2^n may be subnormal or too large where the result is not.
    let half = n >> 1;
    (1.0 + expm1_reduced(r)) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    // Uses e^-|x|, which cannot overflow and keeps the precision of small results.
    let e = exp(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

/// The hyperbolic tangent, (e^2x - 1) / (e^2x + 1).
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    // At 10, the result has long been 1.
    let (n, r) = reduce(2.0 * at_most(x.abs(), 10.0));
    // e^y - 1 = 2^n (e^r - 1) + (2^n - 1), which keeps all its precision near 0.
    let scale = power_of_two(n);
    let t = scale * expm1_reduced(r) + (scale - 1.0);
    (t / (t + 2.0)).copysign(x)
}

/// The natural logarithm: -infinity at 0, NaN below.
pub(crate) fn ln(x: f32) -> f32 {
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    if x < 0.0 || x.is_nan() {
        return f32::NAN;
    }
    if x == f32::INFINITY {
        return x;
    }
    // In 64 bits every f32 is normal. x = m * 2^n with m in sqrt(1/2) .. sqrt(2); ln m = 2 artanh((m - 1) /
    // (m + 1)).
    let bits = f64::from(x).to_bits();
    let above = (bits & 0xf_ffff_ffff_ffff) > 0x6_a09e_667f_3bcc;
    let n = (bits >> 52) as i64 - 1023 + i64::from(above);
    let m = f64::from_bits((bits & 0xf_ffff_ffff_ffff) | if above { 0x3fe << 52 } else { 0x3ff << 52 });
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    // |s| < 0.1716, so the first term left out of artanh's series is below 6e-12 of the whole.
    let mut series = 0.0;
    for denominator in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series * q + 1.0 / denominator;
    }
    (n as f64 * std::f64::consts::LN_2 + 2.0 * s * series) as f32
}

/// The smaller of two numbers that are not negative; NaN if the first is.
///
/// Such numbers order as their bits do. Comparing the bits also keeps a compiler with relaxed SIMD from using
/// a relaxed minimum, which may lose a NaN.
#[inline(always)]
fn at_most(x: f32, limit: f32) -> f32 {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    let (bits, limit) = (x.to_bits(), limit.to_bits());
    f32::from_bits(if bits > limit && bits <= INFINITY { limit } else { bits })
}

/// `max(x, 0)`, but NaN for NaN.
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    // The bits of every negative number, from -0 to minus infinity. See `at_most` for why bits.
    const NEGATIVE: std::ops::RangeInclusive<u32> = (-0.0f32).to_bits()..=f32::NEG_INFINITY.to_bits();
    f32::from_bits(if NEGATIVE.contains(&x.to_bits()) { 0 } else { x.to_bits() })
}

/// The integer n and the rest r, about -0.35 .. 0.35, of x = n ln 2 + r, for |x| up to 105.
#[inline(always)]
fn reduce(x: f32) -> (i32, f32) {
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    // For NaN n is arbitrary and r is NaN.
    ((shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32), r)
}

/// e^r - 1 for |r| below 0.35 by its Taylor series; the first term left out is below 2e-8 of the whole.
#[inline(always)]
fn expm1_reduced(r: f32) -> f32 {
    let tail =
        0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)))));
    r + r * r * tail
}

/// 2^n for n in -126 ..= 127. Any other n gives an arbitrary number, which is then not used.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 509th `f32` of both signs, and the special values: magnitudes from subnormal to infinite.
    fn sweep() -> impl Iterator<Item = f32> {
        let special = [0.0, 1.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX, f32::INFINITY];
        (0..0x7f80_0000u32).step_by(509).map(f32::from_bits).chain(special).flat_map(|x| [x, -x])
    }

    /// The largest error of `function` over the sweep, in units in the last place of the exact result, which
    /// `exact` gives in 64 bits. A result must be infinite exactly where the rounded exact result is.
    fn largest_error(function: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let mut largest = 0.0f64;
        for x in sweep() {
            let (got, want) = (function(x), exact(f64::from(x)));
            if want.is_nan() || (want as f32).is_infinite() {
                assert!(
                    got == want as f32 || (got.is_nan() && want.is_nan()),
                    "{got} instead of {want} at {x:e}"
                );
                continue;
            }
            let exponent = (want.abs().to_bits() >> 52) as i32 - 1023;
            let unit = f64::from(exponent.max(-126) - 23).exp2();
            let error = (f64::from(got) - want).abs() / unit;
            assert!(error < 100.0, "{got:e} instead of {want:e} at {x:e}");
            largest = largest.max(error);
        }
        largest
    }

    #[test]
    fn errors_are_as_documented() {
        let errors = [
            largest_error(exp, f64::exp),
            largest_error(ln, f64::ln),
            largest_error(sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
            largest_error(tanh, f64::tanh),
        ];
        let documented = [1.0, 0.51, 2.2, 2.3];
        for (error, documented) in errors.iter().zip(documented) {
            assert!(*error <= documented, "{errors:?} against {documented:?}");
        }
    }

    #[test]
    fn nan_stays_nan() {
        for function in [exp, ln, sigmoid, tanh] {
            for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)] {
                assert!(function(nan).is_nan());
            }
        }
    }

    #[test]
    fn tanh_is_odd_and_keeps_the_sign_of_zero() {
        for x in sweep() {
            assert_eq!(tanh(-x).to_bits(), (-tanh(x)).to_bits());
        }
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
    }
}
