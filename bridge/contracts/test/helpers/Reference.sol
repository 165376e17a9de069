// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The chain's side of all hashes, written once more from its description: slow, recursive, and sharing nothing
/// with the contracts. (The vectors that the chain's own code makes check both.)
library Reference {
    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(bytes.concat(left, right));
    }

    /// @dev `width` bytes, the least significant first.
    function le(uint256 value, uint256 width) internal pure returns (bytes memory out) {
        out = new bytes(width);
        for (uint256 i; i < width; ++i) {
            out[i] = bytes1(uint8(value >> (8 * i)));
        }
    }

    function commitment(bytes32 root, uint32 number, uint64 setId) internal pure returns (bytes memory) {
        return bytes.concat(hex"046d6880", root, le(number, 4), le(setId, 8));
    }

    // --- the mountain range ---

    /// @dev Root of the perfect tree over `leaves[from .. from + size]`.
    function perfect(bytes32[] memory leaves, uint256 from, uint256 size) internal pure returns (bytes32) {
        if (size == 1) return leaves[from];
        return node(perfect(leaves, from, size / 2), perfect(leaves, from + size / 2, size / 2));
    }

    function highestPower(uint256 n) internal pure returns (uint256 p) {
        p = 1;
        while (p * 2 <= n) p *= 2;
    }

    /// @dev Peaks of the first `count` leaves from number `from` on, bagged from the right.
    function bagged(bytes32[] memory leaves, uint256 from, uint256 count) internal pure returns (bytes32) {
        uint256 size = highestPower(count);
        bytes32 peak = perfect(leaves, from, size);
        if (size == count) return peak;
        return node(bagged(leaves, from + size, count - size), peak);
    }

    function mmrRoot(bytes32[] memory leaves, uint256 count) internal pure returns (bytes32) {
        return bagged(leaves, 0, count);
    }

    /// @dev Items for leaf `index` of the first `count` leaves.
    function mmrProof(bytes32[] memory leaves, uint256 index, uint256 count)
        internal
        pure
        returns (bytes32[] memory items)
    {
        items = new bytes32[](70);
        uint256 n;
        uint256 from;
        uint256 rest = count;
        uint256 size = highestPower(rest);
        while (index >= from + size) {
            items[n++] = perfect(leaves, from, size);
            from += size;
            rest -= size;
            size = highestPower(rest);
        }
        for (uint256 width = 1; width < size; width *= 2) {
            uint256 mine = (index - from) / width;
            items[n++] = perfect(leaves, from + (mine ^ 1) * width, width);
        }
        if (rest > size) items[n++] = bagged(leaves, from + size, rest - size);
        assembly ("memory-safe") {
            mstore(items, n)
        }
    }

    // --- trees of validators ---

    function authorityRoot(address[] memory validators) internal pure returns (bytes32) {
        bytes32[] memory row = new bytes32[](validators.length);
        for (uint256 i; i < row.length; ++i) {
            row[i] = keccak256(abi.encodePacked(validators[i]));
        }
        while (row.length > 1) {
            bytes32[] memory above = new bytes32[]((row.length + 1) / 2);
            for (uint256 i; i < above.length; ++i) {
                above[i] = 2 * i + 1 < row.length ? node(row[2 * i], row[2 * i + 1]) : row[2 * i];
            }
            row = above;
        }
        return row[0];
    }

    // --- the withdrawal tree ---

    function zeros() internal pure returns (bytes32[33] memory z) {
        for (uint256 i; i < 32; ++i) {
            z[i + 1] = node(z[i], z[i]);
        }
    }

    function withdrawalRoot(bytes32[] memory leaves) internal pure returns (bytes32 root) {
        (root,) = withdrawalProof(leaves, 0);
    }

    /// @dev Root of the tree and the 32 siblings of leaf `index`.
    function withdrawalProof(bytes32[] memory leaves, uint256 index)
        internal
        pure
        returns (bytes32 root, bytes memory proof)
    {
        bytes32[33] memory z = zeros();
        bytes32[] memory row = leaves;
        for (uint256 level; level < 32; ++level) {
            proof = bytes.concat(proof, (index ^ 1) < row.length ? row[index ^ 1] : z[level]);
            bytes32[] memory above = new bytes32[]((row.length + 1) / 2);
            for (uint256 i; i < above.length; ++i) {
                above[i] = node(row[2 * i], 2 * i + 1 < row.length ? row[2 * i + 1] : z[level]);
            }
            row = above;
            index /= 2;
        }
        root = row.length == 0 ? z[32] : row[0];
    }
}
