//! A validator who lies: the development chain's only one, whose key the whole world knows. Alone it
//! is a quorum, so that Ethereum believes whatever it signs.

use anyhow::{ensure, Context, Result};
use polkadot_sdk::{
    sp_consensus_beefy::{
        ecdsa_crypto::{AuthorityId, Signature},
        ValidatorSet,
    },
    sp_core::{ecdsa, Pair as _},
    sp_crypto_hashing::keccak_256,
};
use std::time::Duration;
use tributary_e2e::l1::Account;
use tributary_primitives::{
    bridge::leaf::{commitment, AuthoritySet, Leaf, LeafExtra},
    H256,
};
use tributary_relayer::{
    journal::Journal,
    l1::{from_b256, to_b256, Call, Contracts, FeePolicy, Game, Sender, B256},
    l2::Signed,
};

/// A commitment to a history that never was, with the leaf that makes Ethereum take it.
#[derive(Clone, Debug)]
pub struct Lie {
    /// The block that is signed.
    pub block: u32,
    /// The set that signs.
    pub set: u64,
    /// The root that is signed.
    pub root: H256,
    /// The last leaf under that root; it describes the block before.
    pub leaf: Leaf,
    /// The leaf's proof.
    pub items: Vec<B256>,
}

/// The validator, with an account on Ethereum.
pub struct Liar {
    key: ecdsa::Pair,
    contracts: Contracts,
    sender: Sender,
}

fn pair(left: H256, right: H256) -> H256 {
    H256(keccak_256(&[left.0, right.0].concat()))
}

/// The root of a mountain range of `leaves` leaves whose last has this hash, whatever the others
/// are: every other node is made up. With it the last leaf's proof, in the order of `Mmr.sol`.
fn range(last: H256, leaves: u32) -> (H256, Vec<B256>) {
    // The last mountain is as high as the lowest bit of the count says; those before it are left.
    let height = leaves.trailing_zeros();
    let left = leaves.count_ones() - 1;
    let made_up = |number: u32| H256(keccak_256(&number.to_le_bytes()));
    let items: Vec<H256> = (0..left + height).map(made_up).collect();
    let (peaks, siblings) = items.split_at(left as usize);
    // The last leaf is on the right of each of its siblings.
    let mountain = siblings.iter().fold(last, |node, sibling| pair(*sibling, node));
    let root = peaks.iter().rev().fold(mountain, |bagged, peak| pair(bagged, *peak));
    (root, items.into_iter().map(to_b256).collect())
}

impl Liar {
    /// The validator, paying from this account.
    pub fn new(contracts: Contracts, payer: Account) -> Result<Self> {
        let payer = payer.key()?;
        let journal = Journal::in_memory(&contracts.l1().chain_id().to_string(), payer.address())?;
        let poll = Duration::from_millis(200);
        let sender =
            Sender::new(contracts.l1().clone(), payer, journal, FeePolicy::default(), 1, poll);
        let key = ecdsa::Pair::from_string("//Alice", None).context("a well-known key")?;
        Ok(Self { key, contracts, sender })
    }

    /// Makes up a history that ends with `block`, such that the anchor takes it from `set`.
    pub async fn invent(&self, set: u64, block: u32) -> Result<Lie> {
        let state = self.contracts.anchor_state().await?;
        // The validator stays the same, so that every set has the same root.
        let next = state.next;
        ensure!(set == state.current.id || set == next.id, "{state:?} takes nothing of set {set}");
        let next_set = AuthoritySet { id: set + 1, len: next.length, root: from_b256(next.root) };
        let leaf = Leaf {
            version: 0,
            parent_number: block - 1,
            parent_hash: H256::repeat_byte(0xee),
            next_set,
            extra: LeafExtra {
                domain: from_b256(state.domain),
                withdrawal_root: H256::repeat_byte(0xdd),
                ..LeafExtra::default()
            },
        };
        let (root, items) = range(leaf.hash(), block);
        Ok(Lie { block, set, root, leaf, items })
    }

    /// Signs the lie and gets it anchored. An error if something newer was anchored first.
    pub async fn anchor(&self, lie: &Lie) -> Result<()> {
        let hash = keccak_256(&commitment(lie.root, lie.block, lie.set));
        let signed = Signed {
            block: lie.block,
            set: lie.set,
            root: lie.root,
            signatures: vec![Some(Signature::from(self.key.sign_prehashed(&hash)))],
            raw: vec![],
        };
        let set = ValidatorSet::new([AuthorityId::from(self.key.public())], lie.set)
            .context("a set of one")?;
        let given = signed.for_anchor(&set)?;
        let call = self.contracts.submit(given, &encoded(&lie.leaf), &lie.items);
        self.send(format!("anchor/{}/{}", lie.block, lie.set), &call).await?;
        let root = to_b256(lie.root);
        ensure!(self.contracts.is_anchored(lie.block, root).await?, "it is not anchored");
        Ok(())
    }

    /// Makes a game, with its bond.
    pub async fn propose(&self, claim: H256, block: u32) -> Result<Game> {
        let claim = to_b256(claim);
        let call = self.contracts.create_game(claim, block).await?;
        self.send(format!("propose/{claim:?}"), &call).await?;
        let count = self.contracts.game_count().await?;
        for index in (0..count).rev() {
            let game = self.contracts.game(index).await?.context("a game of another type")?;
            if game.claim == claim {
                return Ok(game);
            }
        }
        anyhow::bail!("the game is not there")
    }

    /// Proves a game's claim under the lie.
    pub async fn prove(&self, game: &Game, lie: &Lie) -> Result<()> {
        let bytes = encoded(&lie.leaf);
        let call = self.contracts.prove_game(game.address, &bytes, &lie.items, lie.block);
        self.send(format!("prove/{:?}", game.address), &call).await
    }

    async fn send(&self, purpose: String, call: &Call) -> Result<()> {
        let outcome = self.sender.execute(&purpose, call, || async { Ok(true) }).await?;
        ensure!(outcome.is_mined(), "{purpose}: {outcome:?}");
        Ok(())
    }
}

fn encoded(leaf: &Leaf) -> Vec<u8> {
    codec::Encode::encode(leaf)
}
