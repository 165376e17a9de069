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
                let end := add(row, shl(5, count))
                for { let leaf := row } lt(leaf, end) { leaf := add(leaf, 0x20) } {
                    mstore(0x00, calldataload(source))
                    mstore(leaf, keccak256(0x00, 20))
                    source := add(source, 20)
                }
                for {} gt(count, 1) {} {
                    let pairs := shr(1, count)
                    end := add(row, shl(5, pairs))
                    let from := row
                    for { let to := row } lt(to, end) { to := add(to, 0x20) } {
                        mstore(to, keccak256(from, 0x40))
                        from := add(from, 0x40)
                    }
                    if and(count, 1) { mstore(end, mload(from)) }
                    count := add(pairs, and(count, 1))
                }
                root_ := mload(row)
            }
        }
    }
}
