// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Harness} from "./Harness.sol";
import {Reference} from "../helpers/Reference.sol";
import {Test} from "../helpers/Test.sol";
import {Commitment, Leaf} from "../../src/anchor/BeefyCodec.sol";
import {LittleEndian} from "../../src/libraries/LittleEndian.sol";
import {Mmr} from "../../src/libraries/Mmr.sol";

/// @notice The libraries against slow ones of the tests' own, on random shapes.
contract LibrariesFuzzTest is Test {
    Harness private lib;

    function setUp() public {
        lib = new Harness();
    }

    function words(uint256 seed, uint256 n) private pure returns (bytes32[] memory list) {
        list = new bytes32[](n);
        for (uint256 i; i < n; ++i) {
            list[i] = keccak256(abi.encode(seed, i));
        }
    }

    function testFuzz_mmr(uint256 seed, uint256 count, uint256 index) public view {
        count = bound(count, 1, 70);
        index = bound(index, 0, count - 1);
        bytes32[] memory leaves = words(seed, count);
        bytes32[] memory proof = Reference.mmrProof(leaves, index, count);
        assertEq(lib.mmr(leaves[index], index, count, proof), Reference.mmrRoot(leaves, count), "root");
    }

    /// @dev The short way for the newest leaf says what the general one says, and refuses every other number of items.
    function testFuzz_mmrNewest(uint256 seed, uint256 count, uint8 length) public view {
        count = bound(count, 1, 70);
        bytes32[] memory leaves = words(seed, count);
        bytes32[] memory proof = Reference.mmrProof(leaves, count - 1, count);
        assertEq(lib.newest(leaves[count - 1], count, proof), Reference.mmrRoot(leaves, count), "root");
        if (proof.length == 0) return;
        proof[seed % proof.length] ^= bytes32(uint256(1) << length);
        assertTrue(lib.newest(leaves[count - 1], count, proof) != Reference.mmrRoot(leaves, count), "item");
    }

    function testFuzz_mmrNewestIsTheGeneralWay(uint32 count, uint8 length, uint256 seed) public view {
        count = uint32(bound(count, 1, type(uint32).max));
        bytes32[] memory items = words(seed, length % 64);
        (bool ok, bytes memory general) =
            address(lib).staticcall(abi.encodeCall(lib.mmr, (bytes32(seed), count - 1, count, items)));
        (bool same, bytes memory short) =
            address(lib).staticcall(abi.encodeCall(lib.newest, (bytes32(seed), count, items)));
        assertTrue(ok == same, "accepted or not");
        assertEq(keccak256(general), keccak256(short), "root, or the number of items that it should have");
        // The right number of items, too: random ones are mostly wrong.
        if (!ok) {
            uint256 needed;
            assembly ("memory-safe") {
                needed := mload(add(general, 0x24))
            }
            items = words(seed, needed);
            assertEq(
                lib.mmr(bytes32(seed), count - 1, count, items), lib.newest(bytes32(seed), count, items), "same root"
            );
        }
    }

    function testFuzz_littleEndian(uint96 twelve, uint32 four) public pure {
        assertEq(
            keccak256(Reference.le(twelve, 12)),
            keccak256(abi.encodePacked(uint96(LittleEndian.reverse96(twelve)))),
            "12"
        );
        assertEq(keccak256(Reference.le(four, 4)), keccak256(abi.encodePacked(LittleEndian.reverse32(four))), "4");
    }

    function testFuzz_mmrMutated(uint256 seed, uint256 count, uint256 index, uint256 other, uint8 with) public view {
        count = bound(count, 2, 70);
        index = bound(index, 0, count - 1);
        bytes32[] memory leaves = words(seed, count);
        bytes32 root = Reference.mmrRoot(leaves, count);
        bytes32[] memory proof = Reference.mmrProof(leaves, index, count);
        // At another place the same proof has another shape or another root.
        uint256 elsewhere = other % count;
        if (elsewhere != index) {
            try lib.mmr(leaves[index], elsewhere, count, proof) returns (bytes32 r) {
                assertTrue(r != root, "place");
            } catch {}
        }
        vm.assume(with != 0);
        proof[other % proof.length] ^= bytes32(uint256(with) << (other % 31 * 8));
        assertTrue(lib.mmr(leaves[index], index, count, proof) != root, "item");
    }

    function testFuzz_mmrWrongLength(uint256 seed, uint256 count, uint256 index, uint8 length) public {
        count = bound(count, 1, 70);
        index = bound(index, 0, count - 1);
        uint256 right = Reference.mmrProof(words(seed, count), index, count).length;
        vm.assume(length != right);
        vm.expectRevert(abi.encodeWithSelector(Mmr.Mmr_WrongProofLength.selector, right));
        lib.mmr(0, index, count, new bytes32[](length));
    }

    function testFuzz_mmrOutOfRange(uint256 count, uint256 index, uint8 length) public {
        if (index < count) (index, count) = (count, index);
        vm.expectRevert(Mmr.Mmr_LeafOutOfRange.selector);
        lib.mmr(0, index, count, new bytes32[](length));
    }

    function testFuzz_withdrawalTree(uint256 seed, uint256 count, uint256 index) public view {
        count = bound(count, 1, 40);
        index = bound(index, 0, count - 1);
        bytes32[] memory leaves = words(seed, count);
        (bytes32 root, bytes memory proof) = Reference.withdrawalProof(leaves, index);
        assertEq(lib.withdrawal(leaves[index], index, proof), root, "root");
        assertTrue(lib.withdrawal(leaves[index], index ^ 1 << (seed % 32), proof) != root, "place");
        assertTrue(lib.withdrawal(leaves[index], index, mutated(proof, seed % 1024, 1)) != root, "byte");
    }

    function testFuzz_authorityTree(uint256 seed, uint256 count) public view {
        count = bound(count, 1, 60);
        address[] memory list = new address[](count);
        bytes memory packed;
        for (uint256 i; i < count; ++i) {
            list[i] = address(uint160(uint256(keccak256(abi.encode(seed, i)))));
            packed = bytes.concat(packed, bytes20(list[i]));
        }
        assertEq(lib.authorities(packed), Reference.authorityRoot(list), "root");
    }

    function test_emptyAuthorityTreeHasNoRoot() public view {
        assertEq(lib.authorities(""), 0, "zero is never a set's root");
    }

    function testFuzz_commitment(bytes32 root, uint32 number, uint64 id) public view {
        assertEq(
            lib.commitment(Commitment(root, number, id)), keccak256(Reference.commitment(root, number, id)), "hash"
        );
    }

    function testFuzz_leaf(uint32 number, bytes32 seed, uint64 id, uint32 length) public view {
        bytes memory data = bytes.concat(
            hex"00",
            Reference.le(number, 4),
            keccak256(abi.encode(seed, 1)),
            Reference.le(id, 8),
            Reference.le(length, 4),
            keccak256(abi.encode(seed, 2)),
            keccak256(abi.encode(seed, 3)),
            keccak256(abi.encode(seed, 4)),
            bytes8(0),
            seed
        );
        Leaf memory leaf = lib.leaf(data, keccak256(abi.encode(seed, 3)), number);
        assertEq(leaf.parentHash, keccak256(abi.encode(seed, 1)), "parent");
        assertEq(uint256(leaf.nextId), id, "id");
        assertEq(uint256(leaf.nextLength), length, "length");
        assertEq(leaf.nextRoot, keccak256(abi.encode(seed, 2)), "root");
        assertEq(leaf.withdrawalRoot, keccak256(abi.encode(seed, 4)), "withdrawals");
    }
}
