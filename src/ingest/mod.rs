//! What happens to a file.

pub mod export;
