// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BridgeTest} from "../helpers/BridgeTest.sol";
import {NoEther} from "../helpers/Mocks.sol";
import {BeefyAnchor} from "../../src/anchor/BeefyAnchor.sol";
import {Commitment} from "../../src/anchor/BeefyCodec.sol";
import {AnchorStateRegistry} from "../../src/dispute/AnchorStateRegistry.sol";
import {BeefyOutputGame} from "../../src/dispute/BeefyOutputGame.sol";
import {DisputeGameFactory} from "../../src/dispute/DisputeGameFactory.sol";
import {IDisputeGame} from "../../src/interfaces/IDisputeGame.sol";
import {Claim, GameStatus, GameType, Hash, Timestamp} from "../../src/libraries/Types.sol";

/// @notice The game, its factory and the registry, step by step.
contract GameTest is BridgeTest {
    BeefyOutputGame private game;

    function setUp() public override {
        super.setUp();
        extend(0);
        extend(0);
        anchorNow(0);
        game = propose(1);
    }

    function prove() private {
        proveGame(game, 1, leaves.length);
    }

    function attest() private {
        game.attest(leaves[1], leafProof(1, leaves.length), uint32(leaves.length));
    }

    function challenge() private {
        vm.prank(mallory);
        game.challenge{value: CHALLENGE_BOND}();
    }

    function wins(GameStatus expected) private {
        assertTrue(game.resolve() == expected && game.status() == expected, "status");
        assertEq(Timestamp.unwrap(game.resolvedAt()), time(), "resolvedAt");
        assertTrue(registry.isGameResolved(game), "reported");
        vm.expectRevert(BeefyOutputGame.GameNotInProgress.selector);
        game.resolve();
    }

    function afterChallenge() private {
        vm.warp(time() + CHALLENGE + 1);
    }

    function test_whatAGameSaysOfItself() public view {
        assertEq(Claim.unwrap(game.rootClaim()), Claim.unwrap(claimOf(outputOf(1))), "claim");
        assertEq(game.gameCreator(), alice, "creator");
        assertEq(game.l2SequenceNumber(), 1, "block");
        assertEq(game.l2BlockNumber(), 1, "block, older name");
        assertEq(game.extraData(), abi.encode(1), "extra data");
        assertEq(Hash.unwrap(game.l1Head()), blockhash(height() - 1), "l1 head");
        assertEq(Timestamp.unwrap(game.createdAt()), time(), "created");
        assertTrue(game.status() == GameStatus.IN_PROGRESS, "open");
        assertEq(GameType.unwrap(game.gameType()), 0x5442, "type");
        assertEq(game.bond(), PROPOSAL_BOND, "bond");
        assertEq(address(game).balance, PROPOSAL_BOND, "ether");
        (GameType t, Claim c, bytes memory e) = game.gameData();
        (IDisputeGame known,) = factory.games(t, c, e);
        assertEq(address(known), address(game), "the factory knows it");
        assertTrue(registry.isGameProper(game) && registry.isGameRespected(game), "proper");
        assertFalse(registry.isGameRetired(game) || registry.isGameResolved(game), "neither");
        assertFalse(registry.isGameFinalized(game) || registry.isGameClaimValid(game), "not yet");
    }

    function test_provenAndUnchallenged() public {
        prove();
        vm.warp(time() + CHALLENGE);
        vm.expectRevert(BeefyOutputGame.ClockNotExpired.selector);
        game.resolve();
        vm.warp(time() + 1);
        wins(GameStatus.DEFENDER_WINS);
        assertEq(game.credit(alice), PROPOSAL_BOND, "credit");
        uint256 before = alice.balance;
        game.claimCredit(alice);
        assertEq(alice.balance - before, PROPOSAL_BOND, "bond back");
        vm.expectRevert(BeefyOutputGame.NoCreditToClaim.selector);
        game.claimCredit(alice);
        vm.warp(time() + FINALITY);
        assertFalse(registry.isGameFinalized(game), "the last second");
        vm.warp(time() + 1);
        assertTrue(registry.isGameFinalized(game) && registry.isGameClaimValid(game), "final");
    }

    function test_unprovenAndUnchallenged() public {
        afterChallenge();
        vm.prank(bob);
        wins(GameStatus.CHALLENGER_WINS);
        assertEq(game.credit(bob), PROPOSAL_BOND, "whoever clears it away");
        vm.warp(time() + FINALITY + 1);
        assertFalse(registry.isGameClaimValid(game), "not valid");
        assertTrue(registry.isGameLost(game), "lost");
    }

    function test_challengedAndAttested() public {
        prove();
        challenge();
        anchorNow(0);
        attest();
        afterChallenge();
        wins(GameStatus.DEFENDER_WINS);
        assertEq(game.credit(alice), PROPOSAL_BOND + CHALLENGE_BOND, "both bonds");
    }

    function test_challengedAndNotAttested() public {
        prove();
        challenge();
        vm.warp(time() + ATTEST);
        vm.expectRevert(BeefyOutputGame.ClockNotExpired.selector);
        game.resolve();
        vm.warp(time() + 1);
        wins(GameStatus.CHALLENGER_WINS);
        assertEq(game.credit(mallory), PROPOSAL_BOND + CHALLENGE_BOND, "both bonds");
    }

    function test_attestedWithoutHavingBeenProven() public {
        challenge();
        anchorNow(0);
        attest();
        assertTrue(game.proven() && game.attested(), "both");
        afterChallenge();
        wins(GameStatus.DEFENDER_WINS);
    }

    function test_attestWithTheAnchorThatWasThere() public {
        challenge();
        bytes memory leaf = leaves[1];
        bytes32[] memory proof = leafProof(1, 3);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_AnchorTooOld.selector);
        game.attest(leaf, proof, 3);
    }

    function test_attestTooLateTwiceOrForNothing() public {
        bytes memory leaf = leaves[1];
        anchorNow(0);
        bytes32[] memory proof = leafProof(1, 4);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_NotChallenged.selector);
        game.attest(leaf, proof, 4);
        challenge();
        anchorNow(0);
        proof = leafProof(1, 5);
        uint256 state = vm.snapshotState();
        vm.warp(time() + ATTEST + 1);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_TooLate.selector);
        game.attest(leaf, proof, 5);
        game.resolve();
        vm.expectRevert(BeefyOutputGame.GameNotInProgress.selector);
        game.attest(leaf, proof, 5);
        vm.revertToState(state);
        vm.warp(time() + ATTEST);
        game.attest(leaf, proof, 5);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_AlreadyProven.selector);
        game.attest(leaf, proof, 5);
    }

    function test_proveTooLateTwiceOrWrong() public {
        bytes memory leaf = leaves[1];
        bytes32[] memory proof = leafProof(1, 3);
        uint256 state = vm.snapshotState();
        vm.warp(time() + CHALLENGE + 1);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_TooLate.selector);
        game.prove(leaf, proof, 3);
        game.resolve();
        vm.expectRevert(BeefyOutputGame.GameNotInProgress.selector);
        game.prove(leaf, proof, 3);
        vm.expectRevert(BeefyOutputGame.GameNotInProgress.selector);
        game.challenge{value: CHALLENGE_BOND}();
        vm.revertToState(state);
        game.prove(leaf, proof, 3);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_AlreadyProven.selector);
        game.prove(leaf, proof, 3);
        // A claim that the leaf contradicts can never be proven.
        BeefyOutputGame lie = proposeClaim(Claim.wrap(keccak256("a lie")), 1);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_ClaimMismatch.selector);
        lie.prove(leaf, proof, 3);
    }

    function test_challengeOnceInTimeAndInFull() public {
        vm.expectRevert(BeefyOutputGame.IncorrectBondAmount.selector);
        game.challenge{value: CHALLENGE_BOND - 1}();
        vm.expectRevert(BeefyOutputGame.IncorrectBondAmount.selector);
        game.challenge{value: CHALLENGE_BOND + 1}();
        uint256 state = vm.snapshotState();
        vm.warp(time() + CHALLENGE + 1);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_TooLate.selector);
        game.challenge{value: CHALLENGE_BOND}();
        vm.revertToState(state);
        vm.warp(time() + CHALLENGE);
        challenge();
        assertEq(game.challenger(), mallory, "challenger");
        assertEq(uint256(game.challengedAtBlock()), 3, "newest anchor");
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_AlreadyChallenged.selector);
        game.challenge{value: CHALLENGE_BOND}();
    }

    function test_frozenAnchorGivesBondsBack() public {
        prove();
        challenge();
        BeefyAnchor.Attestation[2] memory sides;
        for (uint256 i; i < 2; ++i) {
            sides[i].commitment = Commitment(keccak256(abi.encode(i)), 99, 0);
            (sides[i].bitmap, sides[i].signatures) = signedBy(0, 3, hashOf(sides[i].commitment));
            sides[i].validators = packed(0);
        }
        anchor.reportConflict(sides[0], sides[1]);
        wins(GameStatus.CHALLENGER_WINS);
        assertEq(game.credit(alice), PROPOSAL_BOND, "proposer");
        assertEq(game.credit(mallory), CHALLENGE_BOND, "challenger");
        assertTrue(registry.isGameLost(game), "nothing stands");
    }

    function test_bondOfAReceiverThatRefuses() public {
        NoEther proposer = new NoEther();
        vm.deal(address(this), 1 ether);
        proposer.call{value: PROPOSAL_BOND}(
            address(factory), abi.encodeCall(factory.create, (GAME, Claim.wrap(keccak256("x")), abi.encode(2)))
        );
        (,, IDisputeGame made) = factory.gameAtIndex(1);
        BeefyOutputGame other = BeefyOutputGame(address(made));
        assertEq(other.gameCreator(), address(proposer), "creator");
        afterChallenge();
        vm.prank(address(proposer));
        other.resolve();
        vm.expectRevert(BeefyOutputGame.BondTransferFailed.selector);
        other.claimCredit(address(proposer));
        assertEq(other.credit(address(proposer)), PROPOSAL_BOND, "it stays");
    }

    function test_factoryRefuses() public {
        vm.expectPartialRevert(DisputeGameFactory.NoImplementation.selector);
        factory.create{value: PROPOSAL_BOND}(GameType.wrap(0), Claim.wrap(0), abi.encode(1));
        vm.deal(address(this), 1 ether);
        vm.expectRevert(DisputeGameFactory.IncorrectBondAmount.selector);
        factory.create{value: PROPOSAL_BOND - 1}(GAME, Claim.wrap(0), abi.encode(1));
        vm.expectRevert(DisputeGameFactory.IncorrectBondAmount.selector);
        factory.create{value: PROPOSAL_BOND + 1}(GAME, Claim.wrap(0), abi.encode(1));
        Claim claim = claimOf(outputOf(1));
        vm.expectPartialRevert(DisputeGameFactory.GameAlreadyExists.selector);
        factory.create{value: PROPOSAL_BOND}(GAME, claim, abi.encode(1));
        vm.expectRevert(BeefyOutputGame.BadExtraData.selector);
        factory.create{value: PROPOSAL_BOND}(GAME, claim, abi.encode(uint256(1) << 32));
        vm.expectRevert(BeefyOutputGame.BadExtraData.selector);
        factory.create{value: PROPOSAL_BOND}(GAME, claim, bytes.concat(abi.encode(1), hex"00"));
        vm.expectRevert(BeefyOutputGame.BadExtraData.selector);
        factory.create{value: PROPOSAL_BOND}(GAME, claim, "");
    }

    function test_factoryLists() public {
        propose(0);
        proposeClaim(Claim.wrap(keccak256("x")), 2);
        assertEq(factory.gameCount(), 3, "count");
        assertEq(factory.initBonds(GAME), PROPOSAL_BOND, "bond");
        assertEq(factory.initBonds(GameType.wrap(1)), 0, "no bond");
        assertEq(address(factory.gameImpls(GameType.wrap(1))), address(0), "no implementation");
        DisputeGameFactory.GameSearchResult[] memory found = factory.findLatestGames(GAME, 2, 100);
        assertEq(found.length, 3, "all");
        assertEq(found[0].index, 2, "newest first");
        assertEq(Claim.unwrap(found[2].rootClaim), Claim.unwrap(game.rootClaim()), "claim");
        assertEq(found[1].extraData, abi.encode(0), "extra data");
        (GameType t, Timestamp at_, IDisputeGame proxy) = factory.gameAtIndex(0);
        assertEq(GameType.unwrap(t), 0x5442, "type");
        assertEq(Timestamp.unwrap(at_), time(), "time");
        assertEq(address(proxy), address(game), "address");
        assertEq(factory.findLatestGames(GAME, 2, 2).length, 2, "limit");
        assertEq(factory.findLatestGames(GAME, 1, 2)[0].index, 1, "start");
        assertEq(factory.findLatestGames(GAME, 3, 2).length, 0, "beyond");
        assertEq(factory.findLatestGames(GAME, 2, 0).length, 0, "none asked");
        assertEq(factory.findLatestGames(GameType.wrap(1), 2, 5).length, 0, "other type");
    }

    function test_anchorState() public {
        (Hash root, uint256 number) = registry.getAnchorRoot();
        assertEq(Hash.unwrap(root), 0, "none");
        vm.expectRevert(AnchorStateRegistry.AnchorStateRegistry_InvalidAnchorGame.selector);
        registry.setAnchorState(game);
        prove();
        afterChallenge();
        game.resolve();
        vm.warp(time() + FINALITY + 1);
        registry.setAnchorState(game);
        (root, number) = registry.getAnchorRoot();
        assertEq(Hash.unwrap(root), Claim.unwrap(game.rootClaim()), "root");
        assertEq(number, 1, "block");
        (root, number) = registry.anchors(GAME);
        assertEq(number, 1, "older name");
        vm.expectRevert(AnchorStateRegistry.AnchorStateRegistry_InvalidAnchorGame.selector);
        registry.setAnchorState(game);
    }

    function test_aGameReportsOnce() public {
        prove();
        afterChallenge();
        game.resolve();
        vm.expectRevert(AnchorStateRegistry.AnchorStateRegistry_NotAGame.selector);
        vm.prank(address(game));
        registry.recordResolution();
    }

    function test_blacklistedGameStandsForNothing() public {
        prove();
        vm.prank(guardian);
        registry.blacklistDisputeGame(game);
        afterChallenge();
        game.resolve();
        vm.warp(time() + FINALITY + 1);
        assertTrue(registry.isGameBlacklisted(game) && registry.disputeGameBlacklist(game), "blacklisted");
        assertFalse(registry.isGameProper(game) || registry.isGameClaimValid(game), "worthless");
        assertEq(game.credit(alice), PROPOSAL_BOND, "the bond is the proposer's all the same");
    }
}
