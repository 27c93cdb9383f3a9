//! What comes out of the database in large numbers: rows by COPY, read while they are sent on, in one snapshot.

use async_stream::try_stream;
use bytes::{Buf, Bytes};
use chrono::NaiveDate;
use futures_util::{Stream, StreamExt};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres, pool::PoolConnection, postgres::PgRow};

use super::{Db, DbError, days};
use crate::places::Place;

/// Signature, flags, and the length of an extension that is never there.
const HEADER_BYTES: usize = 19;
/// Dimensions, whether there are nulls, the items' type; then the dimension's length and lower bound.
const ARRAY_HEADER_BYTES: usize = 20;
const LENGTH_BYTES: usize = 4;

/// How PostgreSQL writes dates as text. `to_char` could write any, at a third of the time that all other columns take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// 2001-02-03
    Iso,
    /// 03.02.2001
    German,
}

/// A connection that reads in a snapshot of its own. Dropped before its end, the connection is closed, because the
/// server would go on sending what nobody wants.
#[derive(Debug)]
pub struct Export {
    connection: Option<PoolConnection<Postgres>>,
    place: Option<Place>,
}

impl Export {
    /// Opens the snapshot, and reads the first row of a query in it, of which the caller knows that it is safe.
    ///
    /// What the planner knows of an import is out of date while others are loaded. It would take one for a handful of rows and
    /// join them by nested loops, or for the whole table and read all of it: an index finds an import's rows whatever else there is,
    /// and one after the other in their order, where a bitmap would keep the first until all are sorted.
    /// A client may take its time to read the last rows; a snapshot holds up nobody meanwhile.
    pub async fn begin<T>(db: &Db, query: &str) -> Result<(Self, Option<T>), DbError>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let failed = || DbError::during("opening a snapshot");
        let mut export = Self { connection: Some(db.pool().acquire().await.map_err(failed())?), place: None };
        let statements = format!(
            "begin isolation level repeatable read read only;
             set local enable_nestloop = off; set local enable_seqscan = off; set local enable_bitmapscan = off;
             set local jit = off; set local work_mem = '32MB'; set local idle_in_transaction_session_timeout = 0;
             {query}"
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(statements)).fetch_all(export.connection()?).await;
        let rows = rows.map_err(failed())?;
        let first = rows.first().map(T::from_row).transpose().map_err(failed())?;
        Ok((export, first))
    }

    /// The same, with the place that it takes.
    pub fn holding(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The connection, for questions before the rows.
    pub fn connection(&mut self) -> Result<&mut PgConnection, DbError> {
        self.connection
            .as_deref_mut()
            .ok_or_else(|| DbError::during("reading after the end")(sqlx::Error::WorkerCrashed))
    }

    /// Closes the snapshot and gives the connection back.
    pub async fn end(mut self) -> Result<(), DbError> {
        sqlx::raw_sql("commit")
            .execute(self.connection()?)
            .await
            .map_err(DbError::during("closing a snapshot"))?;
        self.connection = None;
        Ok(())
    }

    /// The rows of a query, of which the caller knows that it is safe. The snapshot ends with them.
    pub fn rows(mut self, query: &str) -> impl Stream<Item = Result<Row, DbError>> + Send + 'static + use<> {
        let query = query.to_owned();
        try_stream! {
            {
                let mut rows = std::pin::pin!(self.read(&query));
                while let Some(row) = rows.next().await {
                    yield row?;
                }
            }
            self.end_soon();
        }
    }

    /// The same within the snapshot, which stays open.
    pub fn read<'s>(
        &'s mut self,
        query: &str,
    ) -> impl Stream<Item = Result<Row, DbError>> + Send + 's + use<'s> {
        let statement = format!("copy ({query}) to stdout (format binary)");
        try_stream! {
            let mut lines = self.copy(&statement).await?;
            let mut first = true;
            while let Some(line) = lines.next().await {
                let mut line = line?;
                // The header comes by itself or before the first row.
                if std::mem::take(&mut first) {
                    line.advance(HEADER_BYTES.min(line.len()));
                }
                let columns = line.get(..2).map_or(-1, |count| i16::from_be_bytes([count[0], count[1]]));
                // No columns: the end.
                if columns >= 0 {
                    line.advance(2);
                    yield Row(line);
                }
            }
        }
    }

    /// The result of a query as CSV with a header, line by line. The snapshot ends with it.
    pub fn csv(
        mut self,
        query: &str,
        dates: Dates,
    ) -> impl Stream<Item = Result<Bytes, DbError>> + Send + 'static + use<> {
        let statement = format!("copy ({query}) to stdout (format csv, header)");
        try_stream! {
            if let Dates::German = dates {
                sqlx::raw_sql("set local datestyle = 'German'")
                    .execute(self.connection()?)
                    .await
                    .map_err(DbError::during("choosing how dates are written"))?;
            }
            {
                let mut lines = self.copy(&statement).await?;
                while let Some(line) = lines.next().await {
                    yield line?;
                }
            }
            self.end_soon();
        }
    }

    /// Ends the snapshot for a reader who has everything: nothing can become of it that would matter to it.
    pub fn end_soon(self) {
        tokio::spawn(self.end());
    }

    async fn copy(
        &mut self,
        statement: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, DbError>> + Send + Unpin + '_, DbError> {
        let failed = || DbError::during("reading rows");
        let lines = self.connection()?.copy_out_raw(statement).await.map_err(failed())?;
        Ok(lines.map(move |line| line.map_err(failed())))
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

/// A row in PostgreSQL's binary COPY format.
#[derive(Debug)]
pub struct Row(Bytes);

impl Row {
    /// Its columns, to be read in their order.
    pub fn columns(&self) -> Columns<'_> {
        Columns { rest: &self.0 }
    }
}

