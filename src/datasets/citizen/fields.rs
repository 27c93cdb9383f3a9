//! The fields of a citizen as an object of JSON has them.

use serde::de::{MapAccess, SeqAccess};

use super::{
    Citizen, CitizenPatch,
    faults::{Faults, unknown_field},
};
use crate::datasets::{
    Column, Fault, Rule, Value,
    json::{Any, Itself, Json, Take},
};

/// Which fields an object must have and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new citizen: all of them, but for the optional ones.
    New,
    /// A change: any of them, but for the citizen's number.
    Patch,
}

/// What was read. A field that is not there, or breaks its rule, is nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) citizen_id: Option<i64>,
    pub(super) rest: CitizenPatch,
}

impl Fields {
    fn set(&mut self, column: &Column, value: Value<'_>) {
        let rest = &mut self.rest;
        match (&*column.name, value) {
            ("citizen_id", Value::Integer(number)) => self.citizen_id = Some(number),
            ("apartment", Value::Integer(number)) => rest.apartment = Some(number),
            ("birth_date", Value::Date(date)) => rest.birth_date = Some(date),
            (name, Value::Text(text)) => {
                if name == "channel" {
                    rest.channel = Some(Some(text.into_owned()));
                    return;
                }
                let field = match name {
                    "town" => &mut rest.town,
                    "street" => &mut rest.street,
                    "building" => &mut rest.building,
                    "name" => &mut rest.name,
                    "gender" => &mut rest.gender,
                    _ => return,
                };
                *field = Some(text.into_owned());
            }
            _ => {}
        }
    }

    /// Clears an optional field.
    fn clear(&mut self, column: &Column) {
        if &*column.name == "channel" {
            self.rest.channel = Some(None);
        }
    }

    /// The citizen, when every field it must have is there.
    pub(super) fn into_citizen(self) -> Option<Citizen> {
        let CitizenPatch { town, street, building, apartment, name, birth_date, gender, relatives, channel } =
            self.rest;
        Some(Citizen {
            citizen_id: self.citizen_id?,
            town: town?,
            street: street?,
            building: building?,
            apartment: apartment?,
            name: name?,
            birth_date: birth_date?,
            gender: gender?,
            relatives: relatives?,
            channel: channel.flatten(),
        })
    }
}

/// Reads an object of fields. It is at `/citizens/<place>`, or the body itself.
pub(super) struct ReadFields<'a> {
    pub(super) purpose: Purpose,
    pub(super) place: Option<usize>,
    pub(super) columns: &'a [Column],
    pub(super) faults: &'a mut Faults,
}

impl ReadFields<'_> {
    fn pointer(place: Option<usize>) -> String {
        place.map(|place| format!("/citizens/{place}")).unwrap_or_default()
    }

    fn fault(&mut self, column: &Column, fault: Fault) {
        let place = self.place;
        self.faults.add(|| format!("{}/{}", Self::pointer(place), column.name), fault);
    }

    fn check_presence(&mut self, seen: u32) {
        match self.purpose {
            Purpose::New => {
                for (index, column) in self.columns.iter().enumerate() {
                    if column.required && seen & 1 << index == 0 {
                        self.fault(column, Fault::new("required", format!("{} is required", column.name)));
                    }
                }
            }
            Purpose::Patch if seen == 0 => {
                let fault = Fault::new("empty_patch", "at least one field must be given".to_owned());
                self.faults.add(String::new, fault);
            }
            Purpose::Patch => {}
        }
    }
}

impl<'de> Take<'de> for ReadFields<'_> {
    type Taken = Fields;

    fn value(self, _: Json<'de>) -> Fields {
        let place = self.place;
        let fault = Fault::new("not_an_object", "a citizen must be an object".to_owned());
        self.faults.add(|| Self::pointer(place), fault);
        Fields::default()
    }

    fn object<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        // One bit for each of the dataset's columns.
        let mut seen = 0_u32;
        while let Some(name) = members.next_key_seed(Any(Itself))? {
            let Json::Text(name) = name else { continue };
            let Some((index, column)) =
                self.columns.iter().enumerate().find(|(_, column)| *column.name == *name)
            else {
                members.next_value_seed(Any(Itself))?;
                seen |= 1 << self.columns.len();
                unknown_field(&Self::pointer(self.place), &name, self.faults);
                continue;
            };
            if seen & 1 << index != 0 {
                members.next_value_seed(Any(Itself))?;
                self.fault(column, Fault::new("duplicate_field", format!("{name} is there twice")));
                continue;
            }
            seen |= 1 << index;
            if let Rule::Integers { .. } = &column.rule {
                let list = ReadList { column, place: self.place, faults: self.faults };
                fields.rest.relatives = members.next_value_seed(Any(list))?;
                continue;
            }
            match members.next_value_seed(Any(Itself))? {
                _ if self.purpose == Purpose::Patch && &*column.name == "citizen_id" => {
                    let message = "citizen_id cannot be changed".to_owned();
                    self.fault(column, Fault::new("not_changeable", message));
                }
                Json::Null if self.purpose == Purpose::Patch && !column.required => fields.clear(column),
                Json::Null => self.fault(column, null(column)),
                json => match column.parse_json(json) {
                    Ok(value) => fields.set(column, value),
                    Err(fault) => self.fault(column, fault),
                },
            }
        }
        self.check_presence(seen);
        Ok(fields)
    }
}

