//! Decimal numbers that keep all their digits, the way PostgreSQL's `numeric` does.

use std::{cmp::Ordering, fmt};

/// Most significant digits of a number.
pub const MAX_DIGITS: usize = 40;
/// Most digits before the point, where those of `double precision` end too: readers of JSON refuse what is beyond. An exponent can make a
/// number long that has few digits.
pub const MAX_WHOLE: i64 = 309;
/// Most digits after the point.
pub const MAX_SCALE: i64 = 400;
/// Groups of four digits that [`MAX_DIGITS`] can touch.
const GROUPS: usize = 11;

/// A decimal number without heap memory: groups of four digits, as PostgreSQL keeps and sends them.
#[derive(Debug, Clone, Copy)]
pub struct Numeric {
    negative: bool,
    /// Digits after the point that are written, zeros at the end too.
    scale: u16,
    /// The first group counts `10000^weight`.
    weight: i16,
    len: u8,
    groups: [u16; GROUPS],
}

/// Why a text is not a [`Numeric`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumericError {
    /// It does not say a number.
    Malformed,
    /// It says one that has too many digits.
    OutOfRange,
}

impl Numeric {
    /// Reads an XSD decimal, with an exponent or without, whose fraction follows `decimal`.
    pub fn parse(text: &str, decimal: char) -> Result<Self, NumericError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let mut digits = Digits::default();
        let fraction = digits.take(rest, false);
        let rest = match fraction.strip_prefix(decimal) {
            Some(fraction) => digits.take(fraction, true),
            None => fraction,
        };
        if !digits.any {
            return Err(NumericError::Malformed);
        }
        let exponent = exponent(rest)?;
        if digits.too_many {
            return Err(NumericError::OutOfRange);
        }
        digits.number(negative, exponent)
    }

    /// The number as an integer; `None`: it has a fraction. Beyond 64 bits is an error.
    pub fn to_i64(self) -> Result<Option<i64>, NumericError> {
        let whole = usize::try_from(i32::from(self.weight) + 1).unwrap_or(0);
        if self.groups().iter().skip(whole).any(|group| *group != 0) {
            return Ok(None);
        }
        // Five groups hold 64 bits.
        if self.len > 0 && self.weight > 4 {
            return Err(NumericError::OutOfRange);
        }
        let groups = (0..whole).map(|place| self.groups().get(place).copied().unwrap_or(0));
        let number = groups.fold(0_i128, |number, group| number * 10_000 + i128::from(group));
        let number = if self.negative { -number } else { number };
        i64::try_from(number).map(Some).map_err(|_| NumericError::OutOfRange)
    }

    /// The nearest floating-point number.
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.negative
    }

    /// The exponent of the first group, to the base of 10,000.
    pub fn weight(self) -> i16 {
        self.weight
    }

    /// How many digits are written after the point.
    pub fn scale(self) -> u16 {
        self.scale
    }

    /// Groups of four digits, the greatest first; none at all is zero.
    pub fn groups(&self) -> &[u16] {
        &self.groups[..usize::from(self.len)]
    }
}

