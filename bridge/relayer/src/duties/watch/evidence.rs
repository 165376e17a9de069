//! What validators signed, with who did, in the forms that Ethereum and the chain take.

use crate::{
    error::{RelayerError, Result},
    l1::{address_of, SubmittedCommitment},
    l2::Signed,
};
use codec::{Decode, Encode};
use polkadot_sdk::sp_consensus_beefy::{
    check_commitment_signature,
    ecdsa_crypto::{AuthorityId, Signature},
    known_payloads::MMR_ROOT_ID,
    Commitment, DoubleVotingProof, Payload, ValidatorSet, VoteMessage,
};
use tributary_primitives::H256;

/// One validator's signature under one commitment.
pub(super) type Vote = VoteMessage<u32, AuthorityId, Signature>;
/// Two votes of one validator that contradict each other.
pub(super) type DoubleVote = DoubleVotingProof<u32, AuthorityId, Signature>;

/// A commitment that a quorum is said to have signed, as it came.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// In a justification, from a node.
    Signed(Signed),
    /// In a transaction, from the anchor.
    Offered(SubmittedCommitment),
}

impl Said {
    /// The block.
    pub fn block(&self) -> u32 {
        match self {
            Self::Signed(signed) => signed.block,
            Self::Offered(given) => given.commitment.block_number,
        }
    }

    /// The set that is said to have signed.
    pub fn set(&self) -> u64 {
        match self {
            Self::Signed(signed) => signed.set,
            Self::Offered(given) => given.commitment.validator_set_id,
        }
    }

    /// The root of the mountain range.
    pub fn root(&self) -> H256 {
        match self {
            Self::Signed(signed) => signed.root,
            Self::Offered(given) => H256(given.commitment.mmr_root),
        }
    }

    /// The form that the anchor takes.
    pub fn for_anchor(&self, set: &ValidatorSet<AuthorityId>) -> Result<SubmittedCommitment> {
        match self {
            Self::Signed(signed) => signed.for_anchor(set),
            Self::Offered(given) => Ok(given.clone()),
        }
    }

    /// Who of the set signed it; signatures that are not their validator's are left out.
    pub fn votes(&self, set: &ValidatorSet<AuthorityId>) -> Result<Vec<Vote>> {
        let signatures = match self {
            Self::Signed(signed) => signed.signatures.clone(),
            Self::Offered(given) => signatures(given, set)?,
        };
        let payload = Payload::from_single_entry(MMR_ROOT_ID, self.root().encode());
        let commitment =
            Commitment { payload, block_number: self.block(), validator_set_id: self.set() };
        Ok(set
            .validators()
            .iter()
            .zip(signatures)
            .filter_map(|(id, signature)| {
                let signature = signature?;
                check_commitment_signature(&commitment, id, &signature).then(|| Vote {
                    commitment: commitment.clone(),
                    id: id.clone(),
                    signature,
                })
            })
            .collect())
    }
}

/// The signatures that the anchor was offered, each at its validator's place.
fn signatures(
    given: &SubmittedCommitment,
    set: &ValidatorSet<AuthorityId>,
) -> Result<Vec<Option<Signature>>> {
    let mut addresses = Vec::with_capacity(given.validators.len());
    for id in set.validators() {
        let public: [u8; 33] = id
            .encode()
            .try_into()
            .map_err(|_| RelayerError::unusable("a validator's key", "it has another length"))?;
        addresses.extend_from_slice(address_of(&public)?.as_bytes());
    }
    if addresses != given.validators {
        let what = format!("the commitment of set {}", given.commitment.validator_set_id);
        return Err(RelayerError::unusable(what, "its validators are not this chain's"));
    }
    let mut rest = given.signatures.chunks_exact(65);
    (0..set.len())
        .map(|index| {
            let signed = given.bitmap.get(index / 256).is_some_and(|word| word.bit(index % 256));
            let Some(bytes) = signed.then(|| rest.next()).flatten() else { return Ok(None) };
            let mut bytes = bytes.to_vec();
            if let Some(v) = bytes.last_mut() {
                // The chain counts from 0.
                *v = v.saturating_sub(27);
            }
            Signature::decode(&mut bytes.as_slice())
                .map(Some)
                .map_err(|error| RelayerError::unusable("an anchored signature", error))
        })
        .collect()
}

/// Of those who signed `theirs`, who signed `ours` too, and the votes of the others.
pub(super) fn divide(ours: &[Vote], theirs: Vec<Vote>) -> (Vec<DoubleVote>, Vec<Vote>) {
    let (mut double, mut single) = (Vec::new(), Vec::new());
    for second in theirs {
        match ours.iter().find(|vote| vote.id == second.id) {
            Some(first) => double.push(DoubleVote { first: first.clone(), second }),
            None => single.push(second),
        }
    }
    (double, single)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polkadot_sdk::{
        sp_consensus_beefy::check_double_voting_proof,
        sp_core::{ecdsa::Pair, Pair as _},
        sp_crypto_hashing::keccak_256,
    };
    use tributary_primitives::bridge::leaf::commitment;

    fn keys(first: u8) -> Vec<Pair> {
        (first..first + 4).map(|seed| Pair::from_seed(&[seed; 32])).collect()
    }

    fn set(keys: &[Pair]) -> ValidatorSet<AuthorityId> {
        ValidatorSet::new(keys.iter().map(|key| AuthorityId::from(key.public())), 2).unwrap()
    }

    fn signed(root: u8, signers: &[usize]) -> Signed {
        let root = H256::repeat_byte(root);
        let hash = keccak_256(&commitment(root, 9, 2));
        let signatures = keys(1)
            .iter()
            .enumerate()
            .map(|(i, key)| {
                signers.contains(&i).then(|| Signature::from(key.sign_prehashed(&hash)))
            })
            .collect();
        Signed { block: 9, set: 2, root, signatures, raw: vec![] }
    }

    #[test]
    fn those_who_signed_both_are_found_whichever_way_it_came() {
        let set = set(&keys(1));
        let ours = Said::Signed(signed(1, &[0, 1, 2]));
        let theirs = Said::Offered(signed(2, &[1, 2, 3]).for_anchor(&set).unwrap());
        assert_eq!((theirs.block(), theirs.set(), theirs.root()), (9, 2, H256::repeat_byte(2)));
        let ours = ours.votes(&set).unwrap();
        let (double, single) = divide(&ours, theirs.votes(&set).unwrap());
        let guilty: Vec<_> = double.iter().map(|proof| proof.offender_id().clone()).collect();
        assert_eq!(guilty, set.validators()[1..3]);
        assert!(double.iter().all(check_double_voting_proof));
        let alone: Vec<_> = single.iter().map(|vote| vote.id.clone()).collect();
        assert_eq!(alone, set.validators()[3..]);
    }

    #[test]
    fn nobody_is_accused_for_what_another_signed() {
        let set = set(&keys(1));
        let mut bad = signed(1, &[0, 1, 2]);
        bad.signatures[1] = bad.signatures[0].clone();
        let votes = Said::Signed(bad).votes(&set).unwrap();
        let who: Vec<_> = votes.into_iter().map(|vote| vote.id).collect();
        assert_eq!(who, [set.validators()[0].clone(), set.validators()[2].clone()]);
    }

    #[test]
    fn another_set_of_the_same_number_is_refused() {
        let others = self::set(&keys(11));
        let given = signed(2, &[0, 1, 2]).for_anchor(&set(&keys(1))).unwrap();
        let refused = Said::Offered(given).votes(&others).unwrap_err();
        assert!(refused.to_string().contains("not this chain's"), "{refused}");
    }
}
