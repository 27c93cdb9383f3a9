//! Unpacking.

use chrono::NaiveDate;

use super::MAX_TEXTS;
use crate::db::{DbError, days};

/// A packed column, to be read row by row. What is not packed as it should be is an error, never a panic.
#[derive(Debug, Clone)]
pub struct Packed<'a> {
    rest: &'a [u8],
    last: i64,
}

impl<'a> Packed<'a> {
    /// A column without texts.
    pub fn new(column: &'a [u8]) -> Self {
        Self { rest: column, last: 0 }
    }

    /// The next number.
    #[inline]
    pub fn integer(&mut self) -> Result<i64, DbError> {
        let zigzag = self.varint()?;
        let difference = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        self.last = self.last.wrapping_add(difference);
        Ok(self.last)
    }

    /// The next day.
    pub fn date(&mut self) -> Result<NaiveDate, DbError> {
        days::day(self.integer()?).ok_or_else(|| malformed("there is no such day"))
    }

    /// The month of the next day, 1 to 12.
    pub fn month(&mut self) -> Result<u32, DbError> {
        days::month(self.integer()?).ok_or_else(|| malformed("there is no such day"))
    }

    /// How many numbers the next list has; they come next, one by one.
    #[inline]
    pub fn length(&mut self) -> Result<usize, DbError> {
        usize::try_from(self.varint()?).map_err(|_| malformed("a length is too great"))
    }

    /// Leaves out so many numbers. Those that come after them, which are differences, cannot be read any more.
    pub fn skip(&mut self, numbers: usize) -> Result<(), DbError> {
        for _ in 0..numbers {
            self.varint()?;
        }
        Ok(())
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, DbError> {
        if let Some((byte @ ..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        let mut number = 0;
        for (place, byte) in self.rest.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[place + 1..];
                return Ok(number);
            }
        }
        Err(malformed("a number has no end"))
    }
}

/// A packed column of texts.
#[derive(Debug, Clone)]
pub struct PackedTexts<'a> {
    texts: Vec<&'a str>,
    places: Packed<'a>,
}

impl<'a> PackedTexts<'a> {
    /// Reads the different texts.
    pub fn new(column: &'a [u8]) -> Result<Self, DbError> {
        let mut packed = Packed::new(column);
        let count = packed.length()?;
        let mut texts = Vec::with_capacity(count.min(MAX_TEXTS));
        for _ in 0..count {
            let length = packed.length()?;
            let (text, rest) =
                packed.rest.split_at_checked(length).ok_or_else(|| malformed("a text is too short"))?;
            texts.push(std::str::from_utf8(text).map_err(|_| malformed("a text is not UTF-8"))?);
            packed.rest = rest;
        }
        Ok(Self { texts, places: packed })
    }

    /// The different texts.
    pub fn texts(&self) -> &[&'a str] {
        &self.texts
    }

    /// The next row's place among the texts; `None` for null.
    #[inline]
    pub fn place(&mut self) -> Result<Option<usize>, DbError> {
        let place = self.places.length()?.checked_sub(1);
        if place.is_some_and(|place| place >= self.texts.len()) {
            return Err(malformed("there is no such text"));
        }
        Ok(place)
    }

    /// The same in a column where every row has a text.
    pub fn present_place(&mut self) -> Result<usize, DbError> {
        self.place()?.ok_or_else(|| malformed("a text is null"))
    }
}

fn malformed(what: &'static str) -> DbError {
    DbError::during("reading a segment")(sqlx::Error::Decode(what.into()))
}
