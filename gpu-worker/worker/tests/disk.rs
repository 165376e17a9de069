//! A disk that is full: a process whose files may not grow beyond a limit.

mod common;

use common::real::{question, shape, small, start, store_adapter, write_adapter, BASE};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tributary_client::store::Store;
use tributary_engine::{LoraConfig, Projection};
use tributary_primitives::{Balance, ChannelId};

const FOLDER: &str = "TRIBUTARY_TEST_DISK_FOLDER";
/// Largest file that the child may have, in KiB.
const LIMIT_KIB: usize = 1_024;

fn large() -> LoraConfig {
    LoraConfig { rank: 64, alpha: 64.0, targets: Projection::ALL.to_vec(), rslora: false }
}

/// What runs under the limit; it does nothing when it is run as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = Store::open(folder.join("store").to_str().unwrap()).unwrap();
    let real = start(&folder, &store, 4, 4).await;
    for (id, name, config) in [(1, "small", small()), (2, "large", large())] {
        // Everything is in the store already; this only finds its name.
        let place = folder.join(name);
        let root = tributary_attribution::Index::open(&place.join("influence.idx")).unwrap().root();
        drop(config);
        real.list(id, name, store_adapter(&store, &place, root.into()).await);
    }
    // An adapter that does not fit onto the disk is refused, and the others are not touched.
    for _ in 0..2 {
        let (status, retry, body) = real.ask(&question("large", 2)).await;
        println!("LARGE {status} {} {}", body["error"]["code"], retry.is_some());
        let (status, _, _) = real.ask(&question("small", 2)).await;
        println!("SMALL {status}");
    }
    // Answers until the journal has no room.
    for _ in 0..5_000 {
        let (status, retry, body) = real.ask(&question(BASE, 1)).await;
        if status == 200 {
            println!("SPENT {}", body["payment"]["spent"].as_str().unwrap());
            continue;
        }
        println!("FULL {status} {} {}", body["error"]["code"], retry.is_some());
        // It stays refused, and says so to whoever asks whether it is well.
        let (again, _, _) = real.ask(&question(BASE, 1)).await;
        let ready = real.http.get(format!("{}/ready", real.url)).send().await.unwrap();
        let health = real.http.get(format!("{}/health", real.url)).send().await.unwrap();
        println!("AGAIN {again} {} {}", ready.status().as_u16(), health.status().as_u16());
        println!("PLACES {}", real.api.permits.available_permits());
        return;
    }
    println!("NEVER FULL");
}

async fn prepare(folder: &Path) {
    let store = Store::open(folder.join("store").to_str().unwrap()).unwrap();
    for (name, config) in [("small", small()), ("large", large())] {
        let place = folder.join(name);
        let root = write_adapter(&place, config, &shape(), 5);
        store_adapter(&store, &place, root).await;
    }
    // The base model is put into the store by whoever serves it: here, before the disk is full.
    store
        .put_folder(tributary_client::store::FolderKind::Model, &common::real::base_folder())
        .await
        .unwrap();
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(prepare(folder.path()));
    // The limit on file sizes stands for a full disk; without the signal, a write beyond it fails.
    let script = format!("ulimit -f {LIMIT_KIB}; trap '' XFSZ; exec \"$0\" \"$@\"");
    let output = Command::new("bash")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let lines = |start: &str| -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix(start)).collect()
    };
    assert_eq!(lines("LARGE "), ["503 \"io\" true"; 2], "{text}");
    assert_eq!(lines("SMALL "), ["200"; 2], "{text}");
    assert_eq!(lines("FULL "), ["503 \"journal\" true"], "{text}");
    assert_eq!(lines("AGAIN "), ["503 503 200"], "{text}");
    assert_eq!(lines("PLACES "), ["4"], "{text}");
    // What it acknowledged is there, and with room on the disk it goes on from there.
    let spent = lines("SPENT ");
    assert!(spent.len() > 10, "{text}");
    let acknowledged: Balance = spent.last().unwrap().parse().unwrap();
    let journal = common::open_journal(folder.path());
    let row = journal.channel(ChannelId(1)).unwrap().unwrap();
    assert_eq!((row.spent, row.answers), (acknowledged, spent.len() as u64 + 2));
    journal.check().unwrap();
    // Nothing half-written of the adapter that did not fit is left to be taken for it.
    let parts = std::fs::read_dir(folder.path().join("adapters")).unwrap().flatten();
    let files = parts.flat_map(|part| std::fs::read_dir(part.path()).unwrap().flatten());
    let sizes: Vec<u64> = files.map(|file| file.metadata().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size < LIMIT_KIB as u64 * 1_024), "{sizes:?}");
}
