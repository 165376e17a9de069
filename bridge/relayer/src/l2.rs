//! The chain, as the relayer needs it: what its validators signed, in the form that the contracts
//! take, and leaves with their proofs.

use crate::{
    error::{RelayerError, Result},
    l1::{address_of, to_b256, Commitment, SubmittedCommitment, B256, U256},
};
use codec::{Decode, DecodeAll, Encode};
use futures::{StreamExt, TryStreamExt};
use polkadot_sdk::{
    sp_consensus_beefy::{
        ecdsa_crypto::{AuthorityId, Signature},
        known_payloads::MMR_ROOT_ID,
        ConsensusLog, SignedCommitment, ValidatorSet, VersionedFinalityProof,
    },
    sp_core::ecdsa,
    sp_crypto_hashing::keccak_256,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tributary_client::{chain::BlockId, Chain};
use tributary_primitives::{
    bridge::{
        leaf::{commitment as commitment_bytes, quorum, Leaf},
        tree, SettlementView, Withdrawal,
    },
    H256,
};

/// Headers that are asked for at a time while looking for a session's first block.
const SCAN_WIDTH: usize = 16;
/// Sets of validators that are remembered.
const KEPT_SETS: usize = 16;

/// What validators signed, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    /// The block.
    pub block: u32,
    /// The set that signed.
    pub set: u64,
    /// The root of the mountain range at that block.
    pub root: H256,
    /// A signature for each of the set who signed, in the set's order.
    pub signatures: Vec<Option<Signature>>,
    /// The justification as the node gave it.
    pub raw: Vec<u8>,
}

/// The first block of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionStart {
    /// The block.
    pub block: BlockId,
    /// Who signs from it on.
    pub set: Arc<ValidatorSet<AuthorityId>>,
}

/// A session that has begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Who signs in it.
    pub set: Arc<ValidatorSet<AuthorityId>>,
    /// Its newest final block: the one whose state a node is the likeliest to have kept.
    pub newest: BlockId,
}

/// A leaf and its proof, in the form that the contracts take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenLeaf {
    /// The leaf.
    pub leaf: Leaf,
    /// The same, encoded.
    pub bytes: Vec<u8>,
    /// The proof's items.
    pub items: Vec<B256>,
    /// The anchored block under whose root it stands.
    pub anchored: u32,
}

/// The chain. Clones share what they remember.
#[derive(Clone)]
pub struct L2 {
    chain: Chain,
    sets: Arc<Mutex<BTreeMap<u64, Arc<ValidatorSet<AuthorityId>>>>>,
}

impl Signed {
    /// Reads a justification. Only commitments that the contracts can read are taken: a root of the
    /// mountain range, and nothing else.
    pub fn read(raw: &[u8]) -> Result<Self> {
        let bad = |reason: String| RelayerError::unusable("a justification", reason);
        let VersionedFinalityProof::V1(SignedCommitment { commitment, signatures }) =
            VersionedFinalityProof::<u32, Signature>::decode_all(&mut &*raw)
                .map_err(|error| bad(error.to_string()))?;
        let root: H256 = commitment
            .payload
            .get_decoded(&MMR_ROOT_ID)
            .ok_or_else(|| bad("it has no root of the mountain range".into()))?;
        let (block, set) = (commitment.block_number, commitment.validator_set_id);
        if commitment.encode() != commitment_bytes(root, block, set) {
            return Err(bad("it signs more than the root of the mountain range".into()));
        }
        Ok(Self { block, set, root, signatures, raw: raw.to_vec() })
    }

    /// What was signed, as the anchor takes it.
    pub fn commitment(&self) -> Commitment {
        Commitment { mmr_root: self.root.0, block_number: self.block, validator_set_id: self.set }
    }

