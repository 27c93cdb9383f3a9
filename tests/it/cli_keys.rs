//! What `tarmac keys create` refuses.

use crate::support::{database::Database, process::Launch};

#[tokio::test]
async fn a_key_without_a_name_or_that_has_expired_is_not_made() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let launch = Launch::new(&database.url, archive.path());
    for (name, expires, message) in [
        ("", "2999-01-01", "must say whose key it is"),
        (" \t", "2999-01-01", "must say whose key it is"),
        ("partner", "2020-01-01", "must be in the future"),
    ] {
        let create = ["keys", "create", "--scopes", "read", "--name", name, "--expires", expires];
        let (status, out, err) = launch.run(&create).await;
        assert_eq!((status.code(), out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(message), "{err}");
    }
    assert_eq!(database.one::<i64>("select count(*) from api_keys").await, 0);
}
