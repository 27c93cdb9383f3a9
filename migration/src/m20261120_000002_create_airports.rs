//! Airports: the 13 fields of OpenFlights, their position, and what makes them unique.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = r"
create extension if not exists postgis;

create table airports (
    id             bigint generated always as identity primary key,
    openflights_id bigint,
    name           text not null,
    city           text,
    country        text not null,
    iata           text,
    icao           text,
    latitude       double precision not null,
    longitude      double precision not null,
    altitude       bigint,
    timezone       double precision,
    dst            text,
    tz             text,
    type           text,
    source         text,
    geo            geometry(Point, 4326) not null
        generated always as (ST_SetSRID(ST_MakePoint(longitude, latitude), 4326)) stored,
    -- 1 when created, one more with every change: the ETag, and how undo knows what was changed since.
    version        bigint      not null default 1,
    import_id      bigint,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    deleted_at     timestamptz
);
create unique index airports_openflights_id on airports (openflights_id) where deleted_at is null;
create unique index airports_iata on airports (iata) where deleted_at is null;
create unique index airports_icao on airports (icao) where deleted_at is null;
create index airports_geo on airports using gist (geo);
create index airports_country on airports (country);
create index airports_city on airports (city);
create index airports_import_id on airports (import_id);
";

// The extension stays: other schemas of the database may use it by now.
const DOWN: &str = "drop table airports;";

plain_sql!();
