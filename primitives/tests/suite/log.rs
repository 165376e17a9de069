use crate::hash;
use polkadot_sdk::sp_core::H256;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tributary_primitives::{
    log::{members, LogEntry},
    ContributionId,
};

fn accepted(id: u64) -> LogEntry {
    LogEntry::Accepted {
        contribution: ContributionId(id),
        content: H256::from_low_u64_be(id),
        records_root: H256::repeat_byte(9),
    }
}

fn retired(id: u64) -> LogEntry {
    LogEntry::Retired { contribution: ContributionId(id) }
}

#[test]
fn an_entrys_leaf_is_that_of_the_definition() {
    let content = H256::from_low_u64_be(3);
    let expected = hash(&[&[0x00], &[0], &3u64.to_le_bytes(), &content.0, &H256::repeat_byte(9).0]);
    assert_eq!(accepted(3).leaf(), expected);
    assert_eq!(retired(3).leaf(), hash(&[&[0x00], &[1], &3u64.to_le_bytes()]));
}

#[test]
fn a_version_holds_what_was_accepted_and_not_retired() {
    let log = [accepted(1), accepted(5), accepted(2), retired(5), accepted(9), retired(1)];
    let ids = |length: usize| -> Vec<u64> {
        members(&log[..length]).into_iter().map(|(id, _)| id.0).collect()
    };
    assert_eq!(ids(0), [0u64; 0]);
    assert_eq!(ids(3), [1, 5, 2]);
    assert_eq!(ids(4), [1, 2]);
    assert_eq!(ids(6), [2, 9]);
    assert_eq!(members(&log)[0].1, H256::from_low_u64_be(2));
}

proptest! {
    #[test]
    fn members_are_those_accepted_less_those_retired_since(
        log in proptest::collection::vec((any::<bool>(), 0..20u64), 0..60),
    ) {
        // Each contribution is accepted once; retiring what is not there changes nothing.
        let mut seen = BTreeSet::new();
        let entries: Vec<_> = log
            .into_iter()
            .filter(|(accept, id)| !accept || seen.insert(*id))
            .map(|(accept, id)| if accept { accepted(id) } else { retired(id) })
            .collect();
        let expected: Vec<u64> = (0..entries.len())
            .filter_map(|at| match &entries[at] {
                LogEntry::Accepted { contribution, .. }
                    if !entries[at..].contains(&retired(contribution.0)) => Some(contribution.0),
                _ => None,
            })
            .collect();
        let found: Vec<u64> = members(&entries).into_iter().map(|(id, _)| id.0).collect();
        prop_assert_eq!(found, expected);
    }
}
