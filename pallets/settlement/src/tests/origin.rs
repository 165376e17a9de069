use super::{events, refused};
use crate::{mock::*, trie, Counts, Deposits, Error, Event, Origin};
use polkadot_sdk::{
    frame_support::{assert_noop, assert_ok},
    sp_core::{H160, H256},
    sp_runtime::DispatchError,
};
use tributary_primitives::bridge::{
    keccak, origin::MAX_HASHES, Advance, L1Origin, OriginProof, L2_NOTES,
};

/// An inherent with nothing but an origin.
fn only(origin: OriginProof) -> Advance {
    Advance { origin: Some(origin), bodies: vec![] }
}

/// An Ethereum with three deposits, and the proof of them.
fn three() -> (Ethereum, OriginProof) {
    let mut ethereum = Ethereum::default();
    for amount in [500, 600, 700] {
        ethereum.open(&ALICE, amount);
    }
    let origin = ethereum.block();
    (ethereum, origin)
}

#[test]
fn an_origin_without_deposits_is_taken() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        let origin = ethereum.block();
        let hash = keccak(&origin.header);
        assert_ok!(advance(only(origin)));
        let expected = L1Origin { number: 101, hash, timestamp: 1_700_001_212 };
        assert_eq!(Origin::<Test>::get(), Some(expected));
        assert_eq!(events(), [Event::OriginAdvanced { origin: expected, known: 0 }]);
        assert_eq!(Deposits::<Test>::get(), Counts::default());
    });
}

#[test]
fn deposits_become_known_with_their_origin() {
    ExtBuilder::default().build_and_execute(|| {
        let (mut ethereum, origin) = three();
        assert_ok!(advance(only(origin)));
        let expected = Counts { known: 3, executed: 0, rolling: ethereum.rolling() };
        assert_eq!(Deposits::<Test>::get(), expected);
        // A later block with none, and one with another.
        next_block();
        assert_ok!(advance(only(ethereum.block())));
        assert_eq!(Deposits::<Test>::get(), expected);
        next_block();
        ethereum.deposit(CAROL, L2_NOTES, vec![1]);
        assert_ok!(advance(only(ethereum.block())));
        assert_eq!(Deposits::<Test>::get().known, 4);
        assert_eq!(Settlement::view_state().deposits_hash, ethereum.rolling());
    });
}

#[test]
fn an_unjoined_chain_takes_no_origin() {
    ExtBuilder::default().unjoined().build_and_execute(|| {
        refused(only(Ethereum::default().block()), Error::NotJoined);
    });
}

#[test]
fn an_origin_goes_forward_only() {
    ExtBuilder::default().build_and_execute(|| {
        let (mut ethereum, origin) = three();
        assert_ok!(advance(only(origin.clone())));
        next_block();
        // The same again, one before, and one of the same height.
        refused(only(OriginProof { deposit_hashes: vec![], ..origin }), Error::NotNewer);
        ethereum.number = 99;
        refused(only(ethereum.block()), Error::NotNewer);
        refused(only(ethereum.block()), Error::NotNewer);
        assert_ok!(advance(only(ethereum.block())));
        assert_eq!(Origin::<Test>::get().unwrap().number, 102);
    });
}

#[test]
fn a_block_has_one_inherent() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        assert_ok!(advance(only(ethereum.block())));
        assert_noop!(advance(only(ethereum.block())), Error::<Test>::AlreadyAdvanced);
        next_block();
        assert_ok!(advance(only(ethereum.block())));
    });
}

#[test]
fn a_deposit_cannot_be_left_out_or_moved() {
    ExtBuilder::default().build_and_execute(|| {
        let (_, good) = three();
        let second = good.deposit_hashes[1];
        let with = |change: &dyn Fn(&mut Vec<H256>)| {
            let mut hashes = good.deposit_hashes.clone();
            change(&mut hashes);
            only(OriginProof { deposit_hashes: hashes, ..good.clone() })
        };
        // Left out: at the end, in the middle, all.
        refused(with(&|hashes| hashes.truncate(2)), Error::BadCountProof);
        refused(with(&|hashes| hashes.retain(|hash| *hash != second)), Error::BadCountProof);
        refused(with(&|hashes| hashes.clear()), Error::BadCountProof);
        // One too many, whether new or repeated.
        refused(with(&|hashes| hashes.push(H256::zero())), Error::BadCountProof);
        refused(with(&|hashes| hashes.push(hashes[0])), Error::BadCountProof);
        // Another order, another hash, one twice in place of another.
        refused(with(&|hashes| hashes.swap(0, 1)), Error::BadHashProof);
        refused(with(&|hashes| hashes.reverse()), Error::BadHashProof);
        refused(with(&|hashes| hashes[2] = H256::zero()), Error::BadHashProof);
        refused(with(&|hashes| hashes[2] = hashes[1]), Error::BadHashProof);
        assert_ok!(advance(only(good)));
    });
}

