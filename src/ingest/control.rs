//! What a client may do to an import: pause, resume, cancel, undo. Each takes effect at the next chunk at the latest, because
//! a chunk holds a shared lock on the import's row while it is being stored.

use super::{IngestError, finish, load::unknown_dataset, manifest, unpack};
use crate::{
    archive::Archive,
    datasets,
    db::{
        Db, commit,
        imports::{self, Import, State},
        merge,
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

/// What an undo removed and what it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undone {
    /// Rows the import had created.
    pub removed: i64,
    /// Rows the import had created that were changed since.
    pub kept: i64,
    /// Rows the import had changed; they stay as it left them.
    pub not_reverted: i64,
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
    commit(transaction, "pausing or resuming an import").await?;
    Ok(Changed::Done(import))
}

/// Stops for good; nothing of the import becomes visible.
pub async fn cancel(db: &Db, archive: &Archive, id: i64) -> Result<Changed<Import>, IngestError> {
    let mut transaction = db.begin().await?;
    let Some(import) = imports::lock(&mut transaction, id).await? else { return Ok(Changed::Unknown) };
    if import.state.is_final() {
        return Ok(Changed::Refused(import.state));
    }
    finish::keep_progress(&mut transaction, id).await?;
    finish::close(&mut transaction, &import, State::Cancelled).await?;
    commit(transaction, "cancelling an import").await?;
    unpack::remove_unpacked(archive, id).await;
    manifest::withdraw(archive, &import.source).await;
    Ok(imports::get(db, id).await?.map_or(Changed::Unknown, Changed::Done))
}

/// Removes the rows a complete import created, but for those that were changed since.
pub async fn undo(db: &Db, archive: &Archive, id: i64) -> Result<Changed<Undone>, IngestError> {
    let mut transaction = db.begin().await?;
    let Some(import) = imports::lock(&mut transaction, id).await? else { return Ok(Changed::Unknown) };
    if import.state != State::Complete {
        return Ok(Changed::Refused(import.state));
    }
    let dataset = datasets::by_name(&import.dataset).ok_or_else(|| unknown_dataset(&import.dataset))?;
    let (removed, kept) = merge::undo(&mut transaction, dataset, id).await?;
    imports::set_state(&mut transaction, id, State::Undone).await?;
    commit(transaction, "undoing an import").await?;
    manifest::withdraw(archive, &import.source).await;
    let not_reverted = if import.dry_run { 0 } else { import.updated.unwrap_or(0) };
    Ok(Changed::Done(Undone { removed, kept, not_reverted }))
}
