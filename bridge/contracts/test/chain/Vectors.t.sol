// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Harness} from "./Harness.sol";
import {Test} from "../helpers/Test.sol";
import {BeefyAnchor} from "../../src/anchor/BeefyAnchor.sol";
import {BeefyCodec, Commitment, Leaf} from "../../src/anchor/BeefyCodec.sol";
import {ISuperchainConfig} from "../../src/interfaces/ISuperchainConfig.sol";
import {Types} from "../../src/libraries/Types.sol";

/// @notice What the chain's own code made, read from `test/vectors`, against the contracts.
abstract contract VectorTest is Test {
    Harness internal lib;
    string internal json;

    function open(string memory name) internal {
        lib = new Harness();
        string memory path = string.concat("test/vectors/", name, ".json");
        assertTrue(vm.exists(path), "run `make vectors`");
        json = vm.readFile(path);
    }

    function at(string memory list, uint256 i, string memory field) internal pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "].", field);
    }

    function has(string memory list, uint256 i) internal view returns (bool) {
        return vm.keyExistsJson(json, string.concat(".", list, "[", vm.toString(i), "]"));
    }

    function number(string memory key) internal view returns (uint256) {
        return vm.parseJsonUint(json, key);
    }

    function word(string memory key) internal view returns (bytes32) {
        return vm.parseJsonBytes32(json, key);
    }

    function blob(string memory key) internal view returns (bytes memory) {
        return vm.parseJsonBytes(json, key);
    }

    function slice(bytes memory data, uint256 from, uint256 length) internal pure returns (bytes memory out) {
        out = new bytes(length);
        for (uint256 i; i < length; ++i) {
            out[i] = data[from + i];
        }
    }
}

/// @notice Sets of validators: 1 to 70, 513 and 600.
contract AuthorityVectorsTest is VectorTest {
    function setUp() public {
        open("authority_sets");
    }

    /// @dev The sets share one list: a set of n is its first n.
    function first(bytes memory all, uint256 n) private pure returns (bytes memory) {
        return slice(all, 0, 20 * n);
    }

    function test_vectors_roots() public view {
        bytes memory all = blob(".validators");
        uint256 i;
        for (; has("sets", i); ++i) {
            bytes memory addresses = first(all, number(at("sets", i, "length")));
            assertEq(lib.authorities(addresses), word(at("sets", i, "root")), "root");
        }
        assertTrue(i >= 72, "1 to 70, 513 and 600");
    }

    function test_vectors_everyAddressMatters() public view {
        bytes memory all = blob(".validators");
        for (uint256 i; has("sets", i); ++i) {
            bytes memory addresses = first(all, number(at("sets", i, "length")));
            bytes32 root = word(at("sets", i, "root"));
            // Every byte of those up to 70; of the two large ones a byte of every address, each at another place in it.
            uint256 step = addresses.length > 20 * 70 ? 21 : 1;
            for (uint256 k; k < addresses.length; k += step) {
                addresses[k] = bytes1(uint8(addresses[k]) ^ uint8(1 << (k % 8)));
                assertTrue(lib.authorities(addresses) != root, "byte");
                addresses[k] = bytes1(uint8(addresses[k]) ^ uint8(1 << (k % 8)));
            }
            if (addresses.length > 20) {
                assertTrue(lib.authorities(resized(addresses, -20)) != root, "one fewer");
            }
            assertTrue(lib.authorities(resized(addresses, 20)) != root, "one more");
        }
    }
}

