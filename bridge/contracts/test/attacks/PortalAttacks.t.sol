// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BridgeTest} from "../helpers/BridgeTest.sol";
import {FakeGame, Forwarder, Receiver, Reenterer} from "../helpers/Mocks.sol";
import {Reference} from "../helpers/Reference.sol";
import {OptimismPortal} from "../../src/L1/OptimismPortal.sol";
import {AnchorStateRegistry} from "../../src/dispute/AnchorStateRegistry.sol";
import {BeefyOutputGame} from "../../src/dispute/BeefyOutputGame.sol";
import {IDisputeGame} from "../../src/interfaces/IDisputeGame.sol";
import {SafeCall} from "../../src/libraries/SafeCall.sol";
import {Claim, Constants, Types} from "../../src/libraries/Types.sol";

/// @notice Attacks on the way out. One named test each.
contract PortalAttacksTest is BridgeTest {
    bytes private constant NO_SUCH_INDEX = abi.encodeWithSignature("Panic(uint256)", 0x32);

    Receiver private receiver;

    function setUp() public override {
        super.setUp();
        receiver = new Receiver(portal);
    }

    function plain() private returns (Types.WithdrawalTransaction memory) {
        return message(bob, address(receiver), 100_000, "hello");
    }

    /// @dev `portal.prove…` with one thing changed must fail for the reason given.
    function refuseProof(
        Types.WithdrawalTransaction memory w,
        uint256 game,
        Types.OutputRootProof memory o,
        bytes[] memory proof,
        bytes4 reason
    ) private {
        vm.expectPartialRevert(reason);
        portal.proveWithdrawalTransaction(w, game, o, proof);
    }

    function test_theHonestWithdrawalPasses() public {
        Types.WithdrawalTransaction memory w = openOut(bob, 5e18);
        readyToFinalize(w);
        assertEq(portal.numProofSubmitters(hashOf(w)), 1, "one submitter");
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(token.balanceOf(bob), 5e18, "paid");
        assertEq(token.balanceOf(address(bridge)), LOCKED - 5e18, "out of the lock");
        assertTrue(portal.finalizedWithdrawals(hashOf(w)), "noted");
        assertEq(portal.l2Sender(), address(0xdEaD), "nobody speaks now");
    }

    function test_aMessageSeesItsSender() public {
        Types.WithdrawalTransaction memory w = plain();
        readyToFinalize(w);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(receiver.sender(), bob, "l2Sender");
        assertEq(receiver.data(), "hello", "data");
    }

    function test_attack_zeroRootWithdrawal() public {
        // A game over an all-zero output: its hash is nobody's claim, and the zero claim is nobody's hash.
        Types.WithdrawalTransaction memory w = plain();
        settle();
        proposeClaim(Claim.wrap(0), 0);
        vm.warp(time() + 1);
        Types.OutputRootProof memory zero;
        refuseProof(w, 1, zero, withdrawalProof(0), OptimismPortal.OptimismPortal_InvalidOutputRootProof.selector);
    }

    function test_attack_fakeGame() public {
        Types.WithdrawalTransaction memory w = plain();
        (, uint256 number) = settle();
        Types.OutputRootProof memory o = outputOf(number);
        // An address that answers as a game would is in no list.
        FakeGame fake = new FakeGame(claimOf(o), abi.encode(number));
        IDisputeGame asGame = IDisputeGame(address(fake));
        assertFalse(registry.isGameRegistered(asGame), "not registered");
        assertFalse(registry.isGameProper(asGame), "not proper");
        assertFalse(registry.isGameClaimValid(asGame), "not valid");
        vm.expectRevert(AnchorStateRegistry.AnchorStateRegistry_NotAGame.selector);
        fake.report(address(registry));
        // The portal takes games by number alone, and there is no such number.
        vm.expectRevert(NO_SUCH_INDEX);
        portal.proveWithdrawalTransaction(w, 1, o, withdrawalProof(0));
        proveAs(alice, w, number);
    }

    function test_attack_gameOfAnotherAnchor() public {
        // A bridge with an attacker's validators has a factory and an anchor of its own; this one never hears of them.
        Types.WithdrawalTransaction memory w = plain();
        (BeefyOutputGame mine, uint256 number) = settle();
        AnchorStateRegistry registryHere = registry;
        OptimismPortal portalHere = portal;
        deploy(3);
        BeefyOutputGame theirs = propose(number);
        assertFalse(registryHere.isGameProper(theirs), "not proper here");
        assertTrue(registryHere.isGameProper(mine), "mine is");
        vm.expectRevert(NO_SUCH_INDEX);
        portalHere.proveWithdrawalTransaction(w, 1, outputOf(number), withdrawalProof(0));
    }

    function test_attack_gameOfAnotherType() public {
        // The factory has one type of game. Should it ever have another, the registry says which one counts.
        Types.WithdrawalTransaction memory w = plain();
        (BeefyOutputGame game, uint256 number) = settle();
        vm.mockCall(address(registry), abi.encodeCall(registry.isGameRespected, (game)), abi.encode(false));
        refuseProof(
            w, 0, outputOf(number), withdrawalProof(0), OptimismPortal.OptimismPortal_InvalidDisputeGame.selector
        );
    }

    function test_attack_extraOrMissingProofBytes() public {
        Types.WithdrawalTransaction memory w = plain();
        (, uint256 number) = settle();
        Types.OutputRootProof memory o = outputOf(number);
        bytes[] memory good = withdrawalProof(0);
        bytes4 reason = OptimismPortal.OptimismPortal_WrongProofLength.selector;
        bytes[] memory bad = new bytes[](1);
        int256[6] memory by = [int256(1), -1, 32, -32, 1024, -1024];
        for (uint256 i; i < by.length; ++i) {
            bad[0] = resized(good[0], by[i]);
            refuseProof(w, 0, o, bad, reason);
        }
        refuseProof(w, 0, o, new bytes[](0), reason);
        bad = new bytes[](2);
        bad[0] = good[0];
        refuseProof(w, 0, o, bad, reason);
    }

    function test_attack_everySingleByteOfTheProof() public {
        plain();
        Types.WithdrawalTransaction memory w = plain();
        plain();
        (, uint256 number) = settle();
        Types.OutputRootProof memory o = outputOf(number);
        bytes[] memory proof = withdrawalProof(1);
        bytes memory good = proof[0];
        for (uint256 i; i < good.length; i += 7) {
            proof[0] = mutated(good, i, uint8(1 << (i % 8)));
            refuseProof(w, 0, o, proof, OptimismPortal.OptimismPortal_InvalidMerkleProof.selector);
        }
    }

    function test_attack_oversizedProofsAsDos() public {
        Types.WithdrawalTransaction memory w = plain();
        (, uint256 number) = settle();
        bytes[] memory proof = new bytes[](1);
        proof[0] = new bytes(100_000);
        refuseProof(w, 0, outputOf(number), proof, OptimismPortal.OptimismPortal_WrongProofLength.selector);
        proof = new bytes[](2000);
        refuseProof(w, 0, outputOf(number), proof, OptimismPortal.OptimismPortal_WrongProofLength.selector);
    }

    function test_attack_twoPlacesForOneLeaf() public {
        // Bits of the nonce beyond the place would make a second message with the same proof.
        Types.WithdrawalTransaction memory w = plain();
        (, uint256 number) = settle();
        Types.OutputRootProof memory o = outputOf(number);
        bytes4 reason = OptimismPortal.OptimismPortal_BadNonce.selector;
        uint256[4] memory nonces =
            [w.nonce | 1 << 32, w.nonce | 1 << 239, w.nonce & type(uint240).max, w.nonce | 1 << 241];
        for (uint256 i; i < nonces.length; ++i) {
            w.nonce = nonces[i];
            refuseProof(w, 0, o, withdrawalProof(0), reason);
        }
        w.nonce = 1 << 240 | 1;
        refuseProof(w, 0, o, withdrawalProof(0), OptimismPortal.OptimismPortal_InvalidMerkleProof.selector);
    }

    function test_attack_innerNodeOfferedAsWithdrawal() public {
        // A withdrawal hashes at least seven words; an inner node is the hash of two.
        plain();
        Types.WithdrawalTransaction memory w = plain();
        assertTrue(abi.encode(w.nonce, w.sender, w.target, w.value, w.gasLimit, w.data).length >= 7 * 32, "longer");
        // Nor is there a shorter way up that begins at the node above the leaf: a proof has one length, and with another
        // sibling at its end it leads elsewhere.
        (, uint256 number) = settle();
        bytes[] memory proof = withdrawalProof(1);
        bytes memory full = proof[0];
        bytes memory tail = new bytes(992);
        for (uint256 i; i < 992; ++i) {
            tail[i] = full[32 + i];
        }
        Types.OutputRootProof memory o = outputOf(number);
        proof[0] = tail;
        refuseProof(w, 0, o, proof, OptimismPortal.OptimismPortal_WrongProofLength.selector);
        proof[0] = bytes.concat(tail, bytes32(0));
        refuseProof(w, 0, o, proof, OptimismPortal.OptimismPortal_InvalidMerkleProof.selector);
        proof[0] = full;
        portal.proveWithdrawalTransaction(w, 0, o, proof);
    }

    function test_attack_wrongOutput() public {
        Types.WithdrawalTransaction memory w = plain();
        (, uint256 number) = settle();
        bytes4 reason = OptimismPortal.OptimismPortal_InvalidOutputRootProof.selector;
        Types.OutputRootProof memory o = outputOf(number);
        o.version = 0;
        refuseProof(w, 0, o, withdrawalProof(0), reason);
        o = outputOf(number);
        o.messagePasserStorageRoot = hashOf(w);
        refuseProof(w, 0, o, withdrawalProof(0), reason);
    }

    function test_attack_proofInTheGamesOwnBlock() public {
        Types.WithdrawalTransaction memory w = plain();
        (, uint256 number) = settle();
        vm.warp(time() - 1);
        refuseProof(
            w, 0, outputOf(number), withdrawalProof(0), OptimismPortal.OptimismPortal_InvalidProofTimestamp.selector
        );
    }

    function test_attack_portalAnchorOrTokenAsTarget() public {
        address[6] memory targets =
            [address(portal), address(token), address(anchor), address(registry), address(factory), address(config)];
        for (uint256 i; i < targets.length; ++i) {
            message(mallory, targets[i], 100_000, abi.encodeCall(token.transfer, (mallory, 1)));
        }
        (, uint256 number) = settle();
        for (uint256 i; i < targets.length; ++i) {
            Types.WithdrawalTransaction memory w = Types.WithdrawalTransaction(
                1 << 240 | i, mallory, targets[i], 0, 100_000, abi.encodeCall(token.transfer, (mallory, 1))
            );
            refuseProof(w, 0, outputOf(number), withdrawalProof(i), OptimismPortal.OptimismPortal_BadTarget.selector);
        }
    }

    function test_attack_anyoneElseCallsTheBridge() public {
        // On L2 only the bridge can send as the bridge; whoever else targets the lock is turned away, with the sender's name.
        bytes memory data =
            abi.encodeCall(bridge.finalizeBridgeERC20, (address(token), Constants.L2_OPEN, mallory, mallory, 1e18, ""));
        Types.WithdrawalTransaction memory w = message(mallory, address(bridge), 200_000, data);
        readyToFinalize(w);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(token.balanceOf(mallory), 0, "nothing");
        assertEq(token.balanceOf(address(bridge)), LOCKED, "the lock is whole");
    }

    function test_attack_callToTheBridgeInsideADeliveryOfIts() public {
        // While the portal speaks for L2's bridge, a third party calls the lock itself.
        Forwarder forwarder = new Forwarder();
        bytes memory pay =
            abi.encodeCall(bridge.finalizeBridgeERC20, (address(token), Constants.L2_OPEN, mallory, mallory, 1e18, ""));
        Types.WithdrawalTransaction memory w = message(
            Constants.L2_BRIDGE, address(forwarder), 300_000, abi.encodeCall(forwarder.forward, (address(bridge), pay))
        );
        readyToFinalize(w);
        vm.expectRevert(OptimismPortal.OptimismPortal_BridgeCallFailed.selector);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(token.balanceOf(mallory), 0, "nothing");
    }

    function test_attack_withdrawalWithEther() public {
        Types.WithdrawalTransaction memory w = plain();
        (, uint256 number) = settle();
        w.value = 1;
        refuseProof(w, 0, outputOf(number), withdrawalProof(0), OptimismPortal.OptimismPortal_NoEther.selector);
    }

    function test_attack_secondFinalisation() public {
        Types.WithdrawalTransaction memory w = openOut(bob, 5e18);
        (, uint256 number) = (readyToFinalize(w), leaves.length - 2);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        bytes4 reason = OptimismPortal.OptimismPortal_AlreadyFinalized.selector;
        vm.expectRevert(reason);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        vm.expectRevert(reason);
        vm.prank(mallory);
        portal.finalizeWithdrawalTransactionExternalProof(w, alice);
        // Nor by a new proof of another.
        refuseProof(w, 0, outputOf(number), withdrawalProof(0), reason);
        assertEq(token.balanceOf(bob), 5e18, "paid once");
    }

    function test_attack_failedDeliveryIsNotRepeated() public {
        Types.WithdrawalTransaction memory w = plain();
        receiver.setRefuse(true);
        readyToFinalize(w);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        receiver.setRefuse(false);
        vm.expectRevert(OptimismPortal.OptimismPortal_AlreadyFinalized.selector);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(receiver.calls(), 0, "never");
    }

    function test_attack_reentrancyWithTheSameWithdrawal() public {
        Reenterer evil = new Reenterer(portal);
        Types.WithdrawalTransaction memory w = message(mallory, address(evil), 500_000, "again");
        readyToFinalize(w);
        evil.arm(w, alice);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(bytes32(evil.reason()), bytes32(OptimismPortal.OptimismPortal_NoReentrancy.selector), "locked");
    }

    function test_attack_reentrancyWithAnotherWithdrawal() public {
        // Another message delivered inside would change what l2Sender() says for the rest of the first.
        Reenterer evil = new Reenterer(portal);
        Types.WithdrawalTransaction memory first = message(mallory, address(evil), 500_000, "again");
        Types.WithdrawalTransaction memory second = openOut(bob, 1e18);
        (BeefyOutputGame game, uint256 number) = settle();
        proveAs(alice, first, number);
        proveAs(alice, second, number);
        vm.warp(time() + CHALLENGE);
        game.resolve();
        vm.warp(time() + MATURITY + FINALITY);
        evil.arm(second, alice);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(first);
        assertEq(bytes32(evil.reason()), bytes32(OptimismPortal.OptimismPortal_NoReentrancy.selector), "locked");
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(second);
        assertEq(token.balanceOf(bob), 1e18, "later it passes");
    }

    function test_attack_reproofResettingMyTimer() public {
        Types.WithdrawalTransaction memory w = plain();
        (BeefyOutputGame game, uint256 number) = settle();
        proveAs(alice, w, number);
        (, uint64 mine) = portal.provenWithdrawals(hashOf(w), alice);
        vm.warp(time() + CHALLENGE);
        game.resolve();
        vm.warp(time() + MATURITY + FINALITY);
        proveAs(mallory, w, number);
        (, uint64 stillMine) = portal.provenWithdrawals(hashOf(w), alice);
        assertEq(mine, stillMine, "untouched");
        assertEq(portal.numProofSubmitters(hashOf(w)), 2, "two");
        assertEq(portal.proofSubmitters(hashOf(w), 0), alice, "first");
        assertEq(portal.proofSubmitters(hashOf(w), 1), mallory, "second");
        vm.expectRevert(OptimismPortal.OptimismPortal_ProofNotOldEnough.selector);
        vm.prank(mallory);
        portal.finalizeWithdrawalTransaction(w);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(receiver.calls(), 1, "delivered");
    }

    function test_myOwnReproofStartsMyTimerAnewAndIsListedOnce() public {
        Types.WithdrawalTransaction memory w = plain();
        (, uint256 number) = settle();
        proveAs(alice, w, number);
        vm.warp(time() + 100);
        proveAs(alice, w, number);
        (, uint64 at_) = portal.provenWithdrawals(hashOf(w), alice);
        assertEq(at_, time(), "new time");
        assertEq(portal.numProofSubmitters(hashOf(w)), 1, "once");
    }

    function test_attack_gasGriefing() public {
        // Whoever delivers decides how much gas the transaction has. Either the message gets what it was promised, or
        // the withdrawal stays as it was.
        Types.WithdrawalTransaction memory w = message(bob, address(receiver), 300_000, "hello");
        readyToFinalize(w);
        bool delivered;
        for (uint256 gasGiven = 60_000; gasGiven < 600_000; gasGiven += 4_000) {
            uint256 state = vm.snapshotState();
            (bool ok, bytes memory why) = address(portal).call{gas: gasGiven}(
                abi.encodeCall(portal.finalizeWithdrawalTransactionExternalProof, (w, alice))
            );
            if (ok) {
                delivered = true;
                assertTrue(receiver.gasSeen() >= 295_000, "it had its gas");
                assertEq(receiver.calls(), 1, "and went through");
            } else {
                assertFalse(delivered, "more gas never hurts");
                assertFalse(portal.finalizedWithdrawals(hashOf(w)), "nothing was consumed");
                assertTrue(why.length == 0 || bytes4(why) == SafeCall.SafeCall_NotEnoughGas.selector, "reason");
            }
            vm.revertToState(state);
        }
        assertTrue(delivered, "enough gas delivers");
    }

    function test_attack_absurdGasLimit() public {
        Types.WithdrawalTransaction memory w = message(bob, address(receiver), type(uint256).max, "hello");
        readyToFinalize(w);
        // Checked arithmetic stops it, before anything is called.
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
    }

    function test_attack_bridgePaymentThatFailsIsKept() public {
        // To the zero address, or more than the lock holds: the withdrawal is not consumed.
        Types.WithdrawalTransaction memory w = openOut(bob, LOCKED + 1);
        readyToFinalize(w);
        vm.expectRevert(OptimismPortal.OptimismPortal_BridgeCallFailed.selector);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertFalse(portal.finalizedWithdrawals(hashOf(w)), "kept");
        vm.prank(treasury);
        token.transfer(address(bridge), 1);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(token.balanceOf(bob), LOCKED + 1, "paid when it can be");
    }

    function test_attack_unprovenWithdrawal() public {
        Types.WithdrawalTransaction memory w = plain();
        readyToFinalize(w);
        bytes4 reason = OptimismPortal.OptimismPortal_Unproven.selector;
        vm.expectRevert(reason);
        vm.prank(mallory);
        portal.finalizeWithdrawalTransaction(w);
        w.data = "other";
        vm.expectRevert(reason);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
    }

    function test_attack_beforeTheDelaysAreOver() public {
        Types.WithdrawalTransaction memory w = plain();
        (BeefyOutputGame game, uint256 number) = settle();
        proveAs(alice, w, number);
        bytes32 id = hashOf(w);
        vm.warp(time() + MATURITY);
        vm.expectRevert(OptimismPortal.OptimismPortal_ProofNotOldEnough.selector);
        portal.checkWithdrawal(id, alice);
        vm.warp(time() + 1);
        vm.expectRevert(OptimismPortal.OptimismPortal_InvalidRootClaim.selector);
        portal.checkWithdrawal(id, alice);
        game.resolve();
        vm.warp(time() + FINALITY);
        vm.expectRevert(OptimismPortal.OptimismPortal_InvalidRootClaim.selector);
        portal.checkWithdrawal(id, alice);
        vm.warp(time() + 1);
        portal.checkWithdrawal(id, alice);
    }

    function test_attack_gameThatTheChallengerWon() public {
        Types.WithdrawalTransaction memory w = plain();
        (BeefyOutputGame game, uint256 number) = settle();
        proveAs(alice, w, number);
        vm.prank(mallory);
        game.challenge{value: CHALLENGE_BOND}();
        vm.warp(time() + ATTEST + 1);
        game.resolve();
        vm.warp(time() + MATURITY + FINALITY);
        vm.expectRevert(OptimismPortal.OptimismPortal_InvalidRootClaim.selector);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        refuseProof(w, 0, outputOf(number), withdrawalProof(0), OptimismPortal.OptimismPortal_InvalidRootClaim.selector);
    }

    function test_attack_blacklistedGame() public {
        Types.WithdrawalTransaction memory w = plain();
        BeefyOutputGame game = readyToFinalize(w);
        vm.prank(guardian);
        registry.blacklistDisputeGame(game);
        assertTrue(portal.disputeGameBlacklist(game), "seen through the portal");
        vm.expectRevert(OptimismPortal.OptimismPortal_InvalidRootClaim.selector);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        refuseProof(
            w,
            0,
            outputOf(leaves.length - 2),
            withdrawalProof(0),
            OptimismPortal.OptimismPortal_ImproperDisputeGame.selector
        );
    }

    function test_attack_finaliseDuringAPause() public {
        Types.WithdrawalTransaction memory w = plain();
        readyToFinalize(w);
        vm.prank(guardian);
        config.pause(address(0));
        vm.expectRevert(OptimismPortal.OptimismPortal_CallPaused.selector);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        refuseProof(
            w, 0, outputOf(leaves.length - 2), withdrawalProof(0), OptimismPortal.OptimismPortal_CallPaused.selector
        );
        vm.warp(time() + PAUSE + 1);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(receiver.calls(), 1, "it ends by itself");
    }

    function test_oldRootsKeepProvingOldAndNewRootsProveAll() public {
        Types.WithdrawalTransaction memory a = plain();
        (, uint256 first) = settle();
        for (uint256 i; i < 5; ++i) {
            plain();
        }
        Types.OutputRootProof memory o = outputOf(first);
        bytes32[] memory one = new bytes32[](1);
        one[0] = withdrawals[0];
        bytes[] memory proof = new bytes[](1);
        (, proof[0]) = Reference.withdrawalProof(one, 0);
        portal.proveWithdrawalTransaction(a, 0, o, proof);
        (, uint256 second) = settle();
        o = outputOf(second);
        portal.proveWithdrawalTransaction(a, 1, o, withdrawalProof(0));
    }
}
