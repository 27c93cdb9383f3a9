//! The schema: up, down to nothing, up again.

use std::path::Path;

use futures_util::future::join_all;
use migration::{Migrator, MigratorTrait};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::support::{database::Database, process::Launch, wait::until};

/// Everything in the schemas of the service, as PostgreSQL describes it.
async fn schema(pool: &PgPool) -> Vec<String> {
    let ours = "n.nspname in ('public', 'staging')
        and not exists (select from pg_depend d where d.objid = %.oid and d.deptype = 'e')";
    let mut schema = Vec::new();
    for (query, alias) in [
        ("select 'schema ' || n.nspname from pg_namespace n where n.nspname in ('public', 'staging')", ""),
        (
            "select concat_ws(' ', c.relkind, n.nspname, c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                 a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid))
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum where {ours}",
            "c",
        ),
        (
            "select pg_get_indexdef(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind = 'i' and {ours}",
            "c",
        ),
        (
            "select concat_ws(' ', o.conrelid::regclass, o.conname, pg_get_constraintdef(o.oid))
             from pg_constraint o join pg_namespace n on n.oid = o.connamespace
             where o.conrelid <> 0 and {ours}
                 and not exists (select from pg_depend d where d.objid = o.conrelid and d.deptype = 'e')",
            "o",
        ),
        (
            "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {ours}",
            "p",
        ),
        (
            "select concat_ws(' ', t.tgrelid::regclass, t.tgenabled, pg_get_triggerdef(t.oid)) from pg_trigger t
             join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
             where not t.tgisinternal and {ours}",
            "c",
        ),
    ] {
        let query = query.replace("{ours}", &ours.replace('%', alias)) + " order by 1";
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query.as_str()))
            .fetch_all(pool)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        schema.extend(rows);
    }
    schema
}

/// The same with nothing in it but PostGIS, which a migration down leaves: others may use it by now.
async fn schema_of_nothing() -> Vec<String> {
    let database = Database::empty().await;
    sqlx::query("create extension postgis").execute(&database.pool).await.expect("PostGIS is installed");
    schema(&database.pool).await
}

#[tokio::test]
async fn up_down_to_nothing_and_up_again_gives_the_same_schema() {
    let database = Database::empty().await;
    let connection = sea_orm::Database::connect(&database.url).await.expect("the database answers");
    let nothing = schema_of_nothing().await;
    Migrator::up(&connection, None).await.expect("up");
    let first = schema(&database.pool).await;
    assert!(first.iter().any(|line| line.contains("airports_geo")), "{first:#?}");
    assert!(first.len() > nothing.len() + 50);

    Migrator::down(&connection, None).await.expect("down");
    let left: Vec<_> =
        schema(&database.pool).await.into_iter().filter(|line| !nothing.contains(line)).collect();
    // The list of migrations, which is empty, is all there is.
    assert!(left.iter().all(|line| line.contains("seaql_migrations")), "{left:#?}");

    Migrator::up(&connection, None).await.expect("up again");
    assert_eq!(schema(&database.pool).await, first);
    connection.close().await.expect("the connection closes");
}

#[tokio::test]
async fn each_migration_can_be_taken_back_by_itself() {
    let database = Database::empty().await;
    let connection = sea_orm::Database::connect(&database.url).await.expect("the database answers");
    sqlx::query("create extension postgis").execute(&database.pool).await.expect("PostGIS is installed");
    let migrations = Migrator::migrations().len();
    let mut schemas = Vec::new();
    for _ in 0..migrations {
        Migrator::up(&connection, Some(1)).await.expect("up");
        schemas.push(schema(&database.pool).await);
    }
    for before in schemas.iter().rev().skip(1) {
        Migrator::down(&connection, Some(1)).await.expect("down");
        assert_eq!(&schema(&database.pool).await, before);
    }
    connection.close().await.expect("the connection closes");
}

#[tokio::test]
async fn relations_survive_their_move_into_the_citizens_and_back() {
    let database = Database::empty().await;
    let connection = sea_orm::Database::connect(&database.url).await.expect("the database answers");
    Migrator::up(&connection, Some(4)).await.expect("up");
    let citizen = "'2000-01-01', 'town', 'street', 'building', 'name', 'male', null";
    let statements = format!(
        "insert into citizens
             select import, id, id, 1, {citizen} from generate_series(1, 2) import, generate_series(0, 3) id;
         insert into relatives values (1, 1, 3), (1, 1, 0), (1, 3, 1), (1, 0, 1), (2, 2, 2)"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&database.pool).await.expect("citizens are stored");
    let rows = "select r::text from relatives r order by 1";
    let before: Vec<String> = sqlx::query_scalar(rows).fetch_all(&database.pool).await.expect("relatives");
    assert_eq!(before.len(), 5);

    Migrator::up(&connection, Some(1)).await.expect("up");
    let lists: Vec<(i64, i64, Vec<i64>)> = sqlx::query_as(
        "select import_id, citizen_id, relatives from citizens order by import_id, citizen_id",
    )
    .fetch_all(&database.pool)
    .await
    .expect("the citizens have relatives");
    let of_one = [(1, 0, vec![1]), (1, 1, vec![0, 3]), (1, 2, vec![]), (1, 3, vec![1])];
    let of_two = [(2, 0, vec![]), (2, 1, vec![]), (2, 2, vec![2]), (2, 3, vec![])];
    assert_eq!(lists, [of_one, of_two].concat());

    Migrator::down(&connection, Some(1)).await.expect("down");
    let after: Vec<String> = sqlx::query_scalar(rows).fetch_all(&database.pool).await.expect("relatives");
    assert_eq!(after, before);
    connection.close().await.expect("the connection closes");
}

#[tokio::test]
async fn up_is_harmless_when_nothing_is_pending() {
    let database = Database::create().await;
    let connection = sea_orm::Database::connect(&database.url).await.expect("the database answers");
    let before = schema(&database.pool).await;
    Migrator::up(&connection, None).await.expect("up");
    assert_eq!(schema(&database.pool).await, before);
    connection.close().await.expect("the connection closes");
}

#[tokio::test]
async fn of_several_processes_that_migrate_at_once_one_does_it_and_the_others_wait() {
    let database = Database::empty().await;
    let launch = Launch::new(&database.url, Path::new("."));
    // Whoever holds the lock is a process that dies in the middle.
    let mut dying = PgConnection::connect(&database.url).await.expect("the database answers");
    let lock = "select pg_advisory_lock(x'6d6967726174'::bigint)";
    sqlx::query(lock).execute(&mut dying).await.expect("the lock is free");
    let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())";
    let migrate = join_all((0..4).map(|_| launch.run(&["migrate", "up"])));
    let die = async {
        until("all of them wait", || async { (database.one::<i64>(waiting).await == 4).then_some(()) }).await;
        let begun = "select to_regclass('seaql_migrations') is not null";
        assert!(!database.one::<bool>(begun).await, "nobody begins while another one may be at it");
        dying.close().await.expect("the connection closes");
    };
    let (migrated, ()) = tokio::join!(migrate, die);
    for (status, out, err) in migrated {
        assert!(status.success(), "{out}{err}");
    }
    let applied: i64 = database.one("select count(*) from seaql_migrations").await;
    assert_eq!(applied, Migrator::migrations().len() as i64);
}