/// @notice Commitments with signatures of sets up to 600, through `submit`'s own check.
contract CommitmentVectorsTest is VectorTest {
    function setUp() public {
        open("commitments");
    }

    function test_vectors_quorums() public {
        BeefyAnchor anchor = anchorOf(1, 1, keccak256("any"));
        uint256[] memory quorums = vm.parseJsonUintArray(json, ".quorums");
        assertEq(quorums.length, 1000, "a thousand");
        for (uint256 n = 1; n <= 1000; ++n) {
            assertEq(anchor.quorum(n), quorums[n - 1], "quorum");
        }
    }

    function anchorOf(uint64 id, uint32 length, bytes32 root) private returns (BeefyAnchor) {
        return new BeefyAnchor(
            "domain",
            ISuperchainConfig(address(0)),
            1 days,
            BeefyAnchor.AuthoritySet(id, length, root),
            BeefyAnchor.AuthoritySet(id + 1, 1, "next")
        );
    }

    function test_vectors_commitments() public {
        for (uint256 i; has("commitments", i); ++i) {
            Commitment memory c = Commitment(
                word(at("commitments", i, "mmrRoot")),
                uint32(number(at("commitments", i, "blockNumber"))),
                uint64(number(at("commitments", i, "validatorSetId")))
            );
            assertEq(lib.commitment(c), word(at("commitments", i, "hash")), "hash");
            uint32 n = uint32(number(at("commitments", i, "length")));
            bytes memory addresses = blob(at("commitments", i, "addresses"));
            bytes memory signatures = blob(at("commitments", i, "signatures"));
            BeefyAnchor anchor = anchorOf(c.validatorSetId, n, lib.authorities(addresses));
            // A bare quorum, and all: the check of signatures passes, so that the (missing) leaf is what is wrong.
            uint256 q = number(at("commitments", i, "quorum"));
            check(
                anchor, c, n, q, slice(signatures, 0, 65 * q), addresses, bytes4(keccak256("BeefyLeaf_WrongLength()"))
            );
            check(anchor, c, n, n, signatures, addresses, bytes4(keccak256("BeefyLeaf_WrongLength()")));
            // One fewer, and another block.
            check(
                anchor,
                c,
                n,
                q - 1,
                slice(signatures, 0, 65 * (q - 1)),
                addresses,
                BeefyAnchor.BeefyAnchor_NoQuorum.selector
            );
            ++c.blockNumber;
            check(anchor, c, n, n, signatures, addresses, BeefyAnchor.BeefyAnchor_BadSignature.selector);
            --c.blockNumber;
            if (n > 21) continue;
            for (uint256 k; k < signatures.length; ++k) {
                check(anchor, c, n, n, mutated(signatures, k, uint8(1 << (k % 8))), addresses, 0);
            }
        }
    }

    function check(
        BeefyAnchor anchor,
        Commitment memory c,
        uint256 n,
        uint256 signers,
        bytes memory signatures,
        bytes memory addresses,
        bytes4 reason
    ) private {
        uint256[] memory bitmap = new uint256[]((n + 255) / 256);
        for (uint256 i; i < signers; ++i) {
            bitmap[i / 256] |= 1 << (i % 256);
        }
        try anchor.submit(c, bitmap, signatures, addresses, "", new bytes32[](0)) {
            assertTrue(false, "must not pass");
        } catch (bytes memory why) {
            if (reason == 0) {
                assertTrue(bytes4(why) != bytes4(keccak256("BeefyLeaf_WrongLength()")), "a changed byte passed");
            } else {
                assertEq(bytes32(bytes4(why)), bytes32(reason), "reason");
            }
        }
    }
}

