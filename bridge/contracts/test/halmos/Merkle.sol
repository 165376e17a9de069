// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AnchorState, AnchorStates} from "../../src/anchor/AnchorState.sol";
import {BeefyCodec} from "../../src/anchor/BeefyCodec.sol";
import {AuthorityTree} from "../../src/libraries/AuthorityTree.sol";
import {Bitmap} from "../../src/libraries/Bitmap.sol";
import {MerkleTree} from "../../src/libraries/MerkleTree.sol";
import {Mmr} from "../../src/libraries/Mmr.sol";
import {LittleEndian} from "../../src/libraries/LittleEndian.sol";

/// @notice Properties that halmos shows for all inputs (within the bounds in the names); see `lint.sh`.
/// @dev keccak is an injective function to the prover, which is what collision resistance means here.
contract HalmosMerkle {
    function mmr(bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata proof) external pure returns (bytes32) {
        return Mmr.rootOf(leaf, index, count, proof);
    }

    function newest(bytes32 leaf, uint256 count, bytes32[] calldata proof) external pure returns (bytes32) {
        return Mmr.rootOfLast(leaf, count, proof);
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

    /// @dev The short way for the newest leaf is the general one, in every range up to eight.
    function check_newestLeafIsTheGeneralWay(bytes32 leaf, bytes32 a, bytes32 b, bytes32 c) external view {
        uint8[8] memory needed = [0, 1, 1, 2, 1, 2, 2, 3];
        for (uint256 count = 1; count <= 8; ++count) {
            bytes32[] memory proof = new bytes32[](needed[count - 1]);
            if (proof.length > 0) proof[0] = a;
            if (proof.length > 1) proof[1] = b;
            if (proof.length > 2) proof[2] = c;
            assert(this.newest(leaf, count, proof) == this.mmr(leaf, count - 1, count, proof));
        }
    }

    /// @dev The padding rule refuses a last word exactly if a bit beyond the set's last is set, for sets of any length.
    function check_bitmapPadding(uint256 word, uint32 length) external pure {
        if (length == 0) return;
        uint256 used = length - 256 * (Bitmap.wordsFor(length) - 1);
        assert(used >= 1 && used <= 256);
        uint256 allowed = used == 256 ? type(uint256).max : (1 << used) - 1;
        assert(Bitmap.hasPadding(word, length) == (word & ~allowed != 0));
    }

    /// @dev What is put into the anchor's word comes out again, each at its place, and freezing changes nothing else.
    function check_anchorState(uint64 id, uint32 length, uint32 next, uint32 number, uint40 since) external pure {
        AnchorState s = AnchorStates.pack(id, length, next, number, since);
        assert(!s.frozen());
        for (uint256 i; i < 2; ++i) {
            assert(s.currentId() == id);
            assert(s.currentLength() == length);
            assert(s.nextLength() == next);
            assert(s.latestBlock() == number);
            assert(s.acceptedAt() == since);
            s = s.freeze();
            assert(s.frozen());
        }
    }

    /// @dev The hash of a commitment is that of its 48 bytes.
    function check_commitment(bytes32 root, uint32 number, uint64 id) external pure {
        uint256 turned;
        for (uint256 i; i < 8; ++i) {
            turned |= uint256(id >> (8 * i) & 0xff) << (8 * (7 - i));
        }
        for (uint256 i; i < 4; ++i) {
            turned |= uint256(number >> (8 * i) & 0xff) << (8 * (11 - i));
        }
        bytes memory encoded = abi.encodePacked(hex"046d6880", root, uint96(turned));
        assert(encoded.length == 48);
        assert(BeefyCodec.hash(root, number, id) == keccak256(encoded));
    }

    /// @dev Reversing bytes twice gives the number back, and the first byte becomes the last.
    function check_littleEndian(uint96 v, uint32 w) external pure {
        assert(LittleEndian.reverse96(LittleEndian.reverse96(v)) == v);
        assert(LittleEndian.reverse32(LittleEndian.reverse32(w)) == w);
        assert(LittleEndian.reverse96(v) >> 96 == 0);
        assert(uint8(LittleEndian.reverse96(v)) == uint8(v >> 88));
        assert(uint8(LittleEndian.reverse32(w)) == uint8(w >> 24));
    }
}
