// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LibBit} from "solady/utils/LibBit.sol";

/// @notice Proofs of one leaf in the Merkle mountain range that BEEFY signs.
/// @dev A range of `n` leaves is one perfect tree ("mountain") for each set bit of `n`, the highest first. Its root bags
/// the peaks from the right: `acc = keccak(acc ‖ next peak to the left)`. A proof holds, in the order in which the chain
/// makes it: the peaks left of the leaf's mountain, the siblings inside the mountain bottom up, and, if there are peaks
/// to the right, one item: those peaks bagged.
library Mmr {
    /// @notice There is no such leaf in a range of that size.
    error Mmr_LeafOutOfRange();
    /// @notice The proof has another number of items than this leaf in this range must have.
    error Mmr_WrongProofLength(uint256 expected);

    /// @notice The root of a range of `_leafCount` leaves with `_leafHash` at `_leafIndex`.
    /// @dev Sides and number of items follow from index and count alone, so that there is one proof for one leaf.
    function rootOf(bytes32 _leafHash, uint256 _leafIndex, uint256 _leafCount, bytes32[] calldata _proof)
        internal
        pure
        returns (bytes32 root_)
    {
        if (_leafIndex >= _leafCount) revert Mmr_LeafOutOfRange();
        // The highest bit in which they differ: set in the count, clear in the index. It names the mountain.
        uint256 height = LibBit.fls(_leafIndex ^ _leafCount);
        uint256 left = LibBit.popCount(_leafCount >> (height + 1));
        uint256 right = LibBit.toUint(_leafCount & ((1 << height) - 1) != 0);
        if (_proof.length != left + height + right) revert Mmr_WrongProofLength(left + height + right);

        assembly ("memory-safe") {
            root_ := _leafHash
            let item := add(_proof.offset, shl(5, left))
            for { let end := add(item, shl(5, height)) } lt(item, end) { item := add(item, 0x20) } {
                let side := shl(5, and(_leafIndex, 1))
                mstore(side, root_)
                mstore(xor(side, 0x20), calldataload(item))
                root_ := keccak256(0x00, 0x40)
                _leafIndex := shr(1, _leafIndex)
            }
            if right {
                mstore(0x00, calldataload(item))
                mstore(0x20, root_)
                root_ := keccak256(0x00, 0x40)
            }
            for { item := add(_proof.offset, shl(5, left)) } gt(item, _proof.offset) {} {
                item := sub(item, 0x20)
                mstore(0x00, root_)
                mstore(0x20, calldataload(item))
                root_ := keccak256(0x00, 0x40)
            }
        }
    }

    /// @notice The same for the newest leaf, at place `_leafCount - 1`.
    /// @dev Its mountain is the lowest set bit of the count, it is that mountain's last leaf, and nothing is to its right:
    /// ours is always the right half inside the mountain, and the left half (the accumulator) when bagging. The caller
    /// knows that `_leafCount` is not 0.
    function rootOfLast(bytes32 _leafHash, uint256 _leafCount, bytes32[] calldata _proof)
        internal
        pure
        returns (bytes32 root_)
    {
        unchecked {
            uint256 left = LibBit.popCount(_leafCount) - 1;
            // If it is below zero here, it shifts everything out, and nothing is equal to the count's bits any more.
            uint256 height = _proof.length - left;
            if (_leafCount & ((2 << height) - 1) != 1 << height) {
                revert Mmr_WrongProofLength(left + LibBit.ffs(_leafCount));
            }
            assembly ("memory-safe") {
                let middle := add(_proof.offset, shl(5, left))
                mstore(0x20, _leafHash)
                for {
                    let item := middle
                    let end := add(item, shl(5, height))
                } lt(item, end) { item := add(item, 0x20) } {
                    mstore(0x00, calldataload(item))
                    mstore(0x20, keccak256(0x00, 0x40))
                }
                mstore(0x00, mload(0x20))
                for {} gt(middle, _proof.offset) {} {
                    middle := sub(middle, 0x20)
                    mstore(0x20, calldataload(middle))
                    mstore(0x00, keccak256(0x00, 0x40))
                }
                root_ := mload(0x00)
            }
        }
    }
}
