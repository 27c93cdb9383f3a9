//! What a header is, and what its cells make of names.

use std::collections::HashSet;

use super::{column::NULLS, fit::Fit};

/// Longest name that is proposed, in bytes: a cell that is longer is none.
const MAX_NAME_BYTES: usize = 1_000;

/// The service's own columns, of exports and of rejects, in lower case: no field can be called so.
const RESERVED: [&str; 14] = [
    "_id",
    "_import",
    "_row",
    "_version",
    "_created_at",
    "_updated_at",
    "_deleted_at",
    "_line",
    "_file",
    "_column",
    "_code",
    "_message",
    "_point",
    "_distance_m",
];
/// What `rejects.csv` adds. An import leaves these out where all of them are there.
const OF_REJECTS: [&str; 6] = ["_row", "_line", "_file", "_column", "_code", "_message"];

/// Whether the first record of a file, of which nothing was said, is a header: none of its fields is a number, a date, a boolean, a
/// UUID or what stands for null, and most of them are there and differ. A header may have gaps and repetitions; a record of
/// texts alone is taken for a header, which a client can contradict.
pub fn is_header<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let (mut names, mut cells) = (HashSet::new(), 0);
    for field in fields {
        let Ok(text) = str::from_utf8(field) else { return false };
        let name = trimmed(text);
        if !Fit::of(name.as_bytes()).is_none() || NULLS.contains(&name) {
            return false;
        }
        cells += 1;
        if !name.is_empty() {
            names.insert(name.to_lowercase());
        }
    }
    names.len() * 2 > cells
}

/// A cell without the blanks at its edges, and without those that are not seen.
pub(super) fn trimmed(cell: &str) -> &str {
    cell.trim_matches(|char: char| char.is_whitespace() || matches!(char, '\u{feff}' | '\u{200b}'))
}

/// Which columns are the service's own, as exports and rejects have them: an import knows them without a declaration.
pub(super) fn own(header: Option<&[String]>) -> Vec<usize> {
    let cells: Vec<String> =
        header.unwrap_or_default().iter().map(|cell| trimmed(cell).to_lowercase()).collect();
    let has_rejects = OF_REJECTS.iter().all(|name| cells.iter().any(|cell| cell == name));
    let is_own = |cell: &str| cell == "_id" || has_rejects && OF_REJECTS.contains(&cell);
    cells.iter().enumerate().filter(|(_, cell)| is_own(cell)).map(|(at, _)| at).collect()
}

fn is_usable(cell: &str) -> bool {
    let is_control = |char: char| char.is_control() && !matches!(char, '\t' | '\n' | '\r');
    !cell.is_empty()
        && cell.len() <= MAX_NAME_BYTES
        && !cell.contains(is_control)
        && !RESERVED.contains(&&*cell.to_lowercase())
}

/// The name of a column, and what is to be said of it.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) hint: Option<String>,
}

/// Names that differ, case aside, of the cells; `None`: the file has no header.
pub(super) fn names(header: Option<&[String]>, width: usize) -> Vec<Name> {
    let cells: Vec<&str> = (0..width)
        .map(|at| header.and_then(|header| header.get(at)).map_or("", |cell| trimmed(cell)))
        .collect();
    // What a cell says goes before what is made up.
    let mut taken: HashSet<String> = cells.iter().map(|cell| cell.to_lowercase()).collect();
    let mut seen = HashSet::new();
    let name = |(at, cell): (usize, &&str)| {
        let is_usable = is_usable(cell);
        if is_usable && seen.insert(cell.to_lowercase()) {
            return Name { name: (*cell).to_owned(), hint: None };
        }
        let base = if is_usable { (*cell).to_owned() } else { format!("column_{}", at + 1) };
        let name = free(&base, !is_usable, at, &mut taken);
        let rename = format!("the column is called {name} here; name it in the header of the file too");
        let hint = match (header, cell.is_empty()) {
            (None, _) => None,
            (_, true) => Some(format!("name: the header's cell is empty; {rename}")),
            _ if is_usable => Some(format!("name: the header has {cell} more than once; {rename}")),
            _ => Some(format!(
                "name: the header's cell is longer than {MAX_NAME_BYTES} bytes, has control characters or is a column of the \
                 service's own; {rename}"
            )),
        };
        Name { name, hint }
    };
    cells.iter().enumerate().map(name).collect()
}

/// The name, or the name with the column's place behind it, and with another number where that is taken too. No cell is in the way of more
/// than two columns, so that thousands of one name find theirs at once.
fn free(base: &str, may_be_itself: bool, at: usize, taken: &mut HashSet<String>) -> String {
    let itself = may_be_itself.then(|| base.to_owned());
    let placed = format!("{base}_{}", at + 1);
    let numbered = (2..).map(|number| format!("{placed}_{number}"));
    let mut names = itself.into_iter().chain([placed.clone()]).chain(numbered);
    names.find(|name| taken.insert(name.to_lowercase())).unwrap_or(placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cells: &[&str]) -> bool {
        is_header(cells.iter().map(|cell| cell.as_bytes()))
    }

    #[test]
    fn a_header_has_no_values() {
        for cells in
            [&["id", "name"][..], &["", "a", "b"], &["a", "a", "b"], &["\u{feff}Кличка", "born"], &["one"]]
        {
            assert!(header(cells), "{cells:?}");
        }
        for cells in
            [&["1", "name"][..], &["a", "2024-01-01"], &["a", "true"], &["a", "NA"], &["a", " 1,5"], &[""]]
        {
            assert!(!header(cells), "{cells:?}");
        }
        assert!(!header(&["M", "m", "M"]), "most repeat");
        assert!(!is_header([b"\xff".as_slice()]));
    }

    #[test]
    fn names_differ() {
        let cells = [" a ", "A", "", "a_2", "b", "B", "a"].map(str::to_owned);
        let names = names(Some(&cells), 8);
        let (texts, hints): (Vec<_>, Vec<_>) =
            names.into_iter().map(|name| (name.name, name.hint.is_some())).unzip();
        assert_eq!(texts, ["a", "A_2_2", "column_3", "a_2", "b", "B_6", "a_7", "column_8"]);
        assert_eq!(hints, [false, true, true, false, false, true, true, true]);
    }

    #[test]
    fn ten_thousand_columns_of_one_name_take_no_time() {
        let cells = vec!["a".to_owned(); 10_000];
        let names = names(Some(&cells), cells.len());
        let distinct: HashSet<_> = names.iter().map(|name| &name.name).collect();
        assert_eq!(distinct.len(), cells.len());
    }

    #[test]
    fn without_a_header_columns_are_counted() {
        let names = names(None, 2);
        assert_eq!(names[1].name, "column_2");
        assert!(names[1].hint.is_none());
    }
}
