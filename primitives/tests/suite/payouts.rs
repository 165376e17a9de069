use crate::{flipped, hash};
use tributary_primitives::{
    payouts::{prove, root, Payout},
    tree, ContributionId,
};

fn payouts(count: u64) -> Vec<Payout> {
    (0..count)
        .map(|i| Payout { contribution: ContributionId(i * 3), amount: u128::from(i) * 1_000 + 1 })
        .collect()
}

#[test]
fn a_leaf_is_that_of_the_definition() {
    let payout = Payout { contribution: ContributionId(5), amount: 77 };
    // A fixed-length tag has no length before it.
    let expected =
        hash(&[&[0x00], b"tributary/payout:v1", &5u64.to_le_bytes(), &77u128.to_le_bytes()]);
    assert_eq!(payout.leaf(), expected);
}

#[test]
fn each_payout_can_be_proven_and_no_other() {
    for count in [1, 2, 3, 7, 64, 65] {
        let all = payouts(count);
        let root = root(&all);
        for (i, payout) in (0u64..).zip(&all) {
            let proof = prove(&all, i).expect("there is such a payout");
            assert!(tree::verify(&root, &payout.leaf(), &proof));
            let more = Payout { amount: payout.amount + 1, ..payout.clone() };
            assert!(!tree::verify(&root, &more.leaf(), &proof));
            let other = Payout { contribution: ContributionId(1_000_000), ..payout.clone() };
            assert!(!tree::verify(&root, &other.leaf(), &proof));
            assert!(!tree::verify(&flipped(&root), &payout.leaf(), &proof));
        }
        assert_eq!(prove(&all, count), None);
    }
}

#[test]
fn order_matters() {
    let all = payouts(4);
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    assert_ne!(root(&all), root(&reversed));
}
