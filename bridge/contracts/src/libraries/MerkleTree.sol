// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The withdrawal tree: append-only, 32 levels, empty leaves are zero, node = keccak(left ‖ right).
library MerkleTree {
    /// @notice A proof has exactly this many bytes: 32 siblings.
    uint256 internal constant PROOF_LENGTH = 1024;

    /// @notice The root above `_leaf` at place `_index`, given its 32 siblings, bottom up.
    /// @dev The caller checks `_proof.length == PROOF_LENGTH` and `_index < 2**32`.
    function rootOf(bytes32 _leaf, uint256 _index, bytes calldata _proof) internal pure returns (bytes32 root_) {
        assembly ("memory-safe") {
            root_ := _leaf
            let end := add(_proof.offset, 1024)
            for { let sibling := _proof.offset } lt(sibling, end) { sibling := add(sibling, 0x20) } {
                // The two halves of scratch memory: ours goes right where the bit is set.
                let side := shl(5, and(_index, 1))
                mstore(side, root_)
                mstore(xor(side, 0x20), calldataload(sibling))
                root_ := keccak256(0x00, 0x40)
                _index := shr(1, _index)
            }
        }
    }
}
