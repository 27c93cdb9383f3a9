//! Uploads, and what becomes of them.

use serde_json::Value;

use super::{
    App,
    client::{Answer, Client, Request},
    wait::until,
};

/// An upload of a CSV that waits for its end.
pub(crate) fn post_csv(client: &Client, query: &str, file: impl Into<reqwest::Body>) -> Request {
    client
        .post(&format!("/upload{query}"))
        .header("Content-Type", "text/csv")
        .header("Prefer", "wait=60")
        .body(file)
}

impl App {
    /// Uploads a CSV and waits for its end; `query` is empty or begins with `?`. The books balance.
    pub(crate) async fn upload(&self, query: &str, file: impl Into<reqwest::Body>) -> Value {
        self.ended(post_csv(&self.client, query, file).send().await.expect(200)).await
    }

    /// The same with another media type.
    pub(crate) async fn upload_as(&self, media_type: &str, file: impl Into<reqwest::Body>) -> Value {
        let request = self.client.post("/upload").header("Content-Type", media_type);
        self.ended(request.header("Prefer", "wait=60").body(file).send().await.expect(200)).await
    }

    /// Uploads a CSV and does not wait; the id of the import.
    pub(crate) async fn begin(&self, query: &str, file: impl Into<reqwest::Body>) -> i64 {
        let request = self.client.post(&format!("/upload{query}")).header("Content-Type", "text/csv");
        id(&request.body(file).send().await.expect(202).json())
    }

    /// The import of an answer that must have ended. The books balance, in the counts and in the tables.
    pub(crate) async fn ended(&self, answer: Answer) -> Value {
        let import = answer.json();
        assert_balanced(&import);
        let (id, counts) = (id(&import), &import["counts"]);
        let rejects: i64 =
            self.one(&format!("select count(*) from import_rejects where import_id = {id}")).await;
        let kept = self.config.ingest.rejects_kept;
        assert_eq!(rejects, counts["rejected"].as_i64().expect("a number").min(kept), "{import}");
        let created: i64 = self.one(&format!("select count(*) from airports where import_id = {id}")).await;
        let visible = import["state"] == "complete" && import["dry_run"] == false;
        assert_eq!(
            created,
            if visible { counts["inserted"].as_i64().expect("a number") } else { 0 },
            "{import}"
        );
        assert_eq!(import["state"] == "failed", import["error"].is_object(), "{import}");
        let staging = format!("select count(*) from pg_tables where tablename = 'import_{id}'");
        assert_eq!(self.one::<i64>(&staging).await, 0, "the staging table goes with the import");
        import
    }

    /// The import as it is now.
    pub(crate) async fn import(&self, id: i64) -> Value {
        let import = self.client.get(&format!("/imports/{id}")).send().await.expect(200).json();
        assert_balanced(&import);
        import
    }

    /// The import once its stream of events has ended.
    pub(crate) async fn end_of(&self, id: i64) -> Value {
        self.client.get(&format!("/imports/{id}/events")).send().await.expect(200);
        self.ended(self.client.get(&format!("/imports/{id}")).send().await.expect(200)).await
    }

    /// Every reject of the import.
    pub(crate) async fn rejects(&self, import: &Value) -> Vec<Value> {
        let path = format!("/imports/{}/rejects?limit=10000", id(import));
        let page = self.client.get(&path).send().await.expect(200).json();
        page["data"].as_array().expect("a list").clone()
    }

    /// Row, column and code of every reject of the import: `2 latitude out_of_range`.
    pub(crate) async fn faults(&self, import: &Value) -> Vec<String> {
        let rejects = self.rejects(import).await;
        let column = |reject: &Value| reject["column"].as_str().unwrap_or("-").to_owned();
        let code = |reject: &Value| reject["code"].as_str().expect("a code").to_owned();
        rejects
            .iter()
            .map(|reject| format!("{} {} {}", reject["row"], column(reject), code(reject)))
            .collect()
    }

    /// The one value a query gives.
    pub(crate) async fn one<T>(&self, query: &str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        self.database.one(query).await
    }

    /// Runs a statement; how many rows it touched.
    pub(crate) async fn run(&self, statement: &str) -> u64 {
        let done = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&self.database.pool).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}")).rows_affected()
    }
}

/// The import once it is complete; it must not fail before.
pub(crate) async fn completed(client: &Client, id: i64) -> Value {
    until(format!("import {id} is complete"), || async {
        let import = client.get(&format!("/imports/{id}")).send().await.expect(200).json();
        assert_balanced(&import);
        assert_ne!(import["state"], "failed", "{import}");
        (import["state"] == "complete").then_some(import)
    })
    .await
}

/// The id of an import.
#[track_caller]
pub(crate) fn id(import: &Value) -> i64 {
    import["id"].as_i64().unwrap_or_else(|| panic!("an import: {import}"))
}

/// Inserted, updated, unchanged, deleted, rejected.
pub(crate) fn outcome(import: &Value) -> [i64; 5] {
    ["inserted", "updated", "unchanged", "deleted", "rejected"].map(|name| count(import, name))
}

/// One of the counts.
#[track_caller]
pub(crate) fn count(import: &Value, name: &str) -> i64 {
    import["counts"][name].as_i64().unwrap_or_else(|| panic!("{name} is a number: {import}"))
}

/// What every answer about an import must obey.
#[track_caller]
pub(crate) fn assert_balanced(import: &Value) {
    let [inserted, updated, unchanged, deleted, rejected] = outcome(import);
    let accepted = count(import, "accepted");
    assert_eq!(accepted, inserted + updated + unchanged + deleted, "{import}");
    assert_eq!(accepted + rejected, count(import, "rows_read"), "{import}");
}

/// The code an import failed with.
#[track_caller]
pub(crate) fn failure(import: &Value) -> &str {
    assert_eq!(import["state"], "failed", "{import}");
    import["error"]["code"].as_str().expect("a failed import says why")
}