/// @notice Leaves, roots and proofs of the mountain range.
contract MmrVectorsTest is VectorTest {
    function setUp() public {
        open("mmr");
    }

    function test_vectors_leaves() public view {
        bytes memory leaves = blob(".leaves");
        bytes32[] memory hashes = unpackWords(blob(".leafHashes"));
        bytes32 domain = word(".domain");
        assertEq(
            domain,
            keccak256(abi.encode(number(".chainId"), vm.parseJsonAddress(json, ".portal"), word(".genesis"))),
            "domain"
        );
        for (uint256 i; i < leaves.length / 185; ++i) {
            bytes memory leaf = slice(leaves, 185 * i, 185);
            assertEq(keccak256(leaf), hashes[i], "hash");
            lib.leaf(leaf, domain, uint32(i));
        }
    }

    function test_vectors_proofs() public view {
        bytes32[] memory hashes = unpackWords(blob(".leafHashes"));
        bytes32[] memory roots = vm.parseJsonBytes32Array(json, ".roots");
        uint256 i;
        for (; has("proofs", i); ++i) {
            uint256 count = number(at("proofs", i, "leafCount"));
            uint256 index = number(at("proofs", i, "leafIndex"));
            allWays(hashes[index], index, count, unpackWords(blob(at("proofs", i, "items"))), roots[count - 1]);
        }
        assertTrue(i > 400, "many");
    }

    function test_vectors_bigProofs() public view {
        uint256 i;
        for (; has("big", i); ++i) {
            allWays(
                keccak256(blob(at("big", i, "leaf"))),
                number(at("big", i, "leafIndex")),
                number(at("big", i, "leafCount")),
                unpackWords(blob(at("big", i, "items"))),
                word(at("big", i, "root"))
            );
        }
        assertTrue(i > 10, "many");
    }

    /// @dev The proof passes; with any byte changed, an item more or fewer, or at another place it does not.
    function allWays(bytes32 leaf, uint256 index, uint256 count, bytes32[] memory items, bytes32 root) private view {
        assertEq(lib.mmr(leaf, index, count, items), root, "root");
        for (uint256 k; k < items.length; ++k) {
            bytes32 kept = items[k];
            for (uint256 b; b < 32; b += items.length > 6 ? 5 : 1) {
                items[k] = kept ^ bytes32(uint256(1) << (8 * b + (b + k) % 8));
                assertTrue(lib.mmr(leaf, index, count, items) != root, "byte");
            }
            items[k] = kept;
        }
        refused(leaf, index, count, resized(items, 1), root);
        if (items.length > 0) refused(leaf, index, count, resized(items, -1), root);
        refused(leaf, index + 1, count, items, root);
        refused(leaf, index ^ 1, count, items, root);
    }

    function refused(bytes32 leaf, uint256 index, uint256 count, bytes32[] memory items, bytes32 root) private view {
        try lib.mmr(leaf, index, count, items) returns (bytes32 r) {
            assertTrue(r != root, "must not pass");
        } catch {}
    }
}

/// @notice The withdrawal tree and its messages.
contract WithdrawalVectorsTest is VectorTest {
    function setUp() public {
        open("withdrawals");
    }

    function test_vectors_hashes() public view {
        uint256 i;
        for (; has("withdrawals", i); ++i) {
            Types.WithdrawalTransaction memory w = Types.WithdrawalTransaction(
                number(at("withdrawals", i, "nonce")),
                vm.parseJsonAddress(json, at("withdrawals", i, "sender")),
                vm.parseJsonAddress(json, at("withdrawals", i, "target")),
                number(at("withdrawals", i, "value")),
                number(at("withdrawals", i, "gasLimit")),
                blob(at("withdrawals", i, "data"))
            );
            assertEq(w.nonce, 1 << 240 | i, "nonce");
            assertEq(lib.message(w), word(at("withdrawals", i, "hash")), "hash");
            assertEq(keccak256(blob(at("withdrawals", i, "encoded"))), lib.message(w), "encoded");
        }
        assertTrue(i >= 20, "twenty");
    }

    function test_vectors_proofs() public view {
        for (uint256 i; has("proofs", i); ++i) {
            uint256 index = number(at("proofs", i, "index"));
            bytes32 leaf = word(at("withdrawals", index, "hash"));
            bytes32 root = word(at("proofs", i, "root"));
            bytes memory proof = blob(at("proofs", i, "proof"));
            assertEq(proof.length, 1024, "length");
            assertEq(lib.withdrawal(leaf, index, proof), root, "root");
            for (uint256 k = i % 3; k < 1024; k += 3) {
                proof[k] = bytes1(uint8(proof[k]) ^ uint8(1 << (k % 8)));
                assertTrue(lib.withdrawal(leaf, index, proof) != root, "byte");
                proof[k] = bytes1(uint8(proof[k]) ^ uint8(1 << (k % 8)));
            }
            for (uint256 bit; bit < 32; ++bit) {
                assertTrue(lib.withdrawal(leaf, index ^ 1 << bit, proof) != root, "place");
            }
        }
    }

    function test_vectors_emptyTree() public view {
        bytes32[] memory zeros = vm.parseJsonBytes32Array(json, ".zeros");
        assertEq(zeros.length, 33, "levels");
        bytes memory proof;
        for (uint256 i; i < 32; ++i) {
            proof = bytes.concat(proof, zeros[i]);
        }
        assertEq(lib.withdrawal(0, 0, proof), zeros[32], "root of nothing");
    }
}