    /// The form that the anchor takes: exactly a quorum of good signatures, since more would only
    /// cost more.
    pub fn for_anchor(&self, set: &ValidatorSet<AuthorityId>) -> Result<SubmittedCommitment> {
        let what = || format!("the justification of block {}", self.block);
        let bad = |reason: String| RelayerError::unusable(what(), reason);
        if set.id() != self.set || set.len() != self.signatures.len() {
            return Err(bad(format!(
                "it is of set {} with {} members, not of set {} with {}",
                self.set,
                self.signatures.len(),
                set.id(),
                set.len()
            )));
        }
        let hash = keccak_256(&commitment_bytes(self.root, self.block, self.set));
        let needed = quorum(u32::try_from(set.len()).unwrap_or(u32::MAX)) as usize;
        let mut bitmap = vec![U256::zero(); set.len().div_ceil(256)];
        let (mut signatures, mut validators) = (Vec::new(), Vec::new());
        let mut count = 0;
        for (index, (id, signature)) in set.validators().iter().zip(&self.signatures).enumerate() {
            let public: [u8; 33] = id
                .encode()
                .try_into()
                .map_err(|_| bad(format!("the key of validator {index} has another length")))?;
            validators.extend_from_slice(address_of(&public)?.as_bytes());
            let Some(signature) = signature.as_ref().filter(|_| count < needed) else { continue };
            let bytes: [u8; 65] = signature
                .encode()
                .try_into()
                .map_err(|_| bad(format!("signature {index} has another length")))?;
            let signer = ecdsa::Signature::from_raw(bytes).recover_prehashed(&hash);
            if signer.map(|key| key.0) != Some(public) {
                tracing::warn!(block = self.block, index, "a signature is not its validator's");
                continue;
            }
            let [rs @ .., v] = bytes;
            signatures.extend_from_slice(&rs);
            // Ethereum counts from 27.
            signatures.push(if v < 27 { v + 27 } else { v });
            if let Some(word) = bitmap.get_mut(index / 256) {
                *word |= U256::one() << (index % 256);
            }
            count += 1;
        }
        if count < needed {
            return Err(bad(format!("it has {count} good signatures of {needed} needed")));
        }
        Ok(SubmittedCommitment { commitment: self.commitment(), bitmap, signatures, validators })
    }
}

impl L2 {
    /// The chain behind this node.
    pub fn new(chain: Chain) -> Self {
        Self { chain, sets: Arc::default() }
    }