/// The columns of a row that are not read yet.
#[derive(Debug)]
pub struct Columns<'a> {
    rest: &'a [u8],
}

impl<'a> Columns<'a> {
    fn next(&mut self) -> Result<Option<&'a [u8]>, DbError> {
        let (length, rest) = self.rest.split_first_chunk().ok_or_else(|| malformed("a row is too short"))?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.rest = rest;
            return Ok(None);
        };
        let (value, rest) =
            rest.split_at_checked(length).ok_or_else(|| malformed("a column is too short"))?;
        self.rest = rest;
        Ok(Some(value))
    }

    fn fixed<const N: usize>(&mut self) -> Result<Option<[u8; N]>, DbError> {
        let Some(value) = self.next()? else { return Ok(None) };
        value.try_into().map(Some).map_err(|_| malformed("a column has another type"))
    }

    fn present<T>(value: Option<T>) -> Result<T, DbError> {
        value.ok_or_else(|| malformed("a column is null"))
    }

    /// A `bigint`.
    pub fn i64(&mut self) -> Result<i64, DbError> {
        Self::present(self.fixed()?).map(i64::from_be_bytes)
    }

    /// An `integer`.
    pub fn i32(&mut self) -> Result<i32, DbError> {
        Self::present(self.fixed()?).map(i32::from_be_bytes)
    }

    /// A `double precision` that may be null.
    pub fn optional_f64(&mut self) -> Result<Option<f64>, DbError> {
        Ok(self.fixed()?.map(f64::from_be_bytes))
    }

    /// A `date`.
    pub fn date(&mut self) -> Result<NaiveDate, DbError> {
        day(self.i32()?.into())
    }

    /// A `bytea`.
    pub fn bytes(&mut self) -> Result<&'a [u8], DbError> {
        Self::present(self.next()?)
    }

    /// A `text` that may be null.
    pub fn optional_text(&mut self) -> Result<Option<&'a str>, DbError> {
        let Some(value) = self.next()? else { return Ok(None) };
        std::str::from_utf8(value).map(Some).map_err(|_| malformed("a text is not UTF-8"))
    }

    /// A `text`.
    pub fn text(&mut self) -> Result<&'a str, DbError> {
        Self::present(self.optional_text()?)
    }

    /// A `bigint[]` without nulls; null is the empty one.
    pub fn i64s(&mut self) -> Result<Vec<i64>, DbError> {
        self.items(|bytes| Ok(i64::from_be_bytes(bytes)))
    }

    /// A `date[]` without nulls; null is the empty one.
    pub fn dates(&mut self) -> Result<Vec<NaiveDate>, DbError> {
        self.items(|bytes| day(i32::from_be_bytes(bytes).into()))
    }

    /// After the header of an array with one dimension come the items, each after its length.
    fn items<T, const N: usize>(
        &mut self,
        read: impl Fn([u8; N]) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let items = self.next()?.and_then(|array| array.get(ARRAY_HEADER_BYTES..)).unwrap_or_default();
        let mut list = Vec::with_capacity(items.len() / (LENGTH_BYTES + N));
        for item in items.chunks(LENGTH_BYTES + N) {
            let item = item.get(LENGTH_BYTES..).and_then(|item| item.try_into().ok());
            list.push(read(item.ok_or_else(|| malformed("an item has another type"))?)?);
        }
        Ok(list)
    }
}

fn day(number: i64) -> Result<NaiveDate, DbError> {
    days::day(number).ok_or_else(|| malformed("there is no such day"))
}

fn malformed(what: &'static str) -> DbError {
    DbError::during("reading a row")(sqlx::Error::Decode(what.into()))
}
