//! An archive whose disk is full.

use super::{World, file};
use crate::support::{app::files_below, wait::until};

on_every_transport!(its_disk_is_full_while_a_file_is_unpacked);

/// The packed file fits, what it unpacks to does not: the import waits, and goes on when there is room again.
async fn its_disk_is_full_while_a_file_is_unpacked(world: World) {
    let full = world.launch.clone().with_files_up_to(file().len() / 2 / 1024).start();
    let import = world.upload_packed(&full.client).await;
    until("the import has to wait", || async {
        let log = full.log();
        let waits = log.iter().filter(|line| line.contains("an import must wait")).count();
        (waits >= 2).then_some(())
    })
    .await;
    assert_eq!(world.number("select count(*) from import_chunks").await, 0, "seed {}", world.seed);
    full.stop().await;
    let left = files_below(world.archive.path());
    assert_eq!(left.len(), 2, "nothing is left but the upload and its manifest: {left:?}");
    let service = world.launch.start();
    world.check(&service.client, import).await;
    until("what was unpacked is removed", || async {
        (files_below(world.archive.path()) == left).then_some(())
    })
    .await;
}
