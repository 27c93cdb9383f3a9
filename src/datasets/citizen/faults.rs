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
    /// Numbers that lists of relatives may still have.
    pub(super) numbers_left: usize,
}

/// The fewest bytes of a set of citizens for each number in a list of relatives. Each list names different citizens, of whom each takes
/// some text too: with a thousand of them it is a little more, with any other number more than that.
const BYTES_PER_NUMBER: usize = 4;

impl Faults {
    /// Those of a set of citizens of so many bytes: a number takes more memory than its text, and there cannot be more good ones.
    pub(super) fn of_set(bytes: usize) -> Self {
        Self { numbers_left: bytes / BYTES_PER_NUMBER, ..Self::default() }
    }

    pub(super) fn add(&mut self, pointer: impl FnOnce() -> String, fault: Fault) {
        if self.listed.len() < LISTED {
            self.listed.push((pointer(), fault));
        }
        self.total += 1;
    }

    /// Whether no more are listed.
    pub(super) fn is_full(&self) -> bool {
        self.listed.len() >= LISTED
    }

    /// The body is no JSON at all.
    pub(super) fn malformed(error: &serde_json::Error) -> Self {
        let fault = Fault::new("malformed_json", error.to_string());
        Self { listed: vec![(String::new(), fault)], total: 1, ..Self::default() }
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
