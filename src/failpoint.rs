//! Moments at which a process can be made to die, to show that nothing is lost. They exist in builds with debug assertions,
//! which is what tests run; in a release [`reach`] is nothing.
//!
//! `TARMAC_DEV_FAILPOINT=before-acknowledge:3` ends the process, without any farewell, when that moment comes for the
//! third time.

/// A chunk is stored, and its transaction about to be committed.
pub const BEFORE_COMMIT: &str = "before-commit";
/// A chunk is committed and about to be acknowledged.
pub const BEFORE_ACKNOWLEDGE: &str = "before-acknowledge";
/// Some rows of an import that is taken out again are removed, and others may be left.
pub const ROWS_REMOVED: &str = "rows-removed";
/// A copy of an import is in the long-term archive, and not looked at yet.
pub const IMPORT_COPIED: &str = "import-copied";
/// The copy is right, and the import about to be removed.
pub const COPY_VERIFIED: &str = "copy-verified";
/// The database has let an import go, and the archive not yet.
pub const IMPORT_FORGOTTEN: &str = "import-forgotten";
/// The upload of an import that is brought back is in the archive, its rows are not in the database yet.
pub const UPLOAD_BACK: &str = "upload-back";

/// The moment has come.
#[cfg(debug_assertions)]
pub fn reach(moment: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};

    static TIMES: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var("TARMAC_DEV_FAILPOINT") else { return };
    let Some((name, time)) = wanted.split_once(':') else { return };
    if name == moment && time.parse() == Ok(TIMES.fetch_add(1, Ordering::Relaxed) + 1) {
        tracing::error!(moment, "dying at a failpoint");
        std::process::abort();
    }
}

/// The moment has come, and means nothing in this build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_moment: &str) {}
