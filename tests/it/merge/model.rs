//! What a load makes of a dataset, by a model of a few loops over rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json;
use tarmac::datasets::{
    Dataset, Ident,
    descriptor::{self, Limits},
    plan::{Blanks, LoadMode, MaxDeleted},
};

/// How many columns the dataset has.
pub(super) const N: usize = 6;
/// The names of the columns. Some are names that the staging table has too, one has what SQL would trip over.
pub(super) const NAMES: [&str; N] = ["Na'me $1", "target", "u", "v", "row", "outcome"];
/// The import that loads the file.
pub(super) const IMPORT: i64 = 7;

pub(super) struct Random(pub(super) u64);
impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub(super) type Values = [Option<i64>; N];

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) id: i64,
    pub(super) values: Values,
    pub(super) deleted: bool,
    pub(super) version: i64,
    pub(super) import: i64,
}

#[derive(Debug, Clone)]
pub(super) struct FileRow {
    pub(super) id: Option<i64>,
    pub(super) values: Values,
    pub(super) refused: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) key: Vec<usize>,
    pub(super) unique: Vec<usize>,
    pub(super) self_reference: bool,
    pub(super) reference: bool,
    pub(super) owners: Vec<i64>,
    pub(super) stored: Vec<Stored>,
    pub(super) present: Vec<usize>,
    pub(super) has_row_id: bool,
    pub(super) load: LoadMode,
    pub(super) blanks: Blanks,
    pub(super) max_deleted: MaxDeleted,
    pub(super) file: Vec<FileRow>,
}

/// Outcome, code, column.
pub(super) type Verdict = (Option<&'static str>, Option<&'static str>, Option<String>);

/// The dataset as a user would declare it.
pub(super) fn dataset(case: &Case) -> Dataset {
    let fields: Vec<_> = (0..N)
        .map(|place| {
            let constraints =
                json!({"unique": case.unique.contains(&place), "required": case.key.contains(&place)});
            json!({"name": NAMES[place], "type": "integer", "constraints": constraints})
        })
        .collect();
    let mut foreign_keys = Vec::new();
    if case.self_reference {
        let target = if case.key == [0] { 0 } else { 2 };
        foreign_keys
            .push(json!({"fields": NAMES[4], "reference": {"resource": "", "fields": NAMES[target]}}));
    }
    if case.reference {
        foreign_keys.push(json!({"fields": NAMES[5], "reference": {"resource": "owners", "fields": "id"}}));
    }
    let mut schema = json!({"fields": fields, "foreignKeys": foreign_keys});
    if !case.key.is_empty() {
        schema["primaryKey"] = case.key.iter().map(|place| NAMES[*place]).collect();
    }
    let name = Ident::new("cats").expect("a name");
    let descriptor = descriptor::read(&name, schema.to_string().as_bytes(), &Limits::default());
    descriptor.expect("the declaration is right").compile(Some(1), 1)
}

