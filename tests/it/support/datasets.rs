//! Declared datasets.

use serde_json::{Value, json};

use super::{
    App,
    client::Answer,
    imports::{assert_balanced, count},
};

impl App {
    /// Declares a dataset.
    pub(crate) async fn declare(&self, name: &str, descriptor: Value) -> Value {
        self.client.put(&format!("/datasets/{name}")).json(descriptor).send().await.expect(201).json()
    }

    /// Uploads a file of a dataset and gives the import at its end.
    pub(crate) async fn upload_rows(&self, name: &str, query: &str, file: impl Into<reqwest::Body>) -> Value {
        let import = self.post_rows(name, query, file).await.expect(200).json();
        assert_balanced(&import);
        let counts = &import["counts"];
        let rejects = format!("select count(*) from import_rejects where import_id = {}", import["id"]);
        assert_eq!(self.one::<i64>(&rejects).await, count(&import, "rejected"), "{import}");
        if import["repeated"] == false {
            let visible = import["state"] == "complete" && import["dry_run"] == false;
            let created =
                format!("select count(*) from datasets.\"{name}\" where _import = {}", import["id"]);
            let inserted = if visible { count(&import, "inserted") } else { 0 };
            assert_eq!(self.one::<i64>(&created).await, inserted, "{counts}");
        }
        import
    }

    /// The answer to an upload.
    pub(crate) async fn post_rows(&self, name: &str, query: &str, file: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.post(&format!("/datasets/{name}/imports{query}"));
        request.header("Content-Type", "text/csv").header("Prefer", "wait=60").body(file).send().await
    }

    /// The rows of a declared dataset that are not deleted, in the order of their columns.
    pub(crate) async fn stored(&self, name: &str) -> Vec<String> {
        let statement = format!(
            "select (select string_agg(value #>> '{{}}', ' ' order by ordinality) from json_each(row_to_json(r)) with ordinality
                 where key not like '\\_%')
             from datasets.\"{name}\" r where _deleted_at is null order by 1"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_all(&self.database.pool)
            .await
            .expect("rows can be read")
    }
}

/// Cats with their names as key.
pub(crate) fn cats() -> Value {
    json!({
        "title": "Cats",
        "schema": {
            "fields": [
                { "name": "Кличка", "key": "name", "type": "string", "constraints": { "required": true, "maxLength": 80 } },
                { "name": "breed", "type": "string", "constraints": { "enum": ["siberian", "sphynx"] } },
                { "name": "born", "type": "date", "format": "%d.%m.%Y" },
                { "name": "weight", "type": "number", "decimalChar": ",", "missingValues": ["", "-"], "aliases": ["weight, kg"] },
                { "name": "lon", "type": "number" },
                { "name": "lat", "type": "number" },
            ],
            "primaryKey": ["Кличка"],
        },
        "dialect": { "delimiter": ";" },
        "point": { "longitude": "lon", "latitude": "lat" },
    })
}
