//! Duties as a service: in the order in which it starts, journal, chains, transactions of an earlier
//! run, duties, metrics.

use crate::{
    addresses::Addresses,
    config::ServiceArgs,
    duties::{anchor::Anchor, propose, resolve, watch, withdraw, Relay},
    error::{RelayerError, Result},
    http::{serve, Pulse},
    journal::Journal,
    l1::{Contracts, Sender, L1},
    l2::L2,
    metrics::Metrics,
};
use std::{fs::File, future::Future, io::Write, path::Path, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use tributary_client::Chain;

/// Longest pause after errors.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Time that rounds under way have to end when the relayer is stopped.
const DRAIN: Duration = Duration::from_secs(10);
/// Wei in a millionth of an ether.
const MICRO_ETHER: u64 = 1_000_000_000_000;

/// Which duties run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// See [`crate::duties::anchor`].
    Anchor,
    /// See [`crate::duties::propose`].
    Propose,
    /// See [`crate::duties::resolve`].
    Resolve,
    /// See [`crate::duties::withdraw`].
    Withdraw,
    /// See [`crate::duties::watch`].
    Watch,
}

impl Duty {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Anchor, Self::Propose, Self::Resolve, Self::Withdraw, Self::Watch];
}

/// Runs duties until `shutdown` resolves. Errors that keep them from starting are returned; later
/// ones are logged, counted, and tried again.
pub async fn run(
    args: ServiceArgs,
    duties: &[Duty],
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let folder = args.data_dir()?;
    let _lock = open_folder(&folder)?;
    let policy = args.policy()?;
    let addresses = Addresses::load(&args.chains.addresses)?;
    let key = args.payment.key()?;
    let l1 = L1::connect(&args.chains.l1_rpc).await?;
    let contracts = Contracts::open(l1.clone(), addresses.clone()).await?;
    let l2 = L2::new(Chain::connect(&args.chains.node).await?);
    let genesis = crate::l1::to_b256(l2.chain().genesis());
    if genesis != addresses.l2_genesis {
        return Err(RelayerError::Config(format!(
            "the node at {} is of another chain than the addresses: its first block is {genesis:?}, \
             not {:?}",
            args.chains.node, addresses.l2_genesis
        )));
    }
    let which = format!("{}/{:?}", addresses.chain_id, addresses.portal);
    let journal = Journal::open(&folder.join("journal.db"), &which, key.address())?;
    let payment = &args.payment;
    let sender =
        Sender::new(l1, key, journal, payment.policy()?, payment.confirmations, payment.poll());
    info!(account = ?sender.address(), chain = addresses.chain_id, "relaying");

    let (metrics, pulse, stop) = (Metrics::default(), Pulse::default(), CancellationToken::new());
    let bound = serve(args.listen, metrics.clone(), pulse.clone(), stop.clone()).await?;
    announce(&format!("http://{bound}"))?;
    let relay = Arc::new(Relay::new(l2, contracts, sender, metrics, policy));

    let loops = TaskTracker::new();
    for purpose in relay.sender.resume().await? {
        let (relay, stop) = (relay.clone(), stop.clone());
        loops.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                outcome = relay.sender.settle(&purpose) => match outcome {
                    Ok(outcome) => info!(purpose, ?outcome, "of an earlier run"),
                    Err(error) => warn!(purpose, %error, "of an earlier run"),
                }
            }
        });
    }
    let pause = Duration::from_secs(args.pause_s.max(1));
    let repeat = Repeat { relay: relay.clone(), pulse, stop: stop.clone(), pause };
    for duty in duties {
        match duty {
            Duty::Anchor => {
                let anchor = Arc::new(Anchor::default());
                repeat.spawn(&loops, "anchor", move |relay| {
                    let anchor = anchor.clone();
                    async move { anchor.round(&relay).await }
                });
            }
            Duty::Propose => {
                repeat.spawn(
                    &loops,
                    "propose",
                    |relay| async move { propose::round(&relay).await },
                );
            }
            Duty::Resolve => {
                repeat.spawn(
                    &loops,
                    "resolve",
                    |relay| async move { resolve::round(&relay).await },
                );
            }
            Duty::Withdraw => {
                repeat.spawn(
                    &loops,
                    "withdraw",
                    |relay| async move { withdraw::round(&relay).await },
                );
            }
            Duty::Watch => {
                repeat.spawn(&loops, "watch", |relay| async move { watch::round(&relay).await });
                listen(&args, &relay, &stop, &loops).await?;
            }
        }
    }
    repeat.spawn(&loops, "account", |relay| async move {
        let balance = relay.contracts.l1().balance(relay.sender.address()).await?;
        let micro = (balance / MICRO_ETHER).low_u64();
        relay.metrics.balance_micro_ether.set(i64::try_from(micro).unwrap_or(i64::MAX));
        relay.sender.journal().check()?;
        Ok(false)
    });
    loops.close();

    shutdown.await;
    info!("stopping: nothing new begins");
    stop.cancel();
    if tokio::time::timeout(DRAIN, loops.wait()).await.is_err() {
        warn!("something did not end in time; the journal goes on from here at the next start");
    }
    Ok(())
}

