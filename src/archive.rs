//! Where uploads are kept.
