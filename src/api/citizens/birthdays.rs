//! Presents by month.

use poem_openapi::{
    ApiResponse, Enum,
    registry::{MetaSchema, MetaSchemaRef},
};
use serde::Serialize;
use serde_json::json;

use super::ListRefusal;
use crate::{
    api::{
        schema,
        stream::{self, JsonText, StreamRefusal, Write},
    },
    db::citizens::{self, Buyers, GroupBy, Presents, Snapshot},
};

const MONTHS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

/// What presents are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum Grouping {
    /// The advertising channel that brought the buyer.
    Channel,
}

#[derive(ApiResponse)]
pub(super) enum BirthdaysAnswer {
    /// For each month who buys how many presents; a month without any is an empty list
    #[oai(status = 200)]
    Months(JsonText<Birthdays>),
}

/// `{"data": {"1": […], …, "12": […]}}`
pub(super) struct Birthdays;

schema::object!(Birthdays, "Birthdays", months_schema);

fn months_schema() -> MetaSchema {
    let inline = |schema| MetaSchemaRef::Inline(Box::new(schema));
    let integer = || MetaSchema::new_with_format("integer", "int64");
    let object = |properties: Vec<(&'static str, MetaSchemaRef)>| {
        let required = properties.iter().map(|(name, _)| *name).collect();
        inline(MetaSchema { properties, required, ..MetaSchema::new("object") })
    };
    let presents =
        || ("presents", schema::property(integer(), "Relatives of theirs who are born in this month"));
    let by_citizen = object(vec![("citizen_id", schema::property(integer(), "Who buys")), presents()]);
    let channel = MetaSchema { nullable: true, ..MetaSchema::new("string") };
    let channel = schema::property(channel, "Who brought those who buy; null for citizens without a channel");
    let by_channel = object(vec![("channel", channel), presents()]);
    let entry = MetaSchema { one_of: vec![by_citizen, by_channel], ..MetaSchema::ANY };
    let entries = MetaSchema { items: Some(Box::new(inline(entry))), ..MetaSchema::new("array") };
    let months = object(MONTHS.iter().map(|month| (*month, inline(entries.clone()))).collect());
    let mut example: serde_json::Map<_, _> =
        MONTHS.iter().map(|month| ((*month).to_owned(), json!([]))).collect();
    example.insert("12".to_owned(), json!([{ "citizen_id": 1, "presents": 2 }]));
    MetaSchema {
        properties: vec![("data", months)],
        required: vec!["data"],
        example: Some(json!({ "data": example })),
        ..MetaSchema::new("object")
    }
}

pub(super) async fn answer(
    snapshot: Snapshot,
    grouping: Option<Grouping>,
) -> Result<BirthdaysAnswer, ListRefusal> {
    let group_by = match grouping {
        None => GroupBy::Citizen,
        Some(Grouping::Channel) => GroupBy::Channel,
    };
    let birthdays = citizens::birthdays(snapshot, group_by).await?;
    let months = Months { open: 0, has_entries: false };
    Ok(BirthdaysAnswer::Months(JsonText::new(stream::write(birthdays, months).await?)))
}

/// Months in their order, each opened when it is reached.
struct Months {
    /// The month that is open; 0 before the first.
    open: usize,
    /// Whether it has entries.
    has_entries: bool,
}

impl Months {
    fn open_up_to(&mut self, month: usize, out: &mut Vec<u8>) {
        while self.open < month {
            let name = MONTHS[self.open];
            let before = if self.open == 0 { "" } else { "]," };
            out.extend_from_slice(format!("{before}\"{name}\":[").as_bytes());
            self.open += 1;
            self.has_entries = false;
        }
    }

    fn entries<B: Serialize>(
        &mut self,
        begin: &[u8],
        buyers: Vec<(B, i64)>,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamRefusal> {
        for (buyer, presents) in buyers {
            if std::mem::replace(&mut self.has_entries, true) {
                out.push(b',');
            }
            out.extend_from_slice(begin);
            serde_json::to_writer(&mut *out, &buyer)?;
            out.extend_from_slice(b",\"presents\":");
            serde_json::to_writer(&mut *out, &presents)?;
            out.push(b'}');
        }
        Ok(())
    }
}

impl Write<Presents> for Months {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"data\":{");
    }

    fn row(&mut self, presents: Presents, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        self.open_up_to(usize::try_from(presents.month).unwrap_or(0).min(MONTHS.len()), out);
        match presents.buyers {
            Buyers::Citizens(buyers) => self.entries(b"{\"citizen_id\":", buyers, out),
            Buyers::Channels(buyers) => self.entries(b"{\"channel\":", buyers, out),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        self.open_up_to(MONTHS.len(), out);
        out.extend_from_slice(b"]}}");
        Ok(())
    }
}
