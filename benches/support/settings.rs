//! What the database is that something was measured with.

use std::error::Error;

use sqlx::{PgConnection, Row as _};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The database's version and the settings that matter for loading.
pub(crate) async fn of(sql: &mut PgConnection) -> Outcome<String> {
    let row = sqlx::query(
        "select split_part(version(), ' ', 2), current_setting('shared_buffers'), current_setting('max_wal_size'),
            current_setting('fsync'), current_setting('synchronous_commit')",
    )
    .fetch_one(sql)
    .await?;
    let setting = |place: usize| row.try_get::<String, _>(place);
    Ok(format!(
        "PostgreSQL {} with shared_buffers {}, max_wal_size {}, fsync {}, synchronous_commit {}",
        setting(0)?,
        setting(1)?,
        setting(2)?,
        setting(3)?,
        setting(4)?
    ))
}