impl From<i64> for Numeric {
    fn from(number: i64) -> Self {
        let mut digits = Digits::default();
        let mut text = [0; 20];
        let mut rest = number.unsigned_abs();
        let mut start = text.len();
        while rest > 0 {
            start -= 1;
            text[start] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        for digit in &text[start..] {
            digits.push(digit - b'0', false);
        }
        // Twenty digits are always in range.
        digits.number(number < 0, 0).unwrap_or(ZERO)
    }
}

const ZERO: Numeric = Numeric { negative: false, scale: 0, weight: 0, len: 0, groups: [0; GROUPS] };

/// The digits of a number while they are read.
#[derive(Debug)]
struct Digits {
    any: bool,
    too_many: bool,
    significant: [u8; MAX_DIGITS],
    len: usize,
    /// Zeros of the whole part that found no place any more: they are no matter unless another digit follows.
    zeros: bool,
    /// The number is `0.` and the significant digits, times ten to the power of this.
    point: i64,
    scale: i64,
}

impl Default for Digits {
    fn default() -> Self {
        Self {
            any: false,
            too_many: false,
            significant: [0; MAX_DIGITS],
            len: 0,
            zeros: false,
            point: 0,
            scale: 0,
        }
    }
}

impl Digits {
    /// Takes the digits at the beginning of the text and gives what follows them.
    fn take<'a>(&mut self, text: &'a str, fraction: bool) -> &'a str {
        let digits = text.bytes().take_while(u8::is_ascii_digit);
        let mut len = 0;
        for digit in digits {
            self.push(digit - b'0', fraction);
            len += 1;
        }
        self.any |= len > 0;
        &text[len..]
    }

    fn push(&mut self, digit: u8, fraction: bool) {
        self.scale += i64::from(fraction);
        if self.len == 0 && digit == 0 {
            self.point -= i64::from(fraction);
            return;
        }
        self.point += i64::from(!fraction);
        if self.len < MAX_DIGITS {
            self.significant[self.len] = digit;
            self.len += 1;
        } else if digit == 0 && !fraction {
            self.zeros = true;
        } else {
            self.too_many = true;
        }
    }

    fn number(&self, negative: bool, exponent: i64) -> Result<Numeric, NumericError> {
        let scale = (self.scale - exponent).max(0);
        let point = self.point + exponent;
        if scale > MAX_SCALE || (self.len > 0 && !(-MAX_SCALE..=MAX_WHOLE).contains(&point)) {
            return Err(NumericError::OutOfRange);
        }
        let scale = u16::try_from(scale).map_err(|_| NumericError::OutOfRange)?;
        if self.len == 0 {
            return Ok(Numeric { scale, ..ZERO });
        }
        let weight = (point - 1).div_euclid(4);
        let mut number = Numeric {
            negative,
            scale,
            weight: i16::try_from(weight).map_err(|_| NumericError::OutOfRange)?,
            len: 0,
            groups: [0; GROUPS],
        };
        for (place, digit) in (0_i64..).zip(&self.significant[..self.len]) {
            let power = point - 1 - place;
            let group = usize::try_from(weight - power.div_euclid(4)).unwrap_or(0);
            let factor = [1, 10, 100, 1000][usize::try_from(power.rem_euclid(4)).unwrap_or(0)];
            number.groups[group] += u16::from(*digit) * factor;
            if *digit != 0 {
                number.len = u8::try_from(group + 1).unwrap_or(u8::MAX);
            }
        }
        if point == MAX_WHOLE && number.to_f64().is_infinite() {
            return Err(NumericError::OutOfRange);
        }
        Ok(number)
    }
}

/// The exponent that a number ends with. One that is too long to be of use is the greatest or the least.
fn exponent(text: &str) -> Result<i64, NumericError> {
    let Some(text) = text.strip_prefix(['e', 'E']) else {
        return if text.is_empty() { Ok(0) } else { Err(NumericError::Malformed) };
    };
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NumericError::Malformed);
    }
    let most = i64::from(u32::MAX);
    let number =
        digits.iter().fold(0, |number: i64, digit| (number * 10 + i64::from(digit - b'0')).min(most));
    Ok(if negative { -number } else { number })
}

/// Plain digits: no exponent, and the fraction after a full stop.
impl fmt::Display for Numeric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |weight: i32| {
            let place = usize::try_from(i32::from(self.weight) - weight).ok();
            place.and_then(|place| self.groups().get(place)).copied().unwrap_or(0)
        };
        if self.negative {
            formatter.write_str("-")?;
        }
        let greatest = if self.len == 0 { 0 } else { i32::from(self.weight).max(0) };
        write!(formatter, "{}", group(greatest))?;
        for weight in (0..greatest).rev() {
            write!(formatter, "{:04}", group(weight))?;
        }
        if self.scale == 0 {
            return Ok(());
        }
        formatter.write_str(".")?;
        let mut left = usize::from(self.scale);
        let mut weight = -1;
        while left > 0 {
            let digits = group(weight);
            let shown = left.min(4);
            let cut = digits / [1000, 100, 10, 1][shown - 1];
            write!(formatter, "{cut:0shown$}")?;
            left -= shown;
            weight -= 1;
        }
        Ok(())
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.len, number.negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        let (own, others) = (sign(self), sign(other));
        if own != others || own == 0 {
            return own.cmp(&others);
        }
        // Groups at the end are never zero, so that a number that begins as another and is longer is further from zero.
        let size = self.weight.cmp(&other.weight).then_with(|| self.groups().cmp(other.groups()));
        if own < 0 { size.reverse() } else { size }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By value: `1.50` is `1.5`.
impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(number: &str) -> String {
        Numeric::parse(number, '.').map_or_else(|error| format!("{error:?}"), |number| number.to_string())
    }

    #[test]
    fn a_number_keeps_its_digits() {
        for (given, expected) in [
            ("0", "0"),
            ("-0.0", "0.0"),
            ("+1.50", "1.50"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-12345678.000100", "-12345678.000100"),
            ("1e5", "100000"),
            ("1.50e1", "15.0"),
            ("12e-3", "0.012"),
            ("1E-9", "0.000000001"),
            ("0e99999999999999999999", "0"),
            ("1234567890123456789012345678901234567890", "1234567890123456789012345678901234567890"),
            ("0.1234567890123456789012345678901234567890", "0.1234567890123456789012345678901234567890"),
            ("12345678901234567890123456789012345678901", "OutOfRange"),
            ("0.12345678901234567890123456789012345678901", "OutOfRange"),
            ("1e999999999", "OutOfRange"),
            ("1e-999999999", "OutOfRange"),
            ("1e99999999999999999999999999", "OutOfRange"),
            ("", "Malformed"),
            (".", "Malformed"),
            ("-", "Malformed"),
            ("e5", "Malformed"),
            ("1e", "Malformed"),
            ("1e+", "Malformed"),
            ("1,5", "Malformed"),
            ("--1", "Malformed"),
            ("NaN", "Malformed"),
            ("Infinity", "Malformed"),
            ("0x10", "Malformed"),
            ("1 ", "Malformed"),
            ("١", "Malformed"),
        ] {
            assert_eq!(text(given), expected, "{given}");
        }
        assert_eq!(text(&text("1e308")), text("1e308"));
        assert_eq!(text("1e-400").len(), 402);
        assert_eq!(
            (&*text("2e308"), &*text("1e309"), &*text("1e-401")),
            ("OutOfRange", "OutOfRange", "OutOfRange")
        );
        assert_eq!(Numeric::parse("1,5", ',').map(|number| number.to_string()), Ok("1.5".to_owned()));
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let numbers =
            ["-10000.1", "-10000", "-1", "-0.001", "0", "0.00009", "0.5", "1", "1.0001", "1e4", "1e39"];
        let numbers: Vec<_> =
            numbers.iter().map(|text| Numeric::parse(text, '.').expect("a number")).collect();
        assert!(numbers.is_sorted_by(|left, right| left < right));
        assert_eq!(Numeric::parse("1.50", '.'), Numeric::parse("1.5", '.'));
    }

    #[test]
    fn whole_numbers_are_integers() {
        let whole = |text| Numeric::parse(text, '.').and_then(Numeric::to_i64);
        assert_eq!(whole("5.0"), Ok(Some(5)));
        assert_eq!(whole("-9223372036854775808"), Ok(Some(i64::MIN)));
        assert_eq!(whole("9223372036854775808"), Err(NumericError::OutOfRange));
        assert_eq!(whole("1e30"), Err(NumericError::OutOfRange));
        assert_eq!(whole("0.00"), Ok(Some(0)));
        assert_eq!(whole("1e-5"), Ok(None));
        assert_eq!(whole("10000.5"), Ok(None));
    }

    proptest! {
        #[test]
        fn an_integer_is_the_number_its_text_is(number: i64) {
            let numeric = Numeric::from(number);
            prop_assert_eq!(numeric.to_string(), number.to_string());
            prop_assert_eq!(numeric.to_i64(), Ok(Some(number)));
        }

        #[test]
        fn plain_digits_come_back(text in "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,20})?") {
            let expected = if text.bytes().all(|byte| matches!(byte, b'-' | b'.' | b'0')) {
                text.trim_start_matches('-')
            } else {
                &text
            };
            prop_assert_eq!(super::tests::text(&text), expected);
        }

        #[test]
        fn order_is_that_of_the_values(left in -1_000_000_000_i64..1_000_000_000, right: i32, scale in 0_u32..8) {
            let decimal = |number: i64| Numeric::parse(&format!("{number}e-{scale}"), '.').expect("a number");
            prop_assert_eq!(decimal(left).cmp(&decimal(right.into())), left.cmp(&right.into()));
        }
    }
}
