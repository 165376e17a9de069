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
    function hash(bytes32 _mmrRoot, uint256 _blockNumber, uint256 _validatorSetId)
        internal
        pure
        returns (bytes32 hash_)
    {
        // The number and then the id, least byte first, are the id and then the number turned around.
        uint256 numbers = LittleEndian.reverse96(_validatorSetId << 32 | _blockNumber);
        assembly ("memory-safe") {
            // In scratch memory, which ends where the free pointer begins: 4 + 32 + 12 bytes, written from the end on, each
            // over what the one before it left in front.
            mstore(0x10, numbers)
            mstore(0x00, shl(224, 0x046d6880))
            mstore(0x04, _mmrRoot)
            hash_ := keccak256(0x00, 48)
        }
    }

    /// @notice Checks that the leaf describes block `_number` of the chain `_domain`.
    function check(bytes calldata _leaf, bytes32 _domain, uint256 _number) internal pure {
        if (_leaf.length != LEAF_LENGTH) revert BeefyLeaf_WrongLength();
        uint256 head = _word(_leaf, 0);
        if (head >> 248 != 0) revert BeefyLeaf_WrongVersion();
        if (LittleEndian.reverse32(uint32(head >> 216)) != _number) revert BeefyLeaf_WrongNumber();
        if (_word(_leaf, 81) != uint256(_domain)) revert BeefyLeaf_WrongDomain();
    }

    /// @notice The set that the leaf names: its number, how many they are, and the root over their addresses.
    /// @dev Of a leaf that `check` has passed.
    function nextSet(bytes calldata _leaf) internal pure returns (uint256 id_, uint256 length_, bytes32 root_) {
        // Id (8) and length (4) stand side by side, least byte first: turned around, the length comes first.
        uint256 numbers = LittleEndian.reverse96(_word(_leaf, 37) >> 160);
        id_ = uint64(numbers);
        length_ = numbers >> 64;
        root_ = bytes32(_word(_leaf, 49));
    }

    /// @notice Checks that the leaf describes block `_number` of the chain `_domain`, and takes it apart.
    function decode(bytes calldata _leaf, bytes32 _domain, uint32 _number) internal pure returns (Leaf memory leaf_) {
        check(_leaf, _domain, _number);
        (uint256 id, uint256 length, bytes32 root) = nextSet(_leaf);
        leaf_.parentHash = bytes32(_word(_leaf, 5));
        leaf_.nextId = uint64(id);
        leaf_.nextLength = uint32(length);
        leaf_.nextRoot = root;
        leaf_.withdrawalRoot = bytes32(_word(_leaf, 113));
    }

    /// @dev The 32 bytes from `_offset` on. The caller knows that the first of them is in the leaf.
    function _word(bytes calldata _leaf, uint256 _offset) private pure returns (uint256 word_) {
        assembly ("memory-safe") {
            word_ := calldataload(add(_leaf.offset, _offset))
        }
    }
}
