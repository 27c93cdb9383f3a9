//! Tarmac's database schema, step by step.
//!
//! Every step is plain SQL: it is what a database administrator reviews. `up` then `down` leaves the
//! database as it was, and `up` again works; a test in the main crate walks all of them.

pub use sea_orm_migration::{MigrationStatus, MigratorTrait};
use sea_orm_migration::{async_trait, prelude::*};

/// What every step does: its `UP`, or its `DOWN`, which takes that back.
macro_rules! plain_sql {
    () => {
        #[async_trait::async_trait]
        impl MigrationTrait for Migration {
            async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
                manager.get_connection().execute_unprepared(UP).await?;
                Ok(())
            }

            async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
                manager.get_connection().execute_unprepared(DOWN).await?;
                Ok(())
            }
        }
    };
}

mod m20261120_000001_create_imports;
mod m20261120_000002_create_airports;
mod m20261120_000003_create_requests;
mod m20261120_000004_create_citizens;
mod m20261121_000005_relatives_into_citizens;
mod m20261121_000006_add_unpaired_to_chunks;
mod m20261121_000007_create_api_keys;
mod m20261121_000008_create_consumers;
mod m20261121_000009_add_traceparent;
mod m20261121_000010_add_retention;
mod m20261127_000011_create_citizen_segments;
mod m20261127_000012_add_cutting;
mod m20261130_000010_add_notes;
mod m20261130_000011_add_layout;
mod m20261130_000020_add_relations_dropped;
mod m20261130_000021_count_changes_of_airports;
mod m20261130_000030_count_deaths_of_leaders;
mod m20261130_000031_add_turns_to_journal;
mod m20261130_000040_always_note_changed_citizens;
mod m20261130_000041_create_import_removals;
mod m20261130_000060_add_owner;
mod m20261130_000070_create_dataset_catalog;
mod m20261130_000071_let_scopes_name_datasets;

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261120_000001_create_imports::Migration),
            Box::new(m20261120_000002_create_airports::Migration),
            Box::new(m20261120_000003_create_requests::Migration),
            Box::new(m20261120_000004_create_citizens::Migration),
            Box::new(m20261121_000005_relatives_into_citizens::Migration),
            Box::new(m20261121_000006_add_unpaired_to_chunks::Migration),
            Box::new(m20261121_000007_create_api_keys::Migration),
            Box::new(m20261121_000008_create_consumers::Migration),
            Box::new(m20261121_000009_add_traceparent::Migration),
            Box::new(m20261121_000010_add_retention::Migration),
            Box::new(m20261127_000011_create_citizen_segments::Migration),
            Box::new(m20261127_000012_add_cutting::Migration),
            Box::new(m20261130_000010_add_notes::Migration),
            Box::new(m20261130_000011_add_layout::Migration),
            Box::new(m20261130_000020_add_relations_dropped::Migration),
            Box::new(m20261130_000021_count_changes_of_airports::Migration),
            Box::new(m20261130_000040_always_note_changed_citizens::Migration),
            Box::new(m20261130_000041_create_import_removals::Migration),
            Box::new(m20261130_000030_count_deaths_of_leaders::Migration),
            Box::new(m20261130_000031_add_turns_to_journal::Migration),
            Box::new(m20261130_000060_add_owner::Migration),
            Box::new(m20261130_000070_create_dataset_catalog::Migration),
            Box::new(m20261130_000071_let_scopes_name_datasets::Migration),
        ]
    }
}
