// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BridgeTest} from "../helpers/BridgeTest.sol";
import {Test} from "../helpers/Test.sol";
import {BeefyOutputGame} from "../../src/dispute/BeefyOutputGame.sol";
import {Constants, GameStatus, Types} from "../../src/libraries/Types.sol";

/// @notice Uses the bridge at random: deposits, withdrawals, anchors, games, challenges, proofs, deliveries, pauses, time.
/// It keeps L2's books, and counts what was delivered.
contract BridgeHandler is BridgeTest {
    /// @dev OPEN that L2 has (issued and still to be emitted), by its own books: in at the deposit, out at the burn.
    uint256 public onL2;
    /// @dev OPEN burnt on L2 and not yet paid here.
    uint256 public inFlight;
    uint256 public delivered;
    bool public backwards;
    bool public twice;

    Types.WithdrawalTransaction[] private sent;
    uint256[] private amounts;
    BeefyOutputGame[] private games;
    uint256[] private blocks;
    mapping(uint256 => uint256) public deliveries;
    mapping(address => GameStatus) private lastStatus;
    mapping(address => uint256) private bondsIn;
    mapping(address => uint256) private bondsOut;

    constructor() {
        setUp();
        onL2 = LOCKED;
        extend(0);
        extend(0);
        anchorNow(0);
    }

    function accounts() external view returns (OpenTokenLike, address, address) {
        return (OpenTokenLike(address(token)), address(bridge), address(portal));
    }

    function deposit(uint256 amount) external {
        amount = bound(amount, 1, 1000e18);
        vm.prank(treasury);
        token.approve(address(bridge), amount);
        vm.prank(treasury);
        bridge.depositERC20(address(token), Constants.L2_OPEN, amount, 0, "");
        onL2 += amount;
        vm.roll(height() + 1);
    }

    function withdraw(uint256 amount, bool toSelf) external {
        amount = bound(amount, 1, 1000e18);
        if (amount > onL2) return;
        onL2 -= amount;
        inFlight += amount;
        sent.push(openOut(toSelf ? address(bridge) : bob, amount));
        amounts.push(amount);
        if (toSelf) {
            // Paid to the lock itself: burnt on L2, still locked here. The books stay on the safe side.
            inFlight -= amount;
            amounts[amounts.length - 1] = 0;
        }
    }

    function anchorAndPropose() external {
        if (leaves.length > 24) return;
        extend(0);
        anchorNow(0);
        uint256 number = leaves.length - 2;
        this.doPropose(number);
    }

    function doPropose(uint256 number) external {
        BeefyOutputGame game = propose(number);
        games.push(game);
        blocks.push(number);
        bondsIn[address(game)] = PROPOSAL_BOND;
    }

    function proveGameAt(uint256 which) external {
        if (games.length == 0) return;
        which %= games.length;
        uint256 number = blocks[which];
        bytes32[] memory proof = leafProof(number, leaves.length);
        try games[which].prove(leaves[number], proof, uint32(leaves.length)) {} catch {}
        watch(games[which]);
    }

    function challengeGame(uint256 which) external {
        if (games.length == 0) return;
        BeefyOutputGame game = games[which % games.length];
        vm.deal(mallory, 1 ether);
        vm.prank(mallory);
        try game.challenge{value: CHALLENGE_BOND}() {
            bondsIn[address(game)] += CHALLENGE_BOND;
        } catch {}
        watch(game);
    }

    function attestGame(uint256 which) external {
        if (games.length == 0) return;
        which %= games.length;
        uint256 number = blocks[which];
        bytes32[] memory proof = leafProof(number, leaves.length);
        try games[which].attest(leaves[number], proof, uint32(leaves.length)) {} catch {}
        watch(games[which]);
    }

    function resolveGame(uint256 which) external {
        if (games.length == 0) return;
        BeefyOutputGame game = games[which % games.length];
        try game.resolve() {} catch {}
        watch(game);
    }

    function claim(uint256 which, bool proposer) external {
        if (games.length == 0) return;
        BeefyOutputGame game = games[which % games.length];
        uint256 before = address(game).balance;
        try game.claimCredit(proposer ? alice : mallory) {} catch {}
        bondsOut[address(game)] += before - address(game).balance;
    }

    function prove(uint256 which, uint256 gameIndex, bool byMallory) external {
        if (sent.length == 0 || games.length == 0) return;
        which %= sent.length;
        gameIndex %= games.length;
        Types.OutputRootProof memory output = outputOf(blocks[gameIndex]);
        bytes[] memory proof = withdrawalProof(which);
        vm.warp(time() + 1);
        vm.prank(byMallory ? mallory : alice);
        try portal.proveWithdrawalTransaction(sent[which], gameIndex, output, proof) {} catch {}
    }

    function finalize(uint256 which, bool byMallory) external {
        if (sent.length == 0) return;
        which %= sent.length;
        address submitter = byMallory ? mallory : alice;
        try portal.finalizeWithdrawalTransactionExternalProof(sent[which], submitter) {
            if (++deliveries[which] > 1) twice = true;
            ++delivered;
            inFlight -= amounts[which];
        } catch {}
    }

    /// @dev All of a withdrawal's way, so that runs are not only made of refusals.
    function wholeWay() external {
        if (sent.length == 0 || leaves.length > 24 || portal.paused()) return;
        uint256 which = sent.length - 1;
        if (deliveries[which] != 0) return;
        extend(0);
        anchorNow(0);
        uint256 number = leaves.length - 2;
        this.doPropose(number);
        BeefyOutputGame game = games[games.length - 1];
        proveGame(game, number, leaves.length);
        vm.warp(time() + 1);
        this.prove(which, games.length - 1, false);
        vm.warp(time() + CHALLENGE + 1);
        game.resolve();
        watch(game);
        vm.warp(time() + MATURITY + FINALITY + 1);
        this.finalize(which, false);
    }

    function pause() external {
        vm.prank(guardian);
        try config.pause(address(0)) {} catch {}
    }

    function pass(uint256 seconds_) external {
        vm.warp(time() + bound(seconds_, 1, 2 hours));
    }

    function watch(BeefyOutputGame game) private {
        GameStatus now_ = game.status();
        GameStatus before = lastStatus[address(game)];
        if (before != GameStatus.IN_PROGRESS && now_ != before) backwards = true;
        if (now_ == GameStatus.DEFENDER_WINS && !game.proven()) backwards = true;
        lastStatus[address(game)] = now_;
    }

    function bondsAreWhole() external view returns (bool) {
        for (uint256 i; i < games.length; ++i) {
            address g = address(games[i]);
            if (g.balance + bondsOut[g] != bondsIn[g]) return false;
            if (games[i].credit(alice) + games[i].credit(mallory) + games[i].credit(address(this)) > g.balance) {
                return false;
            }
        }
        return true;
    }
}