#[test]
fn count_and_hash_belong_together() {
    ExtBuilder::default().build_and_execute(|| {
        // A portal whose count is ahead of its hash, and one whose count is behind.
        for count in [2, 4] {
            let (mut ethereum, _) = three();
            ethereum.claimed_count = Some(count);
            let mut origin = ethereum.block();
            let hashes = ethereum.deposits.iter().chain(&ethereum.deposits).map(|d| d.hash());
            origin.deposit_hashes = hashes.take(count as usize).collect();
            refused(only(origin), Error::BadHashProof);
        }
    });
}

#[test]
fn another_account_proves_nothing() {
    ExtBuilder::default().build_and_execute(|| {
        let (mut ethereum, good) = three();
        ethereum.portal = H160([0x71; 20]);
        let mut other = ethereum.block();
        other.deposit_hashes = good.deposit_hashes.clone();
        // The other account has the very slots; the portal is not in that state at all.
        refused(only(other.clone()), Error::BadAccountProof);
        // The right account's nodes do not belong to that state.
        let mixed = OriginProof { account_proof: good.account_proof.clone(), ..other };
        refused(only(mixed), Error::BadAccountProof);
        assert_ok!(advance(only(good)));
    });
}

#[test]
fn proofs_of_slots_cannot_be_exchanged_or_cut() {
    ExtBuilder::default().build_and_execute(|| {
        let (_, good) = three();
        let swapped = OriginProof {
            count_proof: good.hash_proof.clone(),
            hash_proof: good.count_proof.clone(),
            ..good.clone()
        };
        refused(only(swapped), Error::BadCountProof);
        let mut cut = good.clone();
        cut.hash_proof = cut.count_proof.clone();
        refused(only(cut), Error::BadHashProof);
        // Each node matters, and so does their order.
        for at in 0..good.account_proof.len() {
            let mut cut = good.clone();
            cut.account_proof.remove(at);
            refused(only(cut), Error::BadAccountProof);
        }
        for at in 0..good.count_proof.len() {
            let mut cut = good.clone();
            cut.count_proof.remove(at);
            refused(only(cut), Error::BadCountProof);
        }
        for at in 0..good.hash_proof.len() {
            let mut cut = good.clone();
            cut.hash_proof.remove(at);
            refused(only(cut), Error::BadHashProof);
        }
        let mut turned = good.clone();
        turned.account_proof.reverse();
        refused(only(turned), Error::BadAccountProof);
        let mut longer = good.clone();
        longer.account_proof.push(good.account_proof[0].clone());
        refused(only(longer), Error::BadAccountProof);
        let mut longer = good.clone();
        longer.count_proof.push(good.count_proof[0].clone());
        refused(only(longer), Error::BadCountProof);
        // An empty trie's node in front of all.
        let mut empty = good.clone();
        empty.count_proof = vec![vec![0x80]];
        refused(only(empty), Error::BadCountProof);
        assert_ok!(advance(only(good)));
    });
}

#[test]
fn every_byte_of_a_proof_matters() {
    ExtBuilder::default().build_and_execute(|| {
        let (_, good) = three();
        type Part = fn(&mut OriginProof) -> &mut Vec<Vec<u8>>;
        let parts: [(Part, DispatchError); 3] = [
            (|proof| &mut proof.account_proof, Error::<Test>::BadAccountProof.into()),
            (|proof| &mut proof.count_proof, Error::<Test>::BadCountProof.into()),
            (|proof| &mut proof.hash_proof, Error::<Test>::BadHashProof.into()),
        ];
        for (part, error) in parts {
            let nodes = part(&mut good.clone()).clone();
            for (node, bytes) in nodes.iter().enumerate() {
                // Every third byte is enough to meet all kinds of them.
                for at in (0..bytes.len()).step_by(3) {
                    let mut other = good.clone();
                    part(&mut other)[node][at] ^= 0x11;
                    assert_noop!(advance(only(other)), error);
                }
                let mut other = good.clone();
                part(&mut other)[node].push(0);
                assert_noop!(advance(only(other)), error);
            }
        }
        assert_ok!(advance(only(good)));
    });
}

