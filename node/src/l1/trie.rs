//! Ethereum's trie: what a proof shows. The proof comes from an endpoint and may be anything.

use alloy_primitives::{keccak256, B256};
use alloy_rlp::{Header, PayloadView, EMPTY_STRING_CODE};
use alloy_trie::EMPTY_ROOT_HASH;

/// What a proof shows of `key`, which is hashed already: its value, or that it has none.
///
/// `proof` has the nodes from the root downwards, and none beyond the one that decides.
pub fn lookup(root: B256, key: B256, proof: &[Vec<u8>]) -> Result<Option<Vec<u8>>, &'static str> {
    if root == EMPTY_ROOT_HASH {
        // An empty trie is proven by nothing, or by its only node.
        let empty = proof.iter().all(|node| node == &[EMPTY_STRING_CODE]);
        return if empty { Ok(None) } else { Err("nodes of an empty trie") };
    }
    let key: Vec<u8> = key.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect();
    let mut rest = key.as_slice();
    let mut nodes = proof.iter();
    let mut node = next(&mut nodes, &root[..])?;
    // Each round takes a node of the proof, or goes into one that is shorter.
    let found = loop {
        let items = items(&node)?;
        let child = match items.as_slice() {
            [path, below] => {
                let (leaf, path) = unpack(string(path)?)?;
                let Some(after) = rest.strip_prefix(path.as_slice()) else { break None };
                rest = after;
                if leaf {
                    let whole = rest.is_empty();
                    break if whole { Some(string(below)?.to_vec()) } else { None };
                }
                if path.is_empty() {
                    return Err("an extension that extends nothing");
                }
                below
            }
            branch if branch.len() == 17 => {
                let Some((nibble, after)) = rest.split_first() else {
                    return Err("a branch where the key ends");
                };
                rest = after;
                branch.get(usize::from(*nibble)).ok_or("a nibble above 15")?
            }
            _ => return Err("a node that is neither branch nor extension nor leaf"),
        };
        node = match child.first() {
            Some(&EMPTY_STRING_CODE) => break None,
            // Short nodes stand in place of their hash.
            Some(0xc0..) => child.to_vec(),
            _ => next(&mut nodes, string(child)?)?,
        };
    };
    if nodes.next().is_some() {
        return Err("nodes beyond the one that decides");
    }
    Ok(found)
}

/// The next node, if it has this hash.
fn next<'a>(
    nodes: &mut impl Iterator<Item = &'a Vec<u8>>,
    hash: &[u8],
) -> Result<Vec<u8>, &'static str> {
    let node = nodes.next().ok_or("too few nodes")?;
    if keccak256(node)[..] != *hash {
        return Err("a node with another hash");
    }
    Ok(node.clone())
}

/// The items of a list, each as RLP.
pub fn items(mut rlp: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    match Header::decode_raw(&mut rlp) {
        Ok(PayloadView::List(items)) if rlp.is_empty() => Ok(items),
        _ => Err("a node that is no list"),
    }
}

/// The bytes of a string.
pub fn string(mut rlp: &[u8]) -> Result<&[u8], &'static str> {
    Header::decode_bytes(&mut rlp, false).map_err(|_| "a list in place of a string")
}

/// Whether a path is a leaf's, and its nibbles.
fn unpack(path: &[u8]) -> Result<(bool, Vec<u8>), &'static str> {
    let (first, bytes) = path.split_first().ok_or("a path without a head")?;
    let (flags, odd) = (first >> 4, first & 0x10 != 0);
    if flags > 3 || (!odd && first & 15 != 0) {
        return Err("a path with an unknown head");
    }
    let head = odd.then_some(first & 15);
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok((flags & 2 != 0, head.into_iter().chain(nibbles).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Account 0x22…22 with 5 in slot 0xab…ab on anvil 1.7.1: storage root, and the storage proof's
    /// only node.
    const ROOT: &str = "0x45d195814f43782a45062a99f3558a3034dd30b1ac3112339b6adfc878758e5e";
    const LEAF: &str = "0xe3a1207d3a608bb850f47c2d77d6be73b8f93c94a80264b7bb3cc5c7d2fb54d07ef6b905";

    fn leaf() -> (B256, Vec<Vec<u8>>) {
        let root = ROOT.parse().expect("it is a hash");
        (root, vec![alloy_primitives::hex::decode(LEAF).expect("it is hexadecimal")])
    }

    #[test]
    fn a_value_and_an_absence_are_shown() {
        let (root, proof) = leaf();
        let key = keccak256(B256::repeat_byte(0xab));
        assert_eq!(lookup(root, key, &proof), Ok(Some(vec![5])));
        assert_eq!(lookup(root, keccak256(B256::repeat_byte(0xac)), &proof), Ok(None));
        assert_eq!(lookup(EMPTY_ROOT_HASH, key, &[]), Ok(None));
        assert_eq!(lookup(EMPTY_ROOT_HASH, key, &[vec![0x80]]), Ok(None));
    }

    #[test]
    fn what_shows_nothing_is_refused() {
        let (root, proof) = leaf();
        let key = keccak256(B256::repeat_byte(0xab));
        lookup(root, key, &[]).expect_err("there is no node");
        lookup(root, key, &[vec![0x80]]).expect_err("the trie is not empty");
        lookup(EMPTY_ROOT_HASH, key, &proof).expect_err("the trie is empty");
        lookup(root, key, &[proof.clone(), proof.clone()].concat()).expect_err("one too many");
        for position in 0..proof[0].len() {
            let mut changed = proof.clone();
            changed[0][position] ^= 1;
            lookup(root, key, &changed).expect_err("its hash is another");
        }
    }

    #[test]
    fn nothing_that_an_endpoint_sends_can_panic() {
        // Whatever bytes there are, under their own hash, so that they are read at all.
        let key = B256::repeat_byte(0x12);
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        for round in 0..20_000 {
            let length = usize::from(random()) % 60;
            let mut node: Vec<u8> = (0..length).map(|_| random()).collect();
            if round % 2 == 0 {
                // A list of the right length, more often than not of two strings.
                let path: Vec<u8> = node.iter().copied().take(20).collect();
                node = two(path, node.clone());
            }
            let _ = lookup(keccak256(&node), key, &[node.clone()]);
            let _ = lookup(keccak256(&node), key, &[node.clone(), node]);
        }
        // A path longer than any key.
        let long = two(vec![0x12; 200], vec![1]);
        assert_eq!(lookup(keccak256(&long), key, &[long]), Ok(None));
    }

    /// The RLP of a list of two strings.
    fn two(first: Vec<u8>, second: Vec<u8>) -> Vec<u8> {
        let both: Vec<alloy_primitives::Bytes> = vec![first.into(), second.into()];
        alloy_rlp::encode(both)
    }
}
