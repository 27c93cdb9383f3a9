//! Who may do what: whoever holds a key with the right scope, or a confirmation link.

pub mod keys;
pub mod scopes;
pub mod token;