interface OpenTokenLike {
    function balanceOf(address) external view returns (uint256);
    function totalSupply() external view returns (uint256);
}

/// @notice What holds at every moment.
contract BridgeInvariants is Test {
    BridgeHandler private handler;

    function setUp() public {
        handler = new BridgeHandler();
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(handler);
    }

    /// @dev Which of its functions are moves of the play.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetSelectors() public view returns (FuzzSelector[] memory list) {
        list = new FuzzSelector[](1);
        list[0].addr = address(handler);
        list[0].selectors = new bytes4[](13);
        bytes4[13] memory moves = [
            BridgeHandler.deposit.selector,
            BridgeHandler.withdraw.selector,
            BridgeHandler.anchorAndPropose.selector,
            BridgeHandler.proveGameAt.selector,
            BridgeHandler.challengeGame.selector,
            BridgeHandler.attestGame.selector,
            BridgeHandler.resolveGame.selector,
            BridgeHandler.claim.selector,
            BridgeHandler.prove.selector,
            BridgeHandler.finalize.selector,
            BridgeHandler.wholeWay.selector,
            BridgeHandler.pause.selector,
            BridgeHandler.pass.selector
        ];
        for (uint256 i; i < moves.length; ++i) {
            list[0].selectors[i] = moves[i];
        }
    }

    /// @dev The lock covers what L2 has and what is on its way out; lock and circulating make the cap.
    function invariant_lockAndCirculatingMakeTheCap() public view {
        (OpenTokenLike token, address lock, address portal) = handler.accounts();
        uint256 locked = token.balanceOf(lock);
        assertEq(token.totalSupply(), Constants.CAP, "cap");
        assertTrue(locked >= handler.onL2() + handler.inFlight(), "the lock covers L2");
        assertTrue(handler.onL2() + (Constants.CAP - locked) <= Constants.CAP, "L2 and circulating within the cap");
        assertEq(token.balanceOf(portal), 0, "the portal holds no tokens");
        assertEq(portal.balance, 0, "nor ether");
    }

    function invariant_deliveredAtMostOnce() public view {
        assertFalse(handler.twice(), "twice");
    }

    function invariant_gamesMoveForward() public view {
        assertFalse(handler.backwards(), "backwards, or upheld without a proof");
    }

    function invariant_bondsAreCreditedOnce() public view {
        assertTrue(handler.bondsAreWhole(), "bonds");
    }
}