#[test]
fn a_header_with_another_byte_is_another_header() {
    ExtBuilder::default().build_and_execute(|| {
        let (_, good) = three();
        let honest = keccak(&good.header);
        let root = trie::header(&good.header).unwrap().state_root;
        let root_at = good.header.windows(32).position(|bytes| bytes == root.0).unwrap();
        for at in 0..good.header.len() {
            let mut other = good.clone();
            other.header[at] ^= 0x01;
            // Some bytes mean nothing to the chain: such a header is taken for one of Ethereum's by
            // the chain alone, and then the hash that the nodes ask for is not Ethereum's.
            if let Some(read) = trie::header(&other.header) {
                assert_ne!(read.origin.hash, honest, "byte {at}");
            }
            if (root_at..root_at + 32).contains(&at) {
                refused(only(other), Error::BadAccountProof);
            }
        }
    });
}

#[test]
fn what_is_no_header_is_refused() {
    ExtBuilder::default().build_and_execute(|| {
        let (_, good) = three();
        let with = |header: Vec<u8>| only(OriginProof { header, ..good.clone() });
        refused(with(vec![]), Error::BadHeader);
        refused(with(vec![0xc0]), Error::BadHeader);
        refused(with(vec![0x80]), Error::BadHeader);
        refused(with(good.header[..good.header.len() - 1].to_vec()), Error::BadHeader);
        refused(with([good.header.clone(), vec![0]].concat()), Error::BadHeader);
        // A list of 14 empty strings, of 15, and of 65.
        refused(with([vec![0xc0 + 14], vec![0x80; 14]].concat()), Error::BadHeader);
        refused(with([vec![0xc0 + 15], vec![0x80; 15]].concat()), Error::BadHeader);
        refused(with([vec![0xf8, 65], vec![0x80; 65]].concat()), Error::BadHeader);
        // A list within.
        refused(with([vec![0xc0 + 15], vec![0xc0; 15]].concat()), Error::BadHeader);
    });
}

#[test]
fn numbers_have_one_encoding() {
    let good = header_rlp(5, 6, H256::repeat_byte(9));
    let read = trie::header(&good).unwrap();
    assert_eq!((read.origin.number, read.origin.timestamp), (5, 6));
    assert_eq!(read.origin.hash, keccak(&good));
    assert_eq!(read.state_root, H256::repeat_byte(9));
    let whole = trie::header(&header_rlp(u64::MAX, 0, H256::zero())).unwrap();
    assert_eq!((whole.origin.number, whole.origin.timestamp), (u64::MAX, 0));
}

#[test]
fn the_queue_is_bounded() {
    ExtBuilder::default().build_and_execute(|| {
        let mut ethereum = Ethereum::default();
        for index in 0..MAX_HASHES {
            ethereum.deposit(CAROL, DISPATCHER, index.to_be_bytes().to_vec());
        }
        assert_ok!(advance(only(ethereum.block())));
        next_block();
        let bodies = ethereum.deposits[..2].to_vec();
        for _ in 0..3 {
            ethereum.deposit(CAROL, DISPATCHER, vec![]);
        }
        let more = ethereum.block();
        refused(only(more.clone()), Error::QueueFull);
        // Deposits are executed after the origin has been taken, so that there is no room for three
        // as long as two places are free.
        refused(Advance { origin: Some(more.clone()), bodies: bodies.clone() }, Error::QueueFull);
        assert_ok!(advance(Advance { origin: None, bodies }));
        next_block();
        refused(only(more.clone()), Error::QueueFull);
        let bodies = ethereum.deposits[2..3].to_vec();
        assert_ok!(advance(Advance { origin: None, bodies }));
        next_block();
        assert_ok!(advance(only(more)));
        assert_eq!(Deposits::<Test>::get().waiting(), MaxWaiting::get());
    });
}

#[test]
fn what_is_beyond_a_bound_is_refused() {
    ExtBuilder::default().build_and_execute(|| {
        let (_, good) = three();
        refused(Advance::default(), Error::OutOfBounds);
        let long = OriginProof { header: vec![0; 3_000], ..good.clone() };
        refused(only(long), Error::OutOfBounds);
        let many = OriginProof { account_proof: vec![vec![0x80]; 65], ..good.clone() };
        refused(only(many), Error::OutOfBounds);
        let fat = OriginProof { hash_proof: vec![vec![0; 1_025]], ..good.clone() };
        refused(only(fat), Error::OutOfBounds);
        let hashes = vec![H256::zero(); MAX_HASHES + 1];
        refused(only(OriginProof { deposit_hashes: hashes, ..good }), Error::OutOfBounds);
    });
}
