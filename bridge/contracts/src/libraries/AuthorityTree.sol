// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The Merkle tree over a set of validators, from all of its addresses.
library AuthorityTree {
    /// @notice Bytes of one address in the packed list.
    uint256 internal constant ADDRESS_LENGTH = 20;

    /// @notice Root over `_packed`: leaf = keccak(20 bytes), node = keccak(left ‖ right), an odd last node moves up as it
    /// is. Zero for an empty list.
    /// @dev The caller checks that the length is a multiple of 20.
    function rootOf(bytes calldata _packed) internal pure returns (bytes32 root_) {
        assembly ("memory-safe") {
            let count := div(_packed.length, 20)
            if count {
                // Rows are computed in place, behind the free pointer, which stays where it is.
                let row := mload(0x40)
                let source := _packed.offset
                let pairs := shr(1, count)
                // The first row, two leaves at a time: a node's place holds their addresses until it is its own.
                let to := row
                for { let end := add(row, shl(5, pairs)) } lt(to, end) { to := add(to, 0x20) } {
                    mstore(to, calldataload(source))
                    mstore(0x00, keccak256(to, 20))
                    mstore(to, calldataload(add(source, 20)))
                    mstore(0x20, keccak256(to, 20))
                    mstore(to, keccak256(0x00, 0x40))
                    source := add(source, 40)
                }
                if and(count, 1) {
                    mstore(to, calldataload(source))
                    mstore(to, keccak256(to, 20))
                }
                for { count := add(pairs, and(count, 1)) } gt(count, 1) { count := add(pairs, and(count, 1)) } {
                    pairs := shr(1, count)
                    let from := row
                    to := row
                    for { let end := add(row, shl(5, pairs)) } lt(to, end) { to := add(to, 0x20) } {
                        mstore(to, keccak256(from, 0x40))
                        from := add(from, 0x40)
                    }
                    if and(count, 1) { mstore(to, mload(from)) }
                }
                root_ := mload(row)
            }
        }
    }
}