pub(super) fn make(random: &mut Random) -> Case {
    let key = match random.below(4) {
        0 => vec![],
        1 => vec![0, 1],
        _ => vec![0],
    };
    let mut unique = Vec::new();
    if random.chance(60) {
        unique.push(2);
    }
    if random.chance(25) {
        unique.push(3);
    }
    let self_reference = random.chance(40) && (key == [0] || unique.contains(&2));
    let reference = random.chance(30);
    let load = match (key.is_empty(), random.below(3)) {
        (true, 0) => LoadMode::Sync,
        (true, _) => LoadMode::Append,
        (false, 0) => LoadMode::Upsert,
        (false, 1) => LoadMode::Insert,
        (false, _) => LoadMode::Sync,
    };
    let load = if load == LoadMode::Insert && random.chance(50) { LoadMode::Upsert } else { load };
    let has_row_id = random.chance(50);
    let domain = 3 + random.below(8);
    let value =
        |random: &mut Random, nulls: u64| (!random.chance(nulls)).then(|| random.below(domain) as i64);
    let mut stored: Vec<Stored> = Vec::new();
    for id in 1..=random.below(9) as i64 {
        let mut values = [None; N];
        for (place, slot) in values.iter_mut().enumerate() {
            *slot = value(random, if key.contains(&place) { 0 } else { 30 });
        }
        let deleted = random.chance(20);
        let clashes = |other: &Stored| {
            !other.deleted
                && (!key.is_empty() && key.iter().all(|p| other.values[*p] == values[*p])
                    || unique.iter().any(|p| values[*p].is_some() && other.values[*p] == values[*p]))
        };
        if !deleted && stored.iter().any(clashes) {
            continue;
        }
        stored.push(Stored { id, values, deleted, version: 1, import: random.below(3) as i64 + 1 });
    }
    let mut present: Vec<usize> = (0..N).collect();
    if random.chance(35) {
        present.retain(|_| random.chance(70));
    }
    if present.is_empty() {
        present.push(3);
    }
    let mut file = Vec::new();
    for _ in 0..random.below(8) {
        let mut values = [None; N];
        // Half of the rows are made of stored ones, so that something is unchanged.
        let model = (!stored.is_empty() && random.chance(50))
            .then(|| stored[random.below(stored.len() as u64) as usize].clone());
        for place in &present {
            values[*place] = match &model {
                Some(model) if random.chance(70) => model.values[*place],
                _ => value(random, if key.contains(place) { 0 } else { 30 }),
            };
        }
        let id = if !has_row_id || random.chance(30) {
            None
        } else if let Some(model) = &model {
            Some(model.id)
        } else {
            Some(random.below(12) as i64 + 1)
        };
        let refused = load == LoadMode::Sync && random.chance(15);
        file.push(FileRow { id, values, refused });
        if random.chance(15) {
            file.push(file.last().expect("it is there").clone());
        }
    }
    Case {
        key,
        unique,
        self_reference,
        reference,
        owners: (0..domain as i64).filter(|_| random.chance(70)).collect(),
        stored,
        present,
        has_row_id,
        load,
        blanks: if random.chance(30) { Blanks::Keep } else { Blanks::Overwrite },
        max_deleted: match random.below(3) {
            0 => MaxDeleted::Percent(50),
            1 => MaxDeleted::Rows(2),
            _ => MaxDeleted::Percent(100),
        },
        file,
    }
}

#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) verdicts: Vec<Verdict>,
    pub(super) refused: bool,
    pub(super) removed: Option<(i64, i64)>,
    pub(super) table: BTreeMap<i64, Stored>,
}

