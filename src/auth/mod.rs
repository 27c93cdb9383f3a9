//! Who may do what: by now, who holds a confirmation link.

pub mod links;
