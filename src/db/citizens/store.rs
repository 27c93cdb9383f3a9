//! New citizens, by COPY.

use std::borrow::Cow;

use sqlx::PgConnection;

use crate::{
    datasets::{
        Value,
        citizen::{Citizen, DATASET},
    },
    db::{DbError, copy::CopyStream, segments::SegmentBuffer},
};

const CITIZENS: &str = "citizens (import_id, citizen_id, row, apartment, birth_date, town, street, building, name, \
                        gender, channel, relatives)";

/// Citizens of a segment.
const SEGMENT_ROWS: usize = 16_384;

/// Stores the citizens of an import, whose places in it are those in the slice. Nothing is checked here, nor put in order.
pub async fn insert(
    connection: &mut PgConnection,
    import_id: i64,
    citizens: &[Citizen],
) -> Result<(), DbError> {
    if citizens.is_empty() {
        return Ok(());
    }
    // In the order of the primary key every row goes to the index's last page.
    let mut ordered: Vec<(i64, &Citizen)> = (1..).zip(citizens).collect();
    ordered.sort_unstable_by_key(|(_, citizen)| citizen.citizen_id);

    let mut copy = CopyStream::open(connection, CITIZENS, 12).await?;
    for (place, citizen) in &ordered {
        let row = copy.begin_row();
        row.put_i64(import_id);
        row.put_i64(citizen.citizen_id);
        row.put_i64(*place);
        row.put_i64(citizen.apartment);
        row.put_date(citizen.birth_date);
        for text in [&citizen.town, &citizen.street, &citizen.building, &citizen.name, &citizen.gender] {
            row.put_text(text);
        }
        match &citizen.channel {
            Some(channel) => row.put_text(channel),
            None => row.put_null(),
        }
        row.put_i64s(&citizen.relatives);
        row.end_row();
        copy.send_full().await?;
    }
    // The database still has rows to store meanwhile.
    let segments: Vec<_> = ordered.chunks(SEGMENT_ROWS).filter_map(segment).collect();
    copy.finish().await?;
    for (segment_no, segment) in (0..).zip(segments) {
        segment.insert(connection, import_id, segment_no).await?;
    }
    Ok(())
}

/// What statistics read of them.
fn segment(citizens: &[(i64, &Citizen)]) -> Option<SegmentBuffer> {
    let mut segment = SegmentBuffer::new(&DATASET)?;
    for (_, citizen) in citizens {
        let Citizen { citizen_id, town, birth_date, relatives, channel, .. } = citizen;
        segment.put_row([
            Value::Integer(*citizen_id),
            Value::Text(Cow::Borrowed(town)),
            Value::Date(*birth_date),
            Value::Integers(relatives.clone()),
            channel.as_deref().map_or(Value::Null, |channel| Value::Text(Cow::Borrowed(channel))),
        ]);
    }
    Some(segment)
}
