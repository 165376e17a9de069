// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AuthorityTree} from "../../src/libraries/AuthorityTree.sol";
import {MerkleTree} from "../../src/libraries/MerkleTree.sol";
import {Mmr} from "../../src/libraries/Mmr.sol";
import {LittleEndian} from "../../src/libraries/LittleEndian.sol";

/// @notice Properties that halmos shows for all inputs (within the bounds in the names); see `lint.sh`.
/// @dev keccak is an injective function to the prover, which is what collision resistance means here.
contract HalmosMerkle {
    function mmr(bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata proof) external pure returns (bytes32) {
        return Mmr.rootOf(leaf, index, count, proof);
    }

    function tree(bytes32 leaf, uint256 index, bytes calldata proof) external pure returns (bytes32) {
        return MerkleTree.rootOf(leaf, index, proof);
    }

    function authorities(bytes calldata packed) external pure returns (bytes32) {
        return AuthorityTree.rootOf(packed);
    }

    function node(bytes32 l, bytes32 r) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(l, r));
    }

    /// @dev A range of three: each leaf's only accepted proof leads to the root that its definition gives.
    function check_mmrOfThree(bytes32 a, bytes32 b, bytes32 c) external view {
        bytes32 root = node(c, node(a, b));
        bytes32[] memory proof = new bytes32[](2);
        (proof[0], proof[1]) = (b, c);
        assert(this.mmr(a, 0, 3, proof) == root);
        proof[0] = a;
        assert(this.mmr(b, 1, 3, proof) == root);
        proof = new bytes32[](1);
        proof[0] = node(a, b);
        assert(this.mmr(c, 2, 3, proof) == root);
    }

    /// @dev Two leaves at one place under one root, in a range of three, are the same leaf with the same proof.
    function check_mmrProofIsUnique(bytes32 a, bytes32 b, bytes32 p0, bytes32 p1, bytes32 q0, bytes32 q1)
        external
        view
    {
        bytes32[] memory p = new bytes32[](2);
        bytes32[] memory q = new bytes32[](2);
        (p[0], p[1], q[0], q[1]) = (p0, p1, q0, q1);
        if (this.mmr(a, 1, 3, p) == this.mmr(b, 1, 3, q)) assert(a == b && p0 == q0 && p1 == q1);
    }

    /// @dev No index beyond the range is accepted, however large range and index are.
    function check_mmrIndexInRange(bytes32 leaf, uint256 index, uint256 count) external view {
        if (index < count) return;
        bytes32[] memory proof = new bytes32[](0);
        try this.mmr(leaf, index, count, proof) {
            assert(false);
        } catch {}
    }

    /// @dev An odd set: the last address is promoted, and any other last address gives another root.
    function check_authoritiesOfThree(address a, address b, address c, address d) external view {
        bytes32 root = this.authorities(abi.encodePacked(a, b, c));
        bytes32 left = node(keccak256(abi.encodePacked(a)), keccak256(abi.encodePacked(b)));
        assert(root == node(left, keccak256(abi.encodePacked(c))));
        if (d != c) assert(this.authorities(abi.encodePacked(a, b, d)) != root);
    }

    /// @dev The padding rule accepts a bitmap exactly when no bit at or beyond `length` is set in its last word.
    function check_bitmapPadding(uint256 word, uint8 bit, uint8 length) external pure {
        if (length == 0) return;
        bool refused = word >> length != 0;
        if (bit >= length && word >> bit & 1 == 1) assert(refused);
        if (!refused) assert(word < 1 << uint256(length));
    }

    /// @dev Reversing bytes twice gives the number back, and the first byte becomes the last.
    function check_littleEndian(uint64 v, uint32 w) external pure {
        assert(LittleEndian.reverse64(LittleEndian.reverse64(v)) == v);
        assert(LittleEndian.reverse32(LittleEndian.reverse32(w)) == w);
        assert(uint8(LittleEndian.reverse64(v)) == uint8(v >> 56));
        assert(uint8(LittleEndian.reverse32(w)) == uint8(w >> 24));
    }
}
