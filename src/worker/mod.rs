//! Who loads.