fn null(column: &Column) -> Fault {
    Fault::new("null", format!("{} must not be null", column.name))
}

/// Reads a list of integers. `None`: it, or something in it, breaks a rule.
struct ReadList<'a> {
    column: &'a Column,
    place: Option<usize>,
    faults: &'a mut Faults,
}

impl<'de> Take<'de> for ReadList<'_> {
    type Taken = Option<Vec<i64>>;

    fn value(self, json: Json<'de>) -> Option<Vec<i64>> {
        let Self { column, place, faults } = self;
        let message = format!("{} must be {}", column.name, column.rule());
        let fault = if json == Json::Null { null(column) } else { Fault::new("not_a_list", message) };
        faults.add(|| format!("{}/{}", ReadFields::pointer(place), column.name), fault);
        None
    }

    fn array<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Vec<i64>>, A::Error> {
        let Self { column, place, faults } = self;
        let (mut list, mut is_cut) = (Vec::new(), false);
        let mut index = 0;
        while let Some(item) = items.next_element_seed(Any(Itself))? {
            match column.parse_json_item(&item) {
                Ok(number) if faults.numbers_left > 0 => {
                    faults.numbers_left -= 1;
                    list.push(number);
                }
                Ok(_) => is_cut = true,
                Err(fault) => {
                    faults.add(|| format!("{}/{}/{index}", ReadFields::pointer(place), column.name), fault)
                }
            }
            index += 1;
        }
        if is_cut {
            let message = "the lists of relatives have more numbers than there can be different citizens";
            let pointer = || format!("{}/{}", ReadFields::pointer(place), column.name);
            faults.add(pointer, Fault::new("not_unique", message.to_owned()));
        }
        Ok((list.len() == index).then_some(list))
    }
}

/// A list of citizens.
pub(super) struct ReadCitizens<'a> {
    pub(super) columns: &'a [Column],
    pub(super) faults: &'a mut Faults,
}

impl<'de> Take<'de> for ReadCitizens<'_> {
    type Taken = Vec<Fields>;

    fn value(self, _: Json<'de>) -> Vec<Fields> {
        let fault = Fault::new("not_a_list", "citizens must be a list".to_owned());
        self.faults.add(|| "/citizens".to_owned(), fault);
        Vec::new()
    }

    fn array<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Fields>, A::Error> {
        let mut citizens = Vec::new();
        for place in 0.. {
            let (purpose, place) = (Purpose::New, Some(place));
            let read = Any(ReadFields { purpose, place, columns: self.columns, faults: self.faults });
            let Some(fields) = items.next_element_seed(read)? else { break };
            // A field takes more memory than its text, and what is wrong between these citizens would not be listed any more.
            if self.faults.is_full() {
                citizens = Vec::new();
            } else {
                citizens.push(fields);
            }
        }
        Ok(citizens)
    }
}

/// The items of a list in an object that has nothing else: `{"citizens": […]}`.
pub(super) struct ReadImport<'a>(pub(super) ReadCitizens<'a>);

impl<'de> Take<'de> for ReadImport<'_> {
    type Taken = Vec<Fields>;

    fn value(self, _: Json<'de>) -> Vec<Fields> {
        let fault = Fault::new("not_an_object", "the body must be a JSON object".to_owned());
        self.0.faults.add(String::new, fault);
        Vec::new()
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Vec<Fields>, A::Error> {
        let ReadCitizens { columns, faults } = self.0;
        let mut citizens = None;
        while let Some(name) = members.next_key_seed(Any(Itself))? {
            match name {
                Json::Text(name) if name == "citizens" && citizens.is_none() => {
                    let read = ReadCitizens { columns, faults };
                    citizens = Some(members.next_value_seed(Any(read))?);
                }
                Json::Text(name) if name == "citizens" => {
                    members.next_value_seed(Any(Itself))?;
                    let fault = Fault::new("duplicate_field", "citizens is there twice".to_owned());
                    faults.add(|| "/citizens".to_owned(), fault);
                }
                Json::Text(name) => {
                    members.next_value_seed(Any(Itself))?;
                    unknown_field("", &name, faults);
                }
                _ => {}
            }
        }
        if citizens.is_none() {
            let fault = Fault::new("required", "citizens is required".to_owned());
            faults.add(|| "/citizens".to_owned(), fault);
        }
        Ok(citizens.unwrap_or_default())
    }
}
