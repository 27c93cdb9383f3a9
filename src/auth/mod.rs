//! Signed confirmation links.
