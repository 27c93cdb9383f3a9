//! What happens to a file between its first byte and its last row.

pub mod split;
