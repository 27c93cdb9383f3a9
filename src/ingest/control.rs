//! What a client may do to an import: pause, resume, cancel, undo. Each takes effect at the next chunk at the latest, because
//! a chunk holds a shared lock on the import's row while it is being stored.

use super::{IngestError, finish, removal};
use crate::{
    archive::Archive,
    catalog::Catalog,
    db::{
        Db, commit,
        imports::{self, Import, State},
        leases, removals,
    },
};

/// What a request to change an import came to.
#[derive(Debug, Clone)]
pub enum Changed<T> {
    /// It is done.
    Done(T),
    /// From this state it cannot be.
    Refused(State),
    /// There is no such import.
    Unknown,
}

/// Stops loading until [`resume`].
pub async fn pause(db: &Db, id: i64) -> Result<Changed<Import>, IngestError> {
    change(db, id, |state| matches!(state, State::Received | State::Running), State::Paused).await
}

/// Goes on after [`pause`].
pub async fn resume(db: &Db, id: i64) -> Result<Changed<Import>, IngestError> {
    change(db, id, |state| state == State::Paused, State::Running).await
}

async fn change(
    db: &Db,
    id: i64,
    allowed: impl FnOnce(State) -> bool,
    to: State,
) -> Result<Changed<Import>, IngestError> {
    let mut transaction = db.begin().await?;
    let Some(import) = imports::lock(&mut transaction, id).await? else { return Ok(Changed::Unknown) };
    if !allowed(import.state) {
        return Ok(Changed::Refused(import.state));
    }
    let import = imports::set_state(&mut transaction, id, to).await?;
    // Whoever resumes it wants it tried as if it were new.
    leases::forget(&mut transaction, id).await?;
    commit(transaction, "pausing or resuming an import").await?;
    Ok(Changed::Done(import))
}

/// Stops for good; nothing of the import becomes visible.
pub async fn cancel(db: &Db, archive: &Archive, id: i64) -> Result<Changed<()>, IngestError> {
    take_out(db, archive, id, |state| !state.is_final(), State::Cancelled).await
}

/// Hides the rows a complete import created, but for those that were changed since, and removes them.
pub async fn undo(db: &Db, archive: &Archive, id: i64) -> Result<Changed<()>, IngestError> {
    take_out(db, archive, id, |state| state == State::Complete, State::Undone).await
}

/// Done, the import has its state. What of it is not removed within a moment, a worker goes on with; asked again meanwhile, so does this.
async fn take_out(
    db: &Db,
    archive: &Archive,
    id: i64,
    allowed: impl FnOnce(State) -> bool,
    to: State,
) -> Result<Changed<()>, IngestError> {
    let mut transaction = db.begin().await?;
    let Some(import) = imports::lock(&mut transaction, id).await? else { return Ok(Changed::Unknown) };
    if allowed(import.state) {
        if to == State::Cancelled {
            finish::keep_progress(&mut transaction, id).await?;
        }
        let dataset = Catalog::new(db.clone()).of_import(&import.pinned()).await?;
        finish::close(&mut transaction, &import, dataset.as_deref(), to).await?;
        commit(transaction, "cancelling or undoing an import").await?;
    } else if import.state == to && removals::is_open(&mut transaction, id).await? {
        drop(transaction);
    } else {
        return Ok(Changed::Refused(import.state));
    }
    removal::pursue(db, archive, id).await;
    Ok(Changed::Done(()))
}
