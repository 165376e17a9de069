// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BridgeTest} from "../helpers/BridgeTest.sol";
import {Reference} from "../helpers/Reference.sol";
import {AnchorState, AnchorStates} from "../../src/anchor/AnchorState.sol";
import {BeefyAnchor} from "../../src/anchor/BeefyAnchor.sol";
import {BeefyCodec, Commitment} from "../../src/anchor/BeefyCodec.sol";
import {ISuperchainConfig} from "../../src/interfaces/ISuperchainConfig.sol";
import {Mmr} from "../../src/libraries/Mmr.sol";

/// @notice Attacks on what was signed and by whom. One named test each.
contract AnchorAttacksTest is BridgeTest {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    Submission private good;

    function setUp() public override {
        super.setUp();
        for (uint256 i; i < 5; ++i) {
            extend(1);
        }
        good = submission(1);
    }

    function test_theHonestSubmissionPasses() public {
        submit(good);
        assertEq(anchor.latestBlock(), 5, "block");
        assertEq(anchor.currentSet().id, 1, "handover");
        assertEq(anchor.nextSet().id, 2, "next");
        assertTrue(anchor.isAnchored(5, good.c.mmrRoot), "remembered");
    }

    function test_attack_uninitialisedOrZeroRoot() public {
        assertFalse(anchor.isAnchored(0, 0), "nothing is anchored before the first commitment");
        assertFalse(anchor.isAnchored(5, 0), "nor at any block");
        bytes memory leaf = leaves[0];
        bytes32[] memory none = new bytes32[](0);
        vm.expectPartialRevert(BeefyAnchor.BeefyAnchor_NotAnchored.selector);
        anchor.checkLeaf(leaf, none, 0, 1);
        vm.expectRevert(Mmr.Mmr_LeafOutOfRange.selector);
        anchor.checkLeaf(leaf, none, 0, 0);

        Submission memory s = good;
        s.c.mmrRoot = 0;
        resign(s);
        refuse(s, BeefyAnchor.BeefyAnchor_ZeroRoot.selector);
        s.c.blockNumber = 0;
        resign(s);
        refuse(s, BeefyAnchor.BeefyAnchor_OldBlock.selector);
    }

    function test_attack_anchorMadeWithEmptySets() public {
        BeefyAnchor.AuthoritySet memory a = BeefyAnchor.AuthoritySet(0, 4, keccak256("a"));
        BeefyAnchor.AuthoritySet memory b = BeefyAnchor.AuthoritySet(1, 4, keccak256("b"));
        refuseSetup(0, 1, a, b);
        refuseSetup("d", 0, a, b);
        a.root = 0;
        refuseSetup("d", 1, a, b);
        a = BeefyAnchor.AuthoritySet(0, 0, keccak256("a"));
        refuseSetup("d", 1, a, b);
        a = BeefyAnchor.AuthoritySet(0, 4, keccak256("a"));
        b.root = 0;
        refuseSetup("d", 1, a, b);
        b = BeefyAnchor.AuthoritySet(1, 0, keccak256("b"));
        refuseSetup("d", 1, a, b);
        b = BeefyAnchor.AuthoritySet(2, 4, keccak256("b"));
        refuseSetup("d", 1, a, b);
    }

    function refuseSetup(
        bytes32 domain,
        uint256 staleness,
        BeefyAnchor.AuthoritySet memory a,
        BeefyAnchor.AuthoritySet memory b
    ) private {
        refuseCreation(
            bytes.concat(type(BeefyAnchor).creationCode, abi.encode(domain, address(config), staleness, a, b)),
            BeefyAnchor.BeefyAnchor_BadSetup.selector
        );
    }

    function test_attack_extraOrMissingProofBytes() public {
        Submission memory s = good;
        bytes memory leaf = s.leaf;
        bytes32[] memory proof = s.proof;
        s.leaf = resized(leaf, 1);
        refuse(s, BeefyCodec.BeefyLeaf_WrongLength.selector);
        s.leaf = resized(leaf, -1);
        refuse(s, BeefyCodec.BeefyLeaf_WrongLength.selector);
        s.leaf = leaf;
        s.proof = resized(proof, 1);
        refuse(s, Mmr.Mmr_WrongProofLength.selector);
        s.proof = resized(proof, -1);
        refuse(s, Mmr.Mmr_WrongProofLength.selector);
        s.proof = proof;

        bytes memory signatures = s.signatures;
        s.signatures = resized(signatures, 1);
        refuse(s, BeefyAnchor.BeefyAnchor_SignaturesLength.selector);
        s.signatures = resized(signatures, -1);
        refuse(s, BeefyAnchor.BeefyAnchor_SignaturesLength.selector);
        s.signatures = signatures;
        bytes memory validators = s.validators;
        s.validators = resized(validators, 1);
        refuse(s, BeefyAnchor.BeefyAnchor_WrongValidators.selector);
        s.validators = resized(validators, -20);
        refuse(s, BeefyAnchor.BeefyAnchor_WrongValidators.selector);
        s.validators = mutated(validators, 61, 1);
        refuse(s, BeefyAnchor.BeefyAnchor_WrongValidators.selector);
    }

    function test_attack_twoEncodingsOfOneLeaf() public {
        // Any other layout version, however its fields read, is refused, though the range would hold it.
        bytes memory leaf = mutated(leaves[4], 0, 1);
        leaves[4] = leaf;
        refuse(submission(1), BeefyCodec.BeefyLeaf_WrongVersion.selector);
        // A compact integer in front, as if the leaf were an opaque byte string.
        leaves[4] = bytes.concat(hex"e502", mutated(leaf, 0, 1));
        refuse(submission(1), BeefyCodec.BeefyLeaf_WrongLength.selector);
    }

    function test_attack_everySingleByteOfTheLeaf() public {
        Submission memory s = good;
        bytes memory leaf = s.leaf;
        for (uint256 i; i < leaf.length; ++i) {
            s.leaf = mutated(leaf, i, uint8(1 << (i % 8)));
            // Version, number and domain are compared; all the rest is in the hash.
            bytes4 reason = BeefyAnchor.BeefyAnchor_WrongRoot.selector;
            if (i == 0) reason = BeefyCodec.BeefyLeaf_WrongVersion.selector;
            if (i >= 1 && i < 5) reason = BeefyCodec.BeefyLeaf_WrongNumber.selector;
            if (i >= 81 && i < 113) reason = BeefyCodec.BeefyLeaf_WrongDomain.selector;
            vm.expectRevert(reason);
            submit(s);
        }
    }

    function test_attack_everySingleByteOfTheProof() public {
        Submission memory s = good;
        bytes32[] memory proof = s.proof;
        assertTrue(proof.length > 0, "there is one");
        for (uint256 i; i < 32 * proof.length; ++i) {
            bytes32 kept = proof[i / 32];
            proof[i / 32] = kept ^ bytes32(uint256(1) << (8 * (i % 32) + i % 8));
            refuse(s, BeefyAnchor.BeefyAnchor_WrongRoot.selector);
            proof[i / 32] = kept;
        }
        submit(s);
    }

    function test_attack_leafIndexBeyondLeafCount() public {
        submit(good);
        bytes memory leaf = leaves[4];
        bytes32[] memory proof = good.proof;
        vm.expectRevert(BeefyCodec.BeefyLeaf_WrongNumber.selector);
        anchor.checkLeaf(leaf, proof, 5, 5);
        // A leaf that says 5, in a range of 5.
        leaf = makeLeaf(5, blockHashOf(5), nextOf(1), anchor.domain(), 0);
        vm.expectRevert(Mmr.Mmr_LeafOutOfRange.selector);
        anchor.checkLeaf(leaf, proof, 5, 5);
        leaf = makeLeaf(type(uint32).max, blockHashOf(5), nextOf(1), anchor.domain(), 0);
        vm.expectRevert(Mmr.Mmr_LeafOutOfRange.selector);
        anchor.checkLeaf(leaf, proof, type(uint32).max, 5);
    }

    function test_attack_promotedLeafAtSetOf513() public {
        // The last of 513 moves up ten levels unchanged: its leaf hash stands next to the root of the other 512.
        setLength[0] = 513;
        leaves = new bytes[](0);
        deploy(0);
        extend(0);
        Submission memory s = submission(0);
        bytes memory validators = s.validators;
        bytes32[2] memory top;
        address[] memory list = members(0);
        top[1] = keccak256(abi.encodePacked(list[512]));
        assembly ("memory-safe") {
            mstore(list, 512)
        }
        top[0] = Reference.authorityRoot(list);
        assertEq(Reference.node(top[0], top[1]), setRoot(0), "that is how the root is made");
        // A list whose "addresses" are pieces of those two nodes, a list without the last, and one with the last twice.
        s.validators = resized(bytes.concat(top[0], top[1]), 20 * 513 - 64);
        refuse(s, BeefyAnchor.BeefyAnchor_WrongValidators.selector);
        s.validators = resized(validators, -20);
        refuse(s, BeefyAnchor.BeefyAnchor_WrongValidators.selector);
        s.validators = bytes.concat(validators, abi.encodePacked(list[511]));
        refuse(s, BeefyAnchor.BeefyAnchor_WrongValidators.selector);
        s.validators = validators;
        submit(s);
        assertEq(anchor.latestBlock(), 1, "the honest one passes");
    }

    function test_attack_nonZeroBitmapPadding() public {
        Submission memory s = good;
        uint256 bits = s.bitmap[0];
        s.bitmap[0] = bits | 1 << 4;
        refuse(s, BeefyAnchor.BeefyAnchor_BitmapPadding.selector);
        s.bitmap[0] = bits | 1 << 255;
        refuse(s, BeefyAnchor.BeefyAnchor_BitmapPadding.selector);
        s.bitmap = new uint256[](2);
        s.bitmap[0] = bits;
        refuse(s, BeefyAnchor.BeefyAnchor_BitmapLength.selector);
        s.bitmap = new uint256[](0);
        refuse(s, BeefyAnchor.BeefyAnchor_BitmapLength.selector);
    }

    function test_aFullLastWordHasNoPadding() public {
        setLength[0] = 256;
        leaves = new bytes[](0);
        deploy(0);
        extend(0);
        Submission memory s = submission(0);
        // All 256 sign: the word is full.
        (s.bitmap, s.signatures) = signedBy(0, 256, hashOf(s.c));
        assertEq(s.bitmap[0], type(uint256).max, "full");
        submit(s);
    }

    function test_attack_staleHandoverLeaf() public {
        // The next set signs, but the leaf is one of the session before, or names another set than must follow.
        leaves[4] = makeLeaf(4, blockHashOf(4), nextOf(0), anchor.domain(), 0);
        refuse(submission(1), BeefyAnchor.BeefyAnchor_WrongHandover.selector);
        leaves[4] = makeLeaf(4, blockHashOf(4), nextOf(2), anchor.domain(), 0);
        refuse(submission(1), BeefyAnchor.BeefyAnchor_WrongHandover.selector);
        leaves[4] = makeLeaf(4, blockHashOf(4), Next(2, 0, keccak256("x")), anchor.domain(), 0);
        refuse(submission(1), BeefyAnchor.BeefyAnchor_WrongHandover.selector);
        leaves[4] = makeLeaf(4, blockHashOf(4), Next(2, 4, 0), anchor.domain(), 0);
        refuse(submission(1), BeefyAnchor.BeefyAnchor_WrongHandover.selector);
        // The current set cannot name another next set than the one that is known.
        Next memory next = nextOf(0);
        next.root = keccak256("other");
        leaves[4] = makeLeaf(4, blockHashOf(4), next, anchor.domain(), 0);
        refuse(submission(0), BeefyAnchor.BeefyAnchor_WrongHandover.selector);
        next = nextOf(0);
        next.length = 5;
        leaves[4] = makeLeaf(4, blockHashOf(4), next, anchor.domain(), 0);
        refuse(submission(0), BeefyAnchor.BeefyAnchor_WrongHandover.selector);
        leaves[4] = makeLeaf(4, blockHashOf(4), nextOf(0), anchor.domain(), 0);
        submit(submission(0));
        assertEq(anchor.nextSet().root, setRoot(1), "the known next set stays");
    }

    function test_attack_innerNodeOfferedAsLeaf() public {
        submit(good);
        // In a range of 5, leaves 0 and 1 make one node. Its preimage is 64 bytes, not 185.
        bytes memory inner = bytes.concat(keccak256(leaves[0]), keccak256(leaves[1]));
        bytes32[] memory proof = leafProof(0, 5);
        bytes32[] memory shorter = new bytes32[](proof.length - 1);
        for (uint256 i; i < shorter.length; ++i) {
            shorter[i] = proof[i + 1];
        }
        vm.expectRevert(BeefyCodec.BeefyLeaf_WrongLength.selector);
        anchor.checkLeaf(inner, shorter, 0, 5);
        bytes memory leaf = leaves[0];
        vm.expectPartialRevert(Mmr.Mmr_WrongProofLength.selector);
        anchor.checkLeaf(leaf, shorter, 0, 5);
        // A smaller range would have that shape, but no such anchor is known.
        vm.expectRevert(BeefyAnchor.BeefyAnchor_NotAnchored.selector);
        anchor.checkLeaf(leaf, shorter, 0, 3);
    }

    function test_attack_leafOfAnotherRoot() public {
        Submission memory s = good;
        s.c.mmrRoot = keccak256("another");
        resign(s);
        refuse(s, BeefyAnchor.BeefyAnchor_WrongRoot.selector);
    }

    function test_attack_highS() public {
        Submission memory s = good;
        // The mirrored form of the second signature recovers the same address, with v flipped.
        bytes memory signatures = s.signatures;
        uint256 low;
        assembly ("memory-safe") {
            low := mload(add(signatures, 129))
        }
        uint256 high = ORDER - low;
        assembly ("memory-safe") {
            mstore(add(signatures, 129), high)
        }
        signatures[129] = signatures[129] == 0x1b ? bytes1(0x1c) : bytes1(0x1b);
        vm.expectRevert(abi.encodeWithSelector(BeefyAnchor.BeefyAnchor_HighS.selector, 1));
        submit(s);
    }

    function test_attack_wrongV() public {
        Submission memory s = good;
        bytes memory signatures = s.signatures;
        for (uint256 v; v < 256; ++v) {
            if (v == 27 || v == 28) continue;
            s.signatures = bytes.concat(signatures);
            s.signatures[64] = bytes1(uint8(v));
            refuse(s, BeefyAnchor.BeefyAnchor_WrongV.selector);
        }
        s.signatures = mutated(signatures, 64, 7); // 27 <-> 28
        refuse(s, BeefyAnchor.BeefyAnchor_BadSignature.selector);
    }

    function test_attack_zeroRecover() public {
        // A set with the zero address in it, and a signature from which nothing is recovered.
        setLength[0] = 1;
        leaves = new bytes[](0);
        deploy(0);
        address[] memory list = new address[](1);
        bytes32 root = Reference.authorityRoot(list);
        BeefyAnchor.AuthoritySet memory zero = BeefyAnchor.AuthoritySet(0, 1, root);
        anchor = new BeefyAnchor(
            anchor.domain(),
            ISuperchainConfig(address(config)),
            STALENESS,
            zero,
            BeefyAnchor.AuthoritySet(1, setLength[1], setRoot(1))
        );
        extend(0);
        Submission memory s = submission(0);
        s.validators = new bytes(20);
        s.signatures = new bytes(65);
        s.signatures[64] = 0x1b;
        refuse(s, BeefyAnchor.BeefyAnchor_BadSignature.selector);
    }

    function test_attack_duplicateSigner() public {
        Submission memory s = good;
        bytes memory signatures = s.signatures;
        // The first signature in the second place.
        for (uint256 i; i < 65; ++i) {
            s.signatures[65 + i] = signatures[i];
        }
        refuse(s, BeefyAnchor.BeefyAnchor_BadSignature.selector);
        // Two bits only, one signature twice behind them.
        s.bitmap[0] = 3;
        refuse(s, BeefyAnchor.BeefyAnchor_NoQuorum.selector);
    }

    function test_attack_signaturesInAnotherOrder() public {
        Submission memory s = good;
        bytes memory mixed = bytes.concat(s.signatures);
        for (uint256 i; i < 65; ++i) {
            (mixed[i], mixed[65 + i]) = (mixed[65 + i], mixed[i]);
        }
        s.signatures = mixed;
        refuse(s, BeefyAnchor.BeefyAnchor_BadSignature.selector);
    }

    function test_attack_everySingleByteOfTheSignatures() public {
        Submission memory s = good;
        bytes memory signatures = s.signatures;
        for (uint256 i; i < signatures.length; ++i) {
            bytes memory changed = mutated(signatures, i, uint8(1 << (i % 8)));
            s.signatures = changed;
            // No single bit makes 27 of 28. What s has become decides between the other two.
            bytes4 reason =
                i % 65 == 64 ? BeefyAnchor.BeefyAnchor_WrongV.selector : BeefyAnchor.BeefyAnchor_BadSignature.selector;
            uint256 high;
            assembly ("memory-safe") {
                high := mload(add(changed, add(0x40, mul(div(i, 65), 65))))
            }
            if (high > ORDER / 2) reason = BeefyAnchor.BeefyAnchor_HighS.selector;
            vm.expectRevert(abi.encodeWithSelector(reason, i / 65));
            submit(s);
        }
    }

    function test_attack_quorumOffByOneForEveryN() public {
        assertEq(anchor.quorum(0), 0, "nobody of nobody");
        for (uint256 n = 1; n <= 1000; ++n) {
            uint256 q = anchor.quorum(n);
            // Faulty are at most the largest f with 3f < n. All the others are a quorum, and one fewer is none.
            uint256 f;
            while (3 * (f + 1) < n) ++f;
            assertEq(q, n - f, "n - f");
            assertTrue(3 * q > 2 * n, "more than two thirds");
            assertTrue(2 * q > n + f, "two quorums share an honest member");

            // What `submit` does with one fewer, and with so many: then it goes on to look for their signatures.
            vm.store(address(anchor), 0, bytes32(AnchorState.unwrap(AnchorStates.pack(0, n, 1, 0, time()))));
            assertEq(anchor.currentSet().length, n, "a set of that length");
            bytes memory all = new bytes(20 * n);
            vm.expectRevert(abi.encodeWithSelector(BeefyAnchor.BeefyAnchor_NoQuorum.selector, q - 1, q));
            anchor.submit(Commitment("a root", 1, 0), lowest(n, q - 1), "", all, "", new bytes32[](0));
            vm.expectRevert(BeefyAnchor.BeefyAnchor_SignaturesLength.selector);
            anchor.submit(Commitment("a root", 1, 0), lowest(n, q), "", all, "", new bytes32[](0));
        }
    }

    /// @dev A bitmap for a set of `n` with the first `ones` bits set.
    function lowest(uint256 n, uint256 ones) private pure returns (uint256[] memory bitmap) {
        bitmap = new uint256[]((n + 255) / 256);
        for (uint256 i; i < bitmap.length; ++i) {
            uint256 here = ones > 256 * (i + 1) ? 256 : ones > 256 * i ? ones - 256 * i : 0;
            bitmap[i] = here == 256 ? type(uint256).max : (1 << here) - 1;
        }
    }

    function test_attack_oneSignatureTooFew() public {
        for (uint32 n = 1; n <= 12; ++n) {
            setLength[0] = n;
            leaves = new bytes[](0);
            deploy(0);
            extend(0);
            Submission memory s = submission(0);
            uint256 q = quorumOf(0);
            (s.bitmap, s.signatures) = signedBy(0, q - 1, hashOf(s.c));
            refuse(s, BeefyAnchor.BeefyAnchor_NoQuorum.selector);
            resign(s);
            submit(s);
        }
    }

    function test_attack_replayOnAnotherPortalOrChain() public {
        // The same validators, the same leaves: the other bridge has another portal, so another domain.
        bytes32 mine = anchor.domain();
        Submission memory s = good;
        deploy(0);
        assertTrue(anchor.domain() != mine, "another portal, another domain");
        refuse(s, BeefyCodec.BeefyLeaf_WrongDomain.selector);

        // The same transactions on another Ethereum make a portal with the same address, and another domain.
        uint256 state = vm.snapshotState();
        deploy(0);
        address there = address(portal);
        leaves[4] = makeLeaf(4, blockHashOf(4), nextOf(1), anchor.domain(), Reference.withdrawalRoot(withdrawals));
        s = submission(1);
        uint256 now_ = vm.snapshotState();
        submit(s);
        vm.revertToState(now_);
        vm.revertToState(state);
        vm.chainId(31_338);
        deploy(0);
        assertEq(address(portal), there, "the same portal");
        assertEq(anchor.domain(), domainOf(there), "its own domain");
        refuse(s, BeefyCodec.BeefyLeaf_WrongDomain.selector);
    }

    function domainOf(address at_) private view returns (bytes32) {
        return keccak256(bytes.concat(bytes32(block.chainid), bytes32(uint256(uint160(at_))), GENESIS));
    }

    function test_domainIsWhatBothChainsCompute() public view {
        assertEq(anchor.domain(), domainOf(address(portal)), "domain");
    }

    function test_attack_scaleCompactBoundaries() public {
        // One payload item is `04`; the same number can be spelled in two bytes (`0100` has mode 1), four or five. Whoever
        // signs such an encoding has not signed what the contract rebuilds.
        Submission memory s = good;
        bytes memory tail =
            bytes.concat(s.c.mmrRoot, Reference.le(s.c.blockNumber, 4), Reference.le(s.c.validatorSetId, 8));
        bytes[6] memory heads = [
            bytes(hex"05006d6880"),
            hex"060000006d6880",
            hex"03010000006d6880",
            hex"046d688100",
            hex"086d6880",
            hex"046d6881"
        ];
        for (uint256 i; i < heads.length; ++i) {
            (s.bitmap, s.signatures) = signedBy(1, 3, keccak256(bytes.concat(heads[i], tail)));
            refuse(s, BeefyAnchor.BeefyAnchor_BadSignature.selector);
        }
        // Numbers are fixed-width: the boundaries of compact ones (63, 16383, 2^30 - 1) mean nothing.
        uint32[6] memory numbers = [uint32(63), 64, 16_383, 16_384, 1_073_741_823, 1_073_741_824];
        for (uint256 i; i < numbers.length; ++i) {
            bytes memory leaf = makeLeaf(numbers[i] - 1, blockHashOf(1), nextOf(1), anchor.domain(), 0);
            (bytes32 root, bytes32[] memory proof) = lastLeafRange(keccak256(leaf), numbers[i]);
            s.c = Commitment(root, numbers[i], 1);
            s.leaf = leaf;
            s.proof = proof;
            resign(s);
            submit(s);
            assertEq(anchor.latestBlock(), numbers[i], "accepted");
        }
    }

    /// @dev A range of `count` leaves with arbitrary items, for its last leaf.
    function lastLeafRange(bytes32 leafHash, uint256 count)
        private
        pure
        returns (bytes32 root, bytes32[] memory items)
    {
        uint256 left;
        uint256 height;
        while (count >> height & 1 == 0) ++height;
        for (uint256 h = height + 1; h < 32; ++h) {
            left += count >> h & 1;
        }
        items = new bytes32[](left + height);
        for (uint256 i; i < items.length; ++i) {
            items[i] = keccak256(abi.encode(i));
        }
        root = leafHash;
        for (uint256 i; i < height; ++i) {
            root = Reference.node(items[left + i], root); // the last leaf is always on the right
        }
        while (left > 0) root = Reference.node(root, items[--left]);
    }

    function test_attack_longRangeOldSet() public {
        submit(good); // set 1 has taken over
        extend(2);
        submit(submission(2)); // and set 2
        // Keys of set 0, long gone, sign a newer block.
        extend(0);
        refuse(submission(0), BeefyAnchor.BeefyAnchor_UnknownSet.selector);
        refuse(submission(1), BeefyAnchor.BeefyAnchor_UnknownSet.selector);
        // And a set that is not next yet cannot come early.
        refuse(submission(4), BeefyAnchor.BeefyAnchor_UnknownSet.selector);
    }

    function test_attack_oldKeysAfterALongSilence() public {
        vm.warp(time() + STALENESS);
        assertFalse(anchor.stale(), "the last second");
        vm.warp(time() + 1);
        assertTrue(anchor.stale(), "stale");
        refuse(good, BeefyAnchor.BeefyAnchor_Stale.selector);
    }

    function test_attack_leavesProvenAfterALongSilence() public {
        submit(good);
        bytes memory leaf = leaves[0];
        bytes32[] memory proof = leafProof(0, 5);
        anchor.checkLeaf(leaf, proof, 0, 5);
        vm.warp(time() + STALENESS + 1);
        vm.expectRevert(BeefyAnchor.BeefyAnchor_Stale.selector);
        anchor.checkLeaf(leaf, proof, 0, 5);
    }

    function test_attack_olderOrSameBlock() public {
        submit(good);
        refuse(good, BeefyAnchor.BeefyAnchor_OldBlock.selector);
        Submission memory s = good;
        s.c.blockNumber = 4;
        resign(s);
        refuse(s, BeefyAnchor.BeefyAnchor_OldBlock.selector);
    }

    function test_attack_oversizedProofsAsDos() public {
        // Whatever is too long is refused by its length, before any hashing: the cost is the sender's call data.
        Submission memory s = good;
        bytes32[] memory proof = s.proof;
        s.proof = new bytes32[](3000);
        refuse(s, Mmr.Mmr_WrongProofLength.selector);
        s.proof = proof;
        s.leaf = new bytes(90_000);
        refuse(s, BeefyCodec.BeefyLeaf_WrongLength.selector);
        s.leaf = good.leaf;
        s.validators = new bytes(20 * 5000);
        refuse(s, BeefyAnchor.BeefyAnchor_WrongValidators.selector);
        s.validators = good.validators;
        s.bitmap = new uint256[](3000);
        refuse(s, BeefyAnchor.BeefyAnchor_BitmapLength.selector);
        s.bitmap = good.bitmap;
        s.signatures = new bytes(65 * 1500);
        refuse(s, BeefyAnchor.BeefyAnchor_SignaturesLength.selector);
    }

    // --- contradicting quorums ---

    function attestation(uint64 id, bytes32 root, uint32 number, uint256 signers)
        private
        view
        returns (BeefyAnchor.Attestation memory a)
    {
        a.commitment = Commitment(root, number, id);
        (a.bitmap, a.signatures) = signedBy(id, signers, hashOf(a.commitment));
        a.validators = packed(id);
    }

    function test_conflictFreezesEverything() public {
        submit(good);
        BeefyAnchor.Attestation memory a = attestation(1, keccak256("one"), 77, 3);
        BeefyAnchor.Attestation memory b = attestation(2, keccak256("two"), 77, 3);
        anchor.reportConflict(a, b);
        assertTrue(anchor.frozen(), "anchor");
        assertTrue(config.frozen() && config.paused() && portal.paused(), "portal");
        extend(1);
        refuse(submission(1), BeefyAnchor.BeefyAnchor_Frozen.selector);
        bytes memory leaf = leaves[0];
        bytes32[] memory proof = leafProof(0, 5);
        vm.expectRevert(BeefyAnchor.BeefyAnchor_Frozen.selector);
        anchor.checkLeaf(leaf, proof, 0, 5);
        vm.expectRevert(BeefyAnchor.BeefyAnchor_Frozen.selector);
        anchor.reportConflict(a, b);
        // No pause ends it.
        vm.warp(time() + 1000 days);
        assertTrue(portal.paused(), "for ever");
    }

    function test_attack_freezeWithoutAConflict() public {
        BeefyAnchor.Attestation memory a = attestation(0, keccak256("one"), 77, 3);
        vm.expectRevert(BeefyAnchor.BeefyAnchor_NoConflict.selector);
        anchor.reportConflict(a, a);
        BeefyAnchor.Attestation memory b = attestation(0, keccak256("two"), 78, 3);
        vm.expectRevert(BeefyAnchor.BeefyAnchor_NoConflict.selector);
        anchor.reportConflict(a, b);
        b = attestation(0, keccak256("two"), 77, 2);
        vm.expectPartialRevert(BeefyAnchor.BeefyAnchor_NoQuorum.selector);
        anchor.reportConflict(a, b);
        vm.expectPartialRevert(BeefyAnchor.BeefyAnchor_NoQuorum.selector);
        anchor.reportConflict(b, a);
        b = attestation(2, keccak256("two"), 77, 3);
        vm.expectRevert(BeefyAnchor.BeefyAnchor_UnknownSet.selector);
        anchor.reportConflict(a, b);
    }
}