    /// The connection.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The last block that the validators signed; `None` before the first.
    pub async fn signed_head(&self) -> Result<Option<BlockId>> {
        match self.chain.beefy_finalized().await {
            Ok(block) if block.number > 0 => Ok(Some(block)),
            Ok(_) => Ok(None),
            // The node says so while nothing is signed.
            Err(tributary_client::ChainError::Rpc(_)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// What the validators signed for a block, if the node has it.
    pub async fn signed(&self, block: H256) -> Result<Option<Signed>> {
        let raw = self.chain.beefy_justification(block).await?;
        raw.as_deref().map(Signed::read).transpose()
    }

    /// The root of the mountain range that this node has for a block.
    pub async fn own_root(&self, block: H256) -> Result<Option<H256>> {
        for log in self.logs(block).await? {
            if let ConsensusLog::MmrRoot(root) = log {
                return Ok(Some(root));
            }
        }
        Ok(None)
    }

    async fn logs(&self, block: H256) -> Result<Vec<ConsensusLog<AuthorityId>>> {
        let logs = self.chain.beefy_logs(block).await?;
        Ok(logs.iter().filter_map(|log| ConsensusLog::decode(&mut log.as_slice()).ok()).collect())
    }

    async fn change_at(&self, number: u32) -> Result<Option<SessionStart>> {
        let hash = self.chain.block_hash(number).await?;
        for log in self.logs(hash).await? {
            if let ConsensusLog::AuthoritiesChange(set) = log {
                let set = Arc::new(set);
                self.remember(set.clone());
                return Ok(Some(SessionStart { block: BlockId { hash, number }, set }));
            }
        }
        Ok(None)
    }

    /// The first block of the next session after block `after`, up to block `until`. Headers are
    /// kept for ever, so that this needs no old state.
    pub async fn next_session(&self, after: u32, until: u32) -> Result<Option<SessionStart>> {
        let mut found = futures::stream::iter(after.saturating_add(1)..=until)
            .map(|number| self.change_at(number))
            .buffered(SCAN_WIDTH);
        while let Some(change) = found.try_next().await? {
            if change.is_some() {
                return Ok(change);
            }
        }
        Ok(None)
    }

    fn remember(&self, set: Arc<ValidatorSet<AuthorityId>>) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.insert(set.id(), set);
        while sets.len() > KEPT_SETS {
            sets.pop_first();
        }
    }

    /// Number of the set that signs now.
    pub async fn current_set(&self) -> Result<u64> {
        let set: Option<ValidatorSet<AuthorityId>> =
            self.chain.runtime_api("BeefyApi_validator_set", &()).await?;
        Ok(set.map_or(0, |set| set.id()))
    }

    /// The set that signs at a block.
    pub async fn set_at(&self, set: u64, block: BlockId) -> Result<Arc<ValidatorSet<AuthorityId>>> {
        let known = self.sets.lock().unwrap_or_else(PoisonError::into_inner).get(&set).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let asked: std::result::Result<Option<ValidatorSet<AuthorityId>>, _> =
            self.chain.runtime_api_at("BeefyApi_validator_set", &(), Some(block.hash)).await;
        if let Ok(Some(found)) = asked {
            if found.id() == set {
                let found = Arc::new(found);
                self.remember(found.clone());
                return Ok(found);
            }
        }
        // The block's state is gone, but the header that began its session is there.
        let mut earlier = futures::stream::iter((1..=block.number).rev())
            .map(|number| self.change_at(number))
            .buffered(SCAN_WIDTH);
        while let Some(change) = earlier.try_next().await? {
            match change {
                Some(start) if start.set.id() == set => return Ok(start.set),
                Some(start) if start.set.id() < set => break,
                _ => {}
            }
        }
        Err(RelayerError::unusable(format!("validator set {set}"), "this node does not know it"))
    }

    /// The session in which a set signs; `None` if it has not begun, as far as blocks are final.
    pub async fn session(&self, set: u64) -> Result<Option<Session>> {
        let head = self.chain.finalized().await?;
        let now: Option<ValidatorSet<AuthorityId>> =
            self.chain.runtime_api_at("BeefyApi_validator_set", &(), Some(head.hash)).await?;
        let Some(now) = now.filter(|now| set <= now.id()) else { return Ok(None) };
        if set == now.id() {
            return Ok(Some(Session { set: Arc::new(now), newest: head }));
        }
        let mut end = head.number;
        let mut earlier = futures::stream::iter((1..=head.number).rev())
            .map(|number| self.change_at(number))
            .buffered(SCAN_WIDTH);
        while let Some(change) = earlier.try_next().await? {
            let Some(start) = change else { continue };
            if start.set.id() <= set {
                break;
            }
            end = start.block.number.saturating_sub(1);
        }
        let newest = BlockId { number: end, hash: self.chain.block_hash(end).await? };
        Ok(Some(Session { set: self.set_at(set, newest).await?, newest }))
    }

    /// Leaf `block`, which describes that block, with its proof under the root of the anchored
    /// block `anchored`, which must be later.
    pub async fn leaf(&self, block: u32, anchored: u32) -> Result<ProvenLeaf> {
        let proof = self.chain.leaf_proof(block, anchored).await?;
        let what = || format!("leaf {block}");
        let leaf = Leaf::read(&proof.leaf)
            .filter(|leaf| leaf.parent_number == block)
            .ok_or_else(|| RelayerError::unusable(what(), "it has another form"))?;
        if proof.count != u64::from(anchored) {
            let reason = format!("its proof is for {} leaves, not {anchored}", proof.count);
            return Err(RelayerError::unusable(what(), reason));
        }
        Ok(ProvenLeaf {
            leaf,
            bytes: proof.leaf,
            items: proof.items.into_iter().map(to_b256).collect(),
            anchored,
        })
    }

    /// The state of the bridge at a block; at the best one if none is named.
    pub async fn settlement(&self, at: Option<H256>) -> Result<SettlementView> {
        Ok(match at {
            Some(block) => self.chain.settlement().state_at(block).await?,
            None => self.chain.settlement().state().await?,
        })
    }

    /// A withdrawal by its position.
    pub async fn withdrawal(&self, index: u32) -> Result<Option<Withdrawal>> {
        Ok(self.chain.settlement().withdrawal(index).await?)
    }

    /// The proof of a withdrawal under the root that the tree had at the end of a block, which must
    /// be `root`: 32 siblings, bottom up. `None` if the withdrawal was not made by then.
    pub async fn withdrawal_proof(
        &self,
        index: u32,
        withdrawal: &Withdrawal,
        at: BlockId,
        root: H256,
    ) -> Result<Option<tree::Proof>> {
        let hash = withdrawal.hash();
        let head = self.settlement(None).await?.withdrawals;
        // The count at that block, if its state is still there; otherwise the one whose root fits.
        let counts: Vec<u32> = match self.settlement(Some(at.hash)).await {
            Ok(view) => vec![view.withdrawals],
            Err(_) => (index.saturating_add(1)..=head).rev().collect(),
        };
        for count in counts.into_iter().filter(|count| *count > index) {
            let proof = self.chain.settlement().withdrawal_proof(index, count).await?;
            if let Some(proof) = proof {
                if tree::verify(&root, &hash, index, &proof) {
                    return Ok(Some(proof));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polkadot_sdk::{
        sp_consensus_beefy::{Commitment as BeefyCommitment, Payload},
        sp_core::{ecdsa::Pair, Pair as _},
    };

    fn pair(index: u8) -> Pair {
        Pair::from_seed(&[index + 1; 32])
    }

    fn set(length: u8) -> ValidatorSet<AuthorityId> {
        ValidatorSet::new((0..length).map(|index| pair(index).public().into()), 3).unwrap()
    }

    /// A justification of block 9 by `signers` of `length` validators.
    fn justification(length: u8, signers: &[u8]) -> Vec<u8> {
        let root = H256::repeat_byte(5);
        let commitment = BeefyCommitment {
            payload: Payload::from_single_entry(MMR_ROOT_ID, root.encode()),
            block_number: 9u32,
            validator_set_id: 3,
        };
        let hash = keccak_256(&commitment.encode());
        let signatures = (0..length)
            .map(|index| {
                signers.contains(&index).then(|| Signature::from(pair(index).sign_prehashed(&hash)))
            })
            .collect();
        VersionedFinalityProof::V1(SignedCommitment { commitment, signatures }).encode()
    }

    #[test]
    fn the_anchor_gets_exactly_a_quorum() {
        // 7 validators: 7 - 6/3 = 5.
        let signed = Signed::read(&justification(7, &[0, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!((signed.block, signed.set, signed.root), (9, 3, H256::repeat_byte(5)));
        let given = signed.for_anchor(&set(7)).unwrap();
        assert_eq!(given.bitmap, [U256::from(0b0011_1101)]);
        assert_eq!((given.signatures.len(), given.validators.len()), (5 * 65, 7 * 20));
        assert!(given.signatures.chunks(65).all(|one| matches!(one[64], 27 | 28)));

        let few = Signed::read(&justification(7, &[0, 1, 2, 3])).unwrap();
        assert!(few
            .for_anchor(&set(7))
            .unwrap_err()
            .to_string()
            .contains("4 good signatures of 5"));
        assert!(signed.for_anchor(&set(8)).is_err());
    }

    #[test]
    fn a_foreign_signature_does_not_count() {
        let mut signed = Signed::read(&justification(4, &[0, 1, 2, 3])).unwrap();
        signed.signatures[1] = signed.signatures[0].clone();
        // 4 validators: 4 - 3/3 = 3, which the other three are.
        assert_eq!(signed.for_anchor(&set(4)).unwrap().bitmap, [U256::from(0b1101)]);
        signed.signatures[3] = signed.signatures[0].clone();
        assert!(signed.for_anchor(&set(4)).is_err());
    }

    #[test]
    fn bitmaps_of_large_sets_have_several_words() {
        let signers: Vec<u8> = (0..=254).collect();
        let root = H256::repeat_byte(5);
        let commitment = commitment_bytes(root, 9, 3);
        let hash = keccak_256(&commitment);
        // 300 validators from 255 keys: the last 45 are the first ones again.
        let keys: Vec<Pair> = signers
            .iter()
            .copied()
            .chain(0..45)
            .map(|i| Pair::from_seed(&[i.max(1); 32]))
            .collect();
        let set =
            ValidatorSet::new(keys.iter().map(|key| AuthorityId::from(key.public())), 3).unwrap();
        let signed = Signed {
            block: 9,
            set: 3,
            root,
            // The first hundred are away: 300 - 299/3 = 201 are needed, and 200 are there.
            signatures: keys
                .iter()
                .enumerate()
                .map(|(i, key)| (i >= 99).then(|| Signature::from(key.sign_prehashed(&hash))))
                .collect(),
            raw: Vec::new(),
        };
        let given = signed.for_anchor(&set).unwrap();
        assert_eq!(given.signatures.len(), 201 * 65);
        let set_bits: u32 =
            given.bitmap.iter().flat_map(|word| word.0).map(|limb| limb.count_ones()).sum();
        assert_eq!((given.bitmap.len(), set_bits), (2, 201));
        assert!(!given.bitmap[0].bit(98) && given.bitmap[0].bit(99) && given.bitmap[1].bit(43));
    }

    #[test]
    fn what_signs_more_than_the_root_is_refused() {
        let mut payload = Payload::from_single_entry(MMR_ROOT_ID, H256::zero().encode());
        payload = payload.push_raw(*b"zz", vec![1]);
        let commitment = BeefyCommitment { payload, block_number: 1u32, validator_set_id: 0 };
        let signatures: Vec<Option<Signature>> = vec![None];
        let raw = VersionedFinalityProof::V1(SignedCommitment { commitment, signatures }).encode();
        assert!(matches!(Signed::read(&raw), Err(RelayerError::Unusable { .. })));
        assert!(Signed::read(&[1, 2, 3]).is_err());
    }
}
