//! How chunks travel.
