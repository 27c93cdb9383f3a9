//! Citizens for tests, and the requests that bring them.

use serde_json::{Value, json};

use super::{App, client::Answer};

/// A citizen of that number: valid and unrelated, with the given fields over it.
pub(crate) fn citizen(id: i64, fields: Value) -> Value {
    let mut citizen = json!({
        "citizen_id": id, "town": "Москва", "street": "Льва Толстого", "building": "16к7стр5", "apartment": 7,
        "name": "Иванов Иван Иванович", "birth_date": "26.12.1986", "gender": "male", "relatives": [],
    });
    let object = citizen.as_object_mut().expect("an object");
    object.extend(fields.as_object().expect("an object").clone());
    citizen
}

impl App {
    /// Posts citizens.
    pub(crate) async fn post_citizens(&self, citizens: impl Into<Value>) -> Answer {
        self.client.post("/imports").json(json!({ "citizens": citizens.into() })).send().await
    }

    /// Imports citizens; the number of their import.
    pub(crate) async fn import_citizens(&self, citizens: impl Into<Value>) -> i64 {
        let answer = self.post_citizens(citizens).await.expect(201).json();
        answer["data"]["import_id"].as_i64().expect("a number")
    }

    /// Imports citizens from a CSV and waits for the end; `query` is empty or begins with `?`.
    pub(crate) async fn import_citizens_csv(&self, query: &str, csv: impl Into<reqwest::Body>) -> Value {
        let request = self.client.post(&format!("/imports{query}")).header("Content-Type", "text/csv");
        request.header("Prefer", "wait=60").body(csv).send().await.expect(200).json()
    }

    /// The citizens of an import.
    pub(crate) async fn citizens(&self, import: i64) -> Vec<Value> {
        let answer = self.client.get(&format!("/imports/{import}/citizens")).send().await.expect(200).json();
        answer["data"].as_array().expect("a list").clone()
    }

    /// Changes a citizen.
    pub(crate) async fn patch(&self, import: i64, citizen: i64, fields: Value) -> Answer {
        self.client.patch(&format!("/imports/{import}/citizens/{citizen}")).json(fields).send().await
    }

    /// Every row of the tables that requests about citizens write, as text.
    pub(crate) async fn tables(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select 'import ' || i::text from imports i
             union all select 'citizen ' || c::text from citizens c
             union all select 'segment ' || s::text from citizen_segments s
             union all select 'changed ' || c::text from changed_citizens c
             union all select 'file ' || f::text from import_files f
             union all select 'chunk ' || c::text from import_chunks c
             union all select 'next import ' || coalesce(last_value::text, '') from pg_sequences
                 where sequencename = 'imports_id_seq'
             order by 1",
        )
        .fetch_all(&self.database.pool)
        .await
        .expect("the tables can be read")
    }
}