pub(super) fn model(case: &Case) -> Answer {
    let Case { key, present, stored, file, load, has_row_id, .. } = case;
    let stored_by = |id: i64| stored.iter().find(|t| t.id == id);
    let n = file.len();
    let mut target: Vec<Option<i64>> = vec![None; n];
    let mut verdict: Vec<Option<Verdict>> = vec![None; n];
    let reject = |code, column: &str| Some((Some("rejected"), Some(code), Some(column.to_owned())));
    let plain = |outcome| Some((Some(outcome), None, None));
    let has_key = !key.is_empty() && key.iter().all(|p| present.contains(p));
    let after = |f: &FileRow, t: Option<&Stored>| -> Values {
        let mut values = t.map_or([None; N], |t| t.values);
        for p in present {
            if f.values[*p].is_some() || case.blanks == Blanks::Overwrite {
                values[*p] = f.values[*p];
            }
        }
        values
    };
    for (i, f) in file.iter().enumerate() {
        if f.refused {
            verdict[i] = plain("refused");
            continue;
        }
        let mut column = NAMES[key.first().copied().unwrap_or(0)].to_owned();
        let mut found = None;
        if let (true, Some(id)) = (*has_row_id, f.id) {
            found = stored_by(id);
            column = "_id".into();
            if found.is_none() {
                verdict[i] = reject("unknown_id", "_id");
                continue;
            }
        } else if has_key {
            let same = |t: &&Stored| key.iter().all(|p| t.values[*p] == f.values[*p]);
            found = stored
                .iter()
                .filter(|t| !t.deleted)
                .find(same)
                .or(stored.iter().filter(|t| t.deleted).find(same));
        }
        let Some(t) = found else { continue };
        target[i] = Some(t.id);
        verdict[i] = if t.deleted {
            plain("deleted")
        } else if *load == LoadMode::Insert {
            reject("key_exists", &column)
        } else if after(f, Some(t)) == t.values {
            plain("unchanged")
        } else {
            None
        };
    }
    let in_play = |v: &Option<Verdict>| v.is_none() || v.as_ref().is_some_and(|v| v.0 == Some("unchanged"));
    let same_content = |a: &FileRow, b: &FileRow| present.iter().all(|p| a.values[*p] == b.values[*p]);
    let mut same_as: Vec<Option<usize>> = vec![None; n];
    let before = verdict.clone();
    for i in 0..n {
        if *load == LoadMode::Insert || !in_play(&before[i]) || target[i].is_none() {
            continue;
        }
        let first = (0..i).find(|j| in_play(&before[*j]) && target[*j] == target[i]);
        if let Some(first) = first {
            let column = if file[i].id.is_some() || key.is_empty() { "_id" } else { NAMES[key[0]] };
            verdict[i] = if same_content(&file[i], &file[first]) {
                same_as[i] = Some(first);
                plain("unchanged")
            } else {
                reject("duplicate_in_file", column)
            };
        }
    }
    if has_key {
        let before = verdict.clone();
        for i in 0..n {
            if before[i].is_some() || target[i].is_some() {
                continue;
            }
            let same = |j: &usize| {
                before[*j].is_none()
                    && target[*j].is_none()
                    && key.iter().all(|p| file[*j].values[*p] == file[i].values[*p])
            };
            if let Some(first) = (0..i).find(same) {
                verdict[i] = if same_content(&file[i], &file[first]) {
                    same_as[i] = Some(first);
                    plain("unchanged")
                } else {
                    reject("duplicate_in_file", NAMES[key[0]])
                };
            }
        }
    }
    let absent: HashSet<i64> = stored
        .iter()
        .filter(|t| {
            *load == LoadMode::Sync
                && !t.deleted
                && !file.iter().any(|f| {
                    *has_row_id && f.id == Some(t.id)
                        || has_key && key.iter().all(|p| f.values[*p] == t.values[*p])
                })
        })
        .map(|t| t.id)
        .collect();
    if let Some(p) = (0..N).find(|p| key.contains(p) && !present.contains(p)) {
        for i in 0..n {
            if verdict[i].is_none() && target[i].is_none() {
                verdict[i] = reject("required", NAMES[p]);
            }
        }
    }
    let becomes: Vec<Values> = (0..n).map(|i| after(&file[i], target[i].and_then(stored_by))).collect();
    let mut uniques: Vec<Vec<usize>> = Vec::new();
    if *has_row_id && key.iter().any(|p| present.contains(p)) {
        uniques.push(key.clone());
    }
    for p in &case.unique {
        if present.contains(p) && *key != [*p] {
            uniques.push(vec![*p]);
        }
    }
    for u in &uniques {
        let before = verdict.clone();
        for i in 0..n {
            let has = |j: usize| {
                u.iter().all(|p| becomes[j][*p].is_some()) && u.iter().any(|p| file[j].values[*p].is_some())
            };
            if before[i].is_some() || !has(i) {
                continue;
            }
            if (0..i)
                .any(|j| in_play(&before[j]) && has(j) && u.iter().all(|p| becomes[j][*p] == becomes[i][*p]))
            {
                verdict[i] = reject("key_held", NAMES[u[0]]);
            }
        }
    }
    if case.reference && present.contains(&5) {
        for i in 0..n {
            if verdict[i].is_none()
                && file[i].values[5].is_some()
                && becomes[i][5].is_some_and(|o| !case.owners.contains(&o))
            {
                verdict[i] = reject("unknown_reference", NAMES[5]);
            }
        }
    }
    // Rejections spread until nothing changes.
    let open: Vec<usize> = (0..n).filter(|i| verdict[*i].is_none()).collect();
    let mut fault: HashMap<usize, ()> = HashMap::new();
    let ref_target = if *key == [0] { 0 } else { 2 };
    loop {
        let alive = |i: usize, fault: &HashMap<usize, ()>| open.contains(&i) && !fault.contains_key(&i);
        let mut new = Vec::new();
        for &i in &open {
            if fault.contains_key(&i) {
                continue;
            }
            let mut broken = false;
            for u in &uniques {
                if u.iter().any(|p| becomes[i][*p].is_none()) {
                    continue;
                }
                for t in
                    stored.iter().filter(|t| !t.deleted && !absent.contains(&t.id) && target[i] != Some(t.id))
                {
                    if u.iter().all(|p| t.values[*p] == becomes[i][*p]) {
                        let gives = (0..n).any(|h| {
                            alive(h, &fault)
                                && target[h] == Some(t.id)
                                && u.iter().any(|p| becomes[h][*p] != t.values[*p])
                        });
                        broken |= !gives;
                    }
                }
            }
            if case.self_reference && present.contains(&4) && file[i].values[4].is_some() {
                let wanted = becomes[i][4];
                let stays = stored.iter().any(|t| {
                    !t.deleted
                        && !absent.contains(&t.id)
                        && t.values[ref_target] == wanted
                        && !open.iter().any(|&h| target[h] == Some(t.id) && becomes[h][ref_target] != wanted)
                });
                let given = open.iter().any(|&f| alive(f, &fault) && becomes[f][ref_target] == wanted);
                broken |= !stays && !given;
            }
            if broken {
                new.push(i);
            }
        }
        if new.is_empty() {
            break;
        }
        fault.extend(new.into_iter().map(|i| (i, ())));
    }
    for &i in fault.keys() {
        // Which of the faults comes first is looked at apart.
        verdict[i] = Some((Some("rejected"), Some("unmet"), None));
    }
    // A repeated row shares the fate of the first.
    for i in 0..n {
        let first = same_as[i].and_then(|first| verdict[first].clone());
        if let (Some(first), Some((Some("unchanged"), ..))) = (first, &verdict[i])
            && first.0 == Some("rejected")
        {
            verdict[i] = Some(first);
        }
    }
    let live = stored.iter().filter(|t| !t.deleted).count() as i64;
    let removed = (*load == LoadMode::Sync).then_some((absent.len() as i64, live));
    let refused = removed.is_some_and(|(removed, live)| !case.max_deleted.allows(removed, live));
    let mut table: BTreeMap<i64, Stored> = stored.iter().map(|t| (t.id, t.clone())).collect();
    if !refused {
        for id in &absent {
            let t = table.get_mut(id).expect("it is there");
            t.deleted = true;
            t.version += 1;
        }
        for i in 0..n {
            match (&verdict[i], target[i]) {
                (None, Some(id)) => {
                    let t = table.get_mut(&id).expect("it is there");
                    t.values = becomes[i];
                    t.version += 1;
                }
                (None, None) => {
                    let id = 1000 + i as i64 + 1;
                    table.insert(
                        id,
                        Stored { id, values: becomes[i], deleted: false, version: 1, import: IMPORT },
                    );
                }
                _ => {}
            }
        }
    }
    let verdicts = verdict.into_iter().map(|v| v.unwrap_or((None, None, None))).collect();
    Answer { verdicts, refused, removed, table }
}
