//! The plain CSV files of an import.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use super::{Db, DbError, imports::Dialect};

/// What a file says of its own fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layout {
    /// The delimiter, where the file states it.
    pub delimiter: Option<u8>,
    /// What is around fields, where that is known to be otherwise than the upload says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<u8>,
    /// How many fields may follow those of the columns, all of them empty.
    pub spare: usize,
    /// The field that has the code of an earlier reject, in a file of rejects.
    pub code: Option<usize>,
}

impl Layout {
    /// How the file is written, which belongs to an import of this dialect.
    pub fn dialect(&self, of_import: &Dialect) -> Dialect {
        let delimiter = self.delimiter.unwrap_or(of_import.delimiter);
        Dialect { delimiter, quote: self.quote.or(of_import.quote), ..of_import.clone() }
    }
}

/// One plain CSV file.
#[derive(Debug, Clone, FromRow)]
pub struct File {
    /// Its place in the import, from 0.
    pub file_no: i32,
    /// Its name in the archive it came from; `None` when the upload itself is the file.
    pub name: Option<String>,
    /// Where its bytes are.
    pub object: String,
    /// Its length.
    pub bytes: i64,
    /// The dataset's column of each field, empty for a field that is left out.
    pub columns: Option<Vec<String>>,
    /// What it says of its own fields.
    #[sqlx(json)]
    pub layout: Layout,
}

/// Adds the files of an import.
pub async fn insert(connection: &mut PgConnection, import_id: i64, files: &[File]) -> Result<(), DbError> {
    for file in files {
        sqlx::query(
            "insert into import_files (import_id, file_no, name, object, bytes) values ($1, $2, $3, $4, $5)",
        )
        .bind(import_id)
        .bind(file.file_no)
        .bind(&file.name)
        .bind(&file.object)
        .bind(file.bytes)
        .execute(&mut *connection)
        .await
        .map_err(DbError::during("adding the files of an import"))?;
    }
    Ok(())
}

/// All files of an import, in order.
pub async fn list(db: &Db, import_id: i64) -> Result<Vec<File>, DbError> {
    sqlx::query_as(
        "select file_no, name, object, bytes, columns, layout from import_files where import_id = $1 order by file_no",
    )
    .bind(import_id)
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("reading the files of an import"))
}

/// Keeps what the fields of a file are.
pub async fn set_fields(
    db: &Db,
    import_id: i64,
    file_no: i32,
    columns: &[String],
    layout: &Layout,
) -> Result<(), DbError> {
    sqlx::query("update import_files set columns = $3, layout = $4 where import_id = $1 and file_no = $2")
        .bind(import_id)
        .bind(file_no)
        .bind(columns)
        .bind(sqlx::types::Json(layout))
        .execute(db.pool())
        .await
        .map(drop)
        .map_err(DbError::during("keeping the fields of a file"))
}
