//! What others wrote, in messages of ours.

use std::{borrow::Cow, error::Error};

/// The most characters of it that are repeated.
const CHARS: usize = 300;

/// The text, short enough for a message: a name may be as long as whatever it came in.
pub fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// What the error comes from in the end, short enough for a message.
pub fn root(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    cut(&root.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "é".repeat(CHARS);
        assert_eq!(cut(&long), long);
        assert_eq!(cut(&format!("{long}x")), format!("{long}…"));
    }
}
