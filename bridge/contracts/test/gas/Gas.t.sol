// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BridgeTest} from "../helpers/BridgeTest.sol";
import {Reference} from "../helpers/Reference.sol";
import {Commitment} from "../../src/anchor/BeefyCodec.sol";
import {BeefyOutputGame} from "../../src/dispute/BeefyOutputGame.sol";
import {Constants, Types} from "../../src/libraries/Types.sol";

/// @notice What each transaction costs as a whole (intrinsic, call data, execution: tests run isolated), written into
/// `snapshots/` and held under the design's limits.
contract GasTest is BridgeTest {
    function test_gas_anchor_4() public {
        measure(4, 1_000_003, "anchor 4 validators, handover, leaf in 1,000,003 (8 items)", 76_000);
    }

    function test_gas_anchor_4_deepRange() public {
        measure(4, 1_048_575, "anchor 4 validators, handover, leaf in 1,048,575 (19 items, the worst)", 83_000);
    }

    function test_gas_anchor_21() public {
        measure(21, 1_000_003, "anchor 21 validators, handover, leaf in 1,000,003 (8 items)", 140_000);
    }

    function test_gas_anchor_100() public {
        measure(100, 1_000_003, "anchor 100 validators, handover, leaf in 1,000,003 (8 items)", 440_000);
    }

    function test_gas_anchor_300() public {
        measure(300, 1_000_003, "anchor 300 validators, handover, leaf in 1,000,003 (8 items)", 1_250_000);
    }

    function test_gas_withdrawal() public {
        uint256 fill = 37;
        for (uint256 i; i < fill; ++i) {
            message(address(uint160(i + 1)), address(0xCafe), 100_000, abi.encode(i));
        }
        vm.prank(treasury);
        token.transfer(bob, 5e18);
        Types.WithdrawalTransaction memory w = openOut(bob, 1_234_567_890_123_456_789);
        (BeefyOutputGame game, uint256 number) = settle();
        proveAs(alice, w, number);
        assertLe(vm.snapshotGasLastCall("bridge", "prove a withdrawal of OPEN"), 156_000, "prove");
        vm.warp(time() + CHALLENGE);
        game.resolve();
        vm.snapshotGasLastCall("bridge", "resolve a game");
        vm.warp(time() + MATURITY + FINALITY);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertLe(vm.snapshotGasLastCall("bridge", "finalise a withdrawal of OPEN"), 73_000, "finalise");
        assertEq(token.balanceOf(bob), 5e18 + 1_234_567_890_123_456_789, "paid");
    }

    function test_gas_deposit() public {
        vm.prank(treasury);
        token.transfer(bob, 5e18);
        vm.prank(bob);
        token.approve(address(bridge), type(uint256).max);
        // The first deposit writes fresh words of storage; the second costs what all others cost.
        vm.prank(bob, bob);
        bridge.depositERC20(address(token), Constants.L2_OPEN, 1e18, 100_000, "");
        vm.roll(height() + 1);
        vm.prank(bob, bob);
        bridge.depositERC20(address(token), Constants.L2_OPEN, 1_234_567_890_123_456_789, 100_000, "");
        assertLe(vm.snapshotGasLastCall("bridge", "deposit OPEN"), 69_000, "deposit");
    }

    function test_gas_game() public {
        extend(0);
        anchorNow(0);
        BeefyOutputGame game = propose(0);
        vm.snapshotGasLastCall("bridge", "propose an output");
        proveGame(game, 0, 2);
        vm.snapshotGasLastCall("bridge", "prove a game");
        vm.prank(mallory);
        game.challenge{value: CHALLENGE_BOND}();
        vm.snapshotGasLastCall("bridge", "challenge a game");
        anchorNow(0);
        game.attest(leaves[0], leafProof(0, 3), 3);
        vm.snapshotGasLastCall("bridge", "attest a game");
    }

    function test_gas_deploy() public {
        deploy(0);
    }

    /// @dev A handover to a set of `n`, in a range of `count` leaves. The items of the proof are arbitrary words: a root
    /// over them is as good as any.
    function measure(uint32 n, uint32 count, string memory name, uint256 limit) private {
        setLength[1] = n;
        setLength[2] = n;
        deploy(0);
        Submission memory s;
        s.leaf = makeLeaf(
            count - 1, blockHashOf(count - 1), nextOf(1), anchor.domain(), Reference.withdrawalRoot(withdrawals)
        );
        (s.c.mmrRoot, s.proof) = arbitraryRange(keccak256(s.leaf), count - 1, count);
        s.c.blockNumber = count;
        s.c.validatorSetId = 1;
        resign(s);
        s.validators = packed(1);
        submit(s);
        assertLe(vm.snapshotGasLastCall("anchor", name), limit, name);
    }

    function arbitraryRange(bytes32 leafHash, uint256 index, uint256 count)
        private
        pure
        returns (bytes32 root, bytes32[] memory items)
    {
        uint256 size = Reference.highestPower(count);
        uint256 left;
        uint256 rest = count;
        uint256 from;
        while (index >= from + size) {
            ++left;
            from += size;
            rest -= size;
            size = Reference.highestPower(rest);
        }
        uint256 height;
        while (1 << height < size) ++height;
        items = new bytes32[](left + height);
        for (uint256 i; i < items.length; ++i) {
            items[i] = keccak256(abi.encode("item", i));
        }
        root = leafHash;
        for (uint256 h; h < height; ++h) {
            bytes32 sibling = items[left + h];
            root = (index - from) >> h & 1 == 1 ? Reference.node(sibling, root) : Reference.node(root, sibling);
        }
        while (left > 0) root = Reference.node(root, items[--left]);
    }
}
