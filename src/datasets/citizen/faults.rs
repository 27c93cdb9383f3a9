//! What is wrong with the body of a request, all of it, each fault with its place.

use crate::datasets::Fault;

/// Faults that are listed of one body; the others are only counted.
const LISTED: usize = 1_000;

/// The longest unknown name that is repeated to the client, bytes.
const NAME_BYTES: usize = 256;

/// What is wrong with a body.
#[derive(Debug, Default)]
pub struct Faults {
    /// JSON Pointer and fault, in the order of the body; the faults between citizens come last.
    pub listed: Vec<(String, Fault)>,
    /// How many there are, listed or not.
    pub total: usize,
}

impl Faults {
    pub(super) fn add(&mut self, pointer: impl FnOnce() -> String, fault: Fault) {
        if self.listed.len() < LISTED {
            self.listed.push((pointer(), fault));
        }
        self.total += 1;
    }

    /// The body is no JSON at all.
    pub(super) fn malformed(error: &serde_json::Error) -> Self {
        let fault = Fault::new("malformed_json", error.to_string());
        Self { listed: vec![(String::new(), fault)], total: 1 }
    }
}

/// Notes a member that no rule knows.
pub(super) fn unknown_field(parent: &str, name: &str, faults: &mut Faults) {
    if name.len() > NAME_BYTES {
        let message = format!("a name of {} bytes is no field of a citizen", name.len());
        faults.add(|| parent.to_owned(), Fault::new("unknown_field", message));
        return;
    }
    let pointer = || format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"));
    faults.add(pointer, Fault::new("unknown_field", format!("{name} is no field here")));
}
