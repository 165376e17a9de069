//! A real process, really killed (SIGKILL) while it settles, again and again.

mod common;

use common::{chain::FakeChain, give_answer, open_journal, worker};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tributary_primitives::{views::BatchState, Balance, ChannelId};
use tributary_worker::settle::{Policy, Settler};

const FOLDER: &str = "TRIBUTARY_TEST_KILL_FOLDER";
const ANSWERS: u64 = 60;

fn chain_file(folder: &Path) -> PathBuf {
    folder.join("chain.json")
}

/// What the killed process does; it does nothing when it is run as a test.
///
/// It gives answers and settles at the same time, and says on disk which answers it acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let chain = Arc::new(FakeChain::in_file(&chain_file(&folder), Duration::from_millis(4)));
    let journal = open_journal(&folder);
    let policy = Policy { idle: Duration::ZERO, max_age: Duration::ZERO, max_answers: 1 };
    let settler =
        Settler::new(journal.clone(), chain.clone(), chain.clone(), worker().account(), policy);
    let serving = {
        let (journal, folder) = (journal.clone(), folder.clone());
        std::thread::spawn(move || loop {
            let given = journal.channel(ChannelId(1)).unwrap().map_or(0, |row| row.answers);
            if given >= ANSWERS {
                return;
            }
            let answer = give_answer(&journal, 1, 7, 100 + u128::from(given), &[(1, 700_000)], 1);
            let spent = answer.spent.to_string();
            // The acknowledgement: whoever reads it relies on the journal.
            std::fs::write(folder.join("acknowledged.next"), &spent).unwrap();
            std::fs::rename(folder.join("acknowledged.next"), folder.join("acknowledged")).unwrap();
            std::thread::sleep(Duration::from_millis(3));
        })
    };
    loop {
        settler.round(10).await.unwrap();
        chain.change(|state| state.height += 1);
        let state = chain.state();
        let all_final = state.batches.iter().all(|batch| batch.state == BatchState::Final);
        let idle = journal.unsubmitted_batch().unwrap().is_none()
            && journal.pending().unwrap().answers == 0;
        if serving.is_finished() && all_final && idle {
            break;
        }
    }
    std::fs::write(folder.join("finished"), "").unwrap();
}

#[test]
fn a_killed_worker_loses_nothing_and_pays_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    FakeChain::in_file(&chain_file(path), Duration::ZERO).open_channel(1, 1_000_000);
    let (started, mut kills, mut acknowledged): (_, u64, Balance) = (Instant::now(), 0, 0);
    while !path.join("finished").exists() {
        assert!(started.elapsed() < Duration::from_secs(240), "{kills} kills and no end");
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // A different moment each time; late enough to come further than the last one.
        let moment = Duration::from_millis(60 + (kills * 37) % 140 + kills * 6);
        let since = Instant::now();
        while since.elapsed() < moment {
            if process.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if process.try_wait().unwrap().is_none() {
            process.kill().unwrap();
            kills += 1;
        }
        let status = process.wait().unwrap();
        assert!(status.code().is_none_or(|code| code == 0), "the child failed: {status}");
        // What was acknowledged before the kill is in the journal after it.
        if let Ok(text) = std::fs::read_to_string(path.join("acknowledged")) {
            acknowledged = text.parse().unwrap();
            let row = open_journal(path).channel(ChannelId(1)).unwrap().unwrap();
            assert!(row.spent >= acknowledged, "{} < {acknowledged}", row.spent);
        }
    }
    assert!(kills >= 3, "it was over before it could be killed ({kills})");
    let spent: Balance = (0..u128::from(ANSWERS)).map(|i| 100 + i).sum();
    assert_eq!(acknowledged, spent);
    let state = FakeChain::in_file(&chain_file(path), Duration::ZERO).state();
    assert_eq!(state.channels[&1].redeemed, spent);
    assert_eq!(state.revenue, "0");
    assert_eq!(state.batches.iter().map(|batch| batch.fees).sum::<Balance>(), spent);
    assert_eq!(state.batches.iter().map(|batch| batch.receipts_count).sum::<u64>(), ANSWERS);
    let refused: Vec<_> =
        state.refusals.iter().filter(|reason| *reason != "StillPending").collect();
    assert!(refused.is_empty(), "{refused:?}");
    println!("{kills} kills, {} batches", state.batches.len());
}