/// @notice Three sets, two handovers and a withdrawal under the last anchor.
contract HandoverVectorsTest is VectorTest {
    BeefyAnchor private anchor;

    function setUp() public {
        open("handover");
        anchor = new BeefyAnchor(
            word(".domain"), ISuperchainConfig(address(0)), 1 days, setAt(".initial.current"), setAt(".initial.next")
        );
    }

    function setAt(string memory key) private view returns (BeefyAnchor.AuthoritySet memory) {
        return BeefyAnchor.AuthoritySet(
            uint64(number(string.concat(key, ".id"))),
            uint32(number(string.concat(key, ".length"))),
            word(string.concat(key, ".root"))
        );
    }

    function submitStep(uint256 i, uint256 signers, bytes memory leaf, bytes32[] memory items) private {
        Commitment memory c = Commitment(
            word(at("steps", i, "commitment.mmrRoot")),
            uint32(number(at("steps", i, "commitment.blockNumber"))),
            uint64(number(at("steps", i, "commitment.validatorSetId")))
        );
        bytes memory validators = blob(at("steps", i, "signers"));
        uint256[] memory bitmap = new uint256[](1);
        bitmap[0] = (1 << signers) - 1;
        anchor.submit(c, bitmap, slice(blob(at("steps", i, "signatures")), 0, 65 * signers), validators, leaf, items);
    }

    function test_vectors_handover() public {
        uint256 i;
        for (; has("steps", i); ++i) {
            bytes memory leaf = blob(at("steps", i, "leaf"));
            bytes32[] memory items = unpackWords(blob(at("steps", i, "items")));
            uint256 q = number(at("steps", i, "quorum"));
            for (uint256 k; k < leaf.length; k += 3) {
                bytes4 reason = BeefyAnchor.BeefyAnchor_WrongRoot.selector;
                if (k == 0) reason = BeefyCodec.BeefyLeaf_WrongVersion.selector;
                if (k >= 1 && k < 5) reason = BeefyCodec.BeefyLeaf_WrongNumber.selector;
                if (k >= 81 && k < 113) reason = BeefyCodec.BeefyLeaf_WrongDomain.selector;
                vm.expectRevert(reason);
                this.tryStep(i, q, mutated(leaf, k, uint8(1 << (k % 8))), items);
            }
            submitStep(i, q, leaf, items);
            BeefyAnchor.AuthoritySet memory current = setAt(at("steps", i, "after.current"));
            BeefyAnchor.AuthoritySet memory next = setAt(at("steps", i, "after.next"));
            assertEq(keccak256(abi.encode(anchor.currentSet())), keccak256(abi.encode(current)), "current");
            assertEq(keccak256(abi.encode(anchor.nextSet())), keccak256(abi.encode(next)), "next");
        }
        assertTrue(i >= 5, "steps");
        // A withdrawal under the last anchor.
        bytes memory leafOfOutput = blob(".withdrawal.leaf");
        (bytes32 leafHash, Leaf memory leaf_) = anchor.checkLeaf(
            leafOfOutput,
            unpackWords(blob(".withdrawal.items")),
            uint32(number(".withdrawal.leafIndex")),
            anchor.latestBlock()
        );
        assertEq(leaf_.withdrawalRoot, word(".withdrawal.withdrawalRoot"), "withdrawal root");
        assertEq(leaf_.parentHash, word(".withdrawal.blockHash"), "block hash");
        assertEq(
            keccak256(abi.encode(uint256(1), leafHash, leaf_.withdrawalRoot, leaf_.parentHash)),
            word(".withdrawal.outputRoot"),
            "output root"
        );
        assertEq(
            lib.withdrawal(word(".withdrawal.hash"), number(".withdrawal.index"), blob(".withdrawal.proof")),
            leaf_.withdrawalRoot,
            "proof"
        );
    }

    function tryStep(uint256 i, uint256 signers, bytes memory leaf, bytes32[] memory items) external {
        submitStep(i, signers, leaf, items);
    }
}