/// Listens to what this node and others say was signed.
async fn listen(
    args: &ServiceArgs,
    relay: &Arc<Relay>,
    stop: &CancellationToken,
    loops: &TaskTracker,
) -> Result<()> {
    let mut nodes = vec![relay.l2.clone()];
    for url in &args.also_listen {
        nodes.push(L2::new(Chain::connect(url).await?));
    }
    for node in nodes {
        let (relay, stop) = (relay.clone(), stop.clone());
        loops.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watch::listen(&relay, &node) => {}
            }
        });
    }
    Ok(())
}

/// Makes the data folder and locks it: two relayers on one journal would take each other's nonces.
fn open_folder(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder)
        .map_err(RelayerError::io(format!("making {}", folder.display())))?;
    let path = folder.join("lock");
    let lock = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(RelayerError::io(format!("opening {}", path.display())))?;
    lock.try_lock().map_err(|_| {
        RelayerError::Config(format!(
            "another relayer runs on {}; give each its own --data-dir and its own key",
            folder.display()
        ))
    })?;
    Ok(lock)
}

/// Says on standard output where metrics are.
fn announce(url: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{url}").and_then(|()| out.flush()).map_err(RelayerError::io("writing the URL"))
}

struct Repeat {
    relay: Arc<Relay>,
    pulse: Pulse,
    stop: CancellationToken,
    pause: Duration,
}

impl Repeat {
    /// Repeats a round until the stop: at once while it finds something to do, after a pause
    /// otherwise, after longer ones while it fails.
    fn spawn<F, R>(&self, loops: &TaskTracker, name: &'static str, round: F)
    where
        F: Fn(Arc<Relay>) -> R + Send + 'static,
        R: Future<Output = Result<bool>> + Send + 'static,
    {
        let (relay, pulse, stop) = (self.relay.clone(), self.pulse.clone(), self.stop.clone());
        let usual = self.pause;
        pulse.begin(name);
        loops.spawn(async move {
            let mut pause = usual;
            loop {
                let outcome = tokio::select! {
                    // A round is dropped where it stands: the journal is made for that.
                    () = stop.cancelled() => return,
                    outcome = round(relay.clone()) => outcome,
                };
                pause = match outcome {
                    Ok(again) => {
                        pulse.beat(name);
                        if again {
                            Duration::ZERO
                        } else {
                            usual
                        }
                    }
                    Err(error) => {
                        warn!(duty = name, label = error.label(), %error, "will be tried again");
                        relay.metrics.error(error.label());
                        pause.max(usual).saturating_mul(2).min(LONGEST_PAUSE)
                    }
                };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {},
                }
            }
        });
    }
}
