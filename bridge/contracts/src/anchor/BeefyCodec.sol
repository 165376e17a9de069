// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LittleEndian} from "../libraries/LittleEndian.sol";

/// @notice What validators sign, field by field.
/// @param mmrRoot Root of the Merkle mountain range at the end of the block.
/// @param blockNumber The L2 block; the range then has that many leaves.
/// @param validatorSetId The set whose members signed.
struct Commitment {
    bytes32 mmrRoot;
    uint32 blockNumber;
    uint64 validatorSetId;
}

/// @notice The parts of an MMR leaf that Ethereum acts on.
struct Leaf {
    bytes32 parentHash;
    uint64 nextId;
    uint32 nextLength;
    bytes32 nextRoot;
    bytes32 withdrawalRoot;
}

/// @notice The two SCALE encodings that L1 reads, each of one fixed length, so that a value has one encoding.
library BeefyCodec {
    using LittleEndian for uint32;
    using LittleEndian for uint64;

    /// @notice A leaf has exactly 185 bytes.
    error BeefyLeaf_WrongLength();
    /// @notice The leaf's layout is not version 0.0.
    error BeefyLeaf_WrongVersion();
    /// @notice The leaf describes another block.
    error BeefyLeaf_WrongNumber();
    /// @notice The leaf was made for another portal, L1 or L2.
    error BeefyLeaf_WrongDomain();

    /// @notice Bytes of a leaf: version 1, parent number 4, parent hash 32, next set 8 + 4 + 32, extra 104.
    uint256 internal constant LEAF_LENGTH = 185;

    /// @notice The hash that validators sign: keccak of the 48 bytes of the SCALE encoding.
    /// @dev `04` one payload item, `6d68` its id "mh", `80` 32 bytes follow; then the numbers, least byte first.
    function hash(Commitment calldata _c) internal pure returns (bytes32) {
        bytes32 root = _c.mmrRoot;
        uint256 numbers = uint256(_c.blockNumber.reverse32()) << 64 | _c.validatorSetId.reverse64();
        bytes32 hash_;
        assembly ("memory-safe") {
            // In scratch memory, which ends where the free pointer begins: 4 + 32 + 4 + 8 bytes.
            mstore(0x10, numbers)
            mstore(0x04, root)
            mstore8(0x00, 0x04)
            mstore8(0x01, 0x6d)
            mstore8(0x02, 0x68)
            mstore8(0x03, 0x80)
            hash_ := keccak256(0x00, 48)
        }
        return hash_;
    }

    /// @notice Checks that the leaf describes block `_number` of the chain `_domain`, and takes it apart.
    function decode(bytes calldata _leaf, bytes32 _domain, uint32 _number) internal pure returns (Leaf memory leaf_) {
        if (_leaf.length != LEAF_LENGTH) revert BeefyLeaf_WrongLength();
        if (_word(_leaf, 0) >> 248 != 0) revert BeefyLeaf_WrongVersion();
        if (uint32(_word(_leaf, 1) >> 224).reverse32() != _number) revert BeefyLeaf_WrongNumber();
        if (_word(_leaf, 81) != uint256(_domain)) revert BeefyLeaf_WrongDomain();
        leaf_.parentHash = bytes32(_word(_leaf, 5));
        leaf_.nextId = uint64(_word(_leaf, 37) >> 192).reverse64();
        leaf_.nextLength = uint32(_word(_leaf, 45) >> 224).reverse32();
        leaf_.nextRoot = bytes32(_word(_leaf, 49));
        leaf_.withdrawalRoot = bytes32(_word(_leaf, 113));
    }

    /// @dev The 32 bytes from `_offset` on. The caller knows that the first of them is in the leaf.
    function _word(bytes calldata _leaf, uint256 _offset) private pure returns (uint256 word_) {
        assembly ("memory-safe") {
            word_ := calldataload(add(_leaf.offset, _offset))
        }
    }
}
