// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BridgeTest} from "../helpers/BridgeTest.sol";
import {FeeToken, Forwarder, HugeToken} from "../helpers/Mocks.sol";
import {Vm} from "../helpers/Vm.sol";
import {L1StandardBridge} from "../../src/L1/L1StandardBridge.sol";
import {OptimismPortal} from "../../src/L1/OptimismPortal.sol";
import {IOptimismPortal} from "../../src/interfaces/IOptimismPortal.sol";
import {Constants} from "../../src/libraries/Types.sol";

/// @notice Attacks on the way in. One named test each.
contract DepositAttacksTest is BridgeTest {
    bytes32 private constant SLOT = keccak256("tributary.portal.deposits");

    function setUp() public override {
        super.setUp();
        vm.prank(treasury);
        token.transfer(bob, 100e18);
        vm.prank(bob);
        token.approve(address(bridge), type(uint256).max);
    }

    function word(uint256 i) private view returns (bytes32) {
        return vm.load(address(portal), bytes32(uint256(SLOT) + i));
    }

    function count() private view returns (uint256) {
        return uint64(uint256(word(0)));
    }

    /// @dev What L2 does: hashes the logs in their order and compares with the portal's word.
    function replay(Vm.Log[] memory logs) private view returns (bytes32 rolling, uint256 n) {
        bytes32 topic = keccak256("TransactionDeposited(address,address,uint256,bytes)");
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].emitter != address(portal) || logs[i].topics[0] != topic) continue;
            bytes memory opaque = abi.decode(logs[i].data, (bytes));
            bytes32 hash = keccak256(abi.encode(logs[i].topics[1], logs[i].topics[2], logs[i].topics[3], opaque));
            rolling = keccak256(bytes.concat(rolling, hash));
            ++n;
        }
    }

    function test_attack_omittedOrReorderedDeposit() public {
        vm.recordLogs();
        vm.prank(bob, bob);
        bridge.depositERC20(address(token), Constants.L2_OPEN, 1e18, 0, "");
        vm.prank(alice, alice);
        portal.depositTransaction(address(0x42), 0, 100_000, false, "one");
        vm.prank(alice, alice);
        portal.depositTransaction(address(0x42), 0, 100_000, false, "two");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        (bytes32 rolling, uint256 n) = replay(logs);
        assertEq(n, 3, "three");
        assertEq(count(), 3, "count in its slot");
        assertEq(word(1), rolling, "hash in its slot");
        assertEq(portal.depositCount(), 3, "count by its view");
        assertEq(portal.depositsHash(), rolling, "hash by its view");

        (logs[logs.length - 1], logs[logs.length - 2]) = (logs[logs.length - 2], logs[logs.length - 1]);
        (bytes32 reordered,) = replay(logs);
        assertTrue(reordered != rolling, "order");
        delete logs[logs.length - 1].emitter;
        (bytes32 omitted,) = replay(logs);
        assertTrue(omitted != rolling, "completeness");
    }

    function testFuzz_rollingHashFollowsTheLogs(uint256 seed, uint8 many) public {
        vm.recordLogs();
        for (uint256 i; i < many % 8; ++i) {
            bytes memory data = new bytes(uint256(keccak256(abi.encode(seed, i))) % 300);
            address to = address(uint160(uint256(keccak256(abi.encode(seed, i, "to")))));
            portal.depositTransaction(to, 0, uint64(40 * data.length + 21_000 + i), false, data);
            if (seed % 3 == 0) vm.roll(height() + 1);
        }
        (bytes32 rolling, uint256 n) = replay(vm.getRecordedLogs());
        assertEq(n, many % 8, "logs");
        assertEq(portal.depositCount(), n, "count");
        assertEq(portal.depositsHash(), rolling, "hash");
    }

    function test_opaqueDataIsPackedAsToolsReadIt() public {
        vm.recordLogs();
        vm.prank(alice, alice);
        portal.depositTransaction(address(0x42), 0, 123_456, false, hex"c0ffee");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(
            abi.decode(logs[0].data, (bytes)),
            bytes.concat(new bytes(64), bytes8(uint64(123_456)), hex"00", hex"c0ffee"),
            "mint, value, gas, creation, data"
        );
        assertEq(logs[0].topics[1], bytes32(uint256(uint160(alice))), "an account keeps its name");
    }

    function test_attack_contractPassingForAnAccount() public {
        Forwarder forwarder = new Forwarder();
        vm.recordLogs();
        forwarder.forward(
            address(portal), abi.encodeCall(portal.depositTransaction, (address(0x42), 0, 100_000, false, ""))
        );
        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint160 alias_;
        unchecked {
            alias_ = uint160(address(forwarder)) + uint160(0x1111000000000000000000000000000000001111);
        }
        assertEq(logs[0].topics[1], bytes32(uint256(alias_)), "aliased");
    }

    function test_attack_depositWithEtherOrCreation() public {
        vm.expectRevert(OptimismPortal.OptimismPortal_NoEther.selector);
        vm.prank(alice, alice);
        portal.depositTransaction{value: 1}(address(0x42), 0, 100_000, false, "");
        vm.expectRevert(OptimismPortal.OptimismPortal_NoEther.selector);
        portal.depositTransaction(address(0x42), 1, 100_000, false, "");
        vm.expectRevert(OptimismPortal.OptimismPortal_NoCreation.selector);
        portal.depositTransaction(address(0), 0, 100_000, true, "");
        (bool ok,) = address(portal).call{value: 1}("");
        assertFalse(ok, "no way to leave ether here");
    }

    function test_attack_oversizedOrUnderpaidDeposit() public {
        portal.depositTransaction(address(0x42), 0, 21_000 + 40 * 4096, false, new bytes(4096));
        vm.expectRevert(OptimismPortal.OptimismPortal_CalldataTooLarge.selector);
        portal.depositTransaction(address(0x42), 0, 1_000_000, false, new bytes(4097));
        vm.expectRevert(OptimismPortal.OptimismPortal_GasLimitTooLow.selector);
        portal.depositTransaction(address(0x42), 0, 21_000 + 40 * 4096 - 1, false, new bytes(4096));
    }

    function test_attack_moreDepositsInABlockThanL2CanTake() public {
        Forwarder many = new Forwarder();
        bytes memory data = abi.encodeCall(portal.depositTransaction, (address(0x42), 0, 21_000, false, ""));
        many.forwardMany(address(portal), data, 512);
        vm.expectRevert(OptimismPortal.OptimismPortal_TooManyDeposits.selector);
        portal.depositTransaction(address(0x42), 0, 21_000, false, "");
        vm.roll(height() + 1);
        portal.depositTransaction(address(0x42), 0, 21_000, false, "");
        assertEq(portal.depositCount(), 513, "the next block has room");
    }

    // --- OPEN ---

    function test_openGoesIntoTheLock() public {
        vm.recordLogs();
        vm.prank(bob, bob);
        bridge.depositERC20(address(token), Constants.L2_OPEN, 7e18, 1000, "");
        assertEq(token.balanceOf(address(bridge)), LOCKED + 7e18, "locked");
        assertEq(token.balanceOf(bob), 93e18, "taken");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        bytes memory opaque = abi.decode(logs[1].data, (bytes));
        bytes memory data =
            abi.encodeCall(bridge.finalizeBridgeERC20, (Constants.L2_OPEN, address(token), bob, bob, 7e18, ""));
        assertEq(opaque, bytes.concat(new bytes(64), bytes8(uint64(51_000)), hex"00", data), "what L2 reads");
    }

    function test_allFourWaysIn() public {
        bytes memory account = abi.encode(keccak256("account"));
        vm.startPrank(bob);
        bridge.bridgeERC20(address(token), Constants.L2_OPEN, 1, 0, "");
        bridge.bridgeERC20To(address(token), Constants.L2_OPEN, alice, 2, 0, "");
        bridge.depositERC20To(address(token), Constants.L2_OPEN, alice, 3, 0, account);
        bridge.depositERC20To(address(token), Constants.L2_OPEN, address(0), 4, 0, account);
        vm.stopPrank();
        assertEq(token.balanceOf(address(bridge)), LOCKED + 10, "all locked");
        assertEq(portal.depositCount(), 4, "all written");
    }

    function test_attack_otherTokens() public {
        vm.startPrank(bob);
        vm.expectRevert(L1StandardBridge.L1StandardBridge_WrongToken.selector);
        bridge.depositERC20(mallory, Constants.L2_OPEN, 1, 0, "");
        vm.expectRevert(L1StandardBridge.L1StandardBridge_WrongToken.selector);
        bridge.depositERC20(address(token), mallory, 1, 0, "");
        vm.stopPrank();
    }

    function test_attack_feeOnTransferToken() public {
        FeeToken fee = new FeeToken(bob);
        L1StandardBridge other =
            new L1StandardBridge(IOptimismPortal(address(portal)), address(fee), address(messenger));
        vm.startPrank(bob);
        fee.approve(address(other), type(uint256).max);
        vm.expectRevert(L1StandardBridge.L1StandardBridge_WrongBalance.selector);
        other.depositERC20(address(fee), Constants.L2_OPEN, 1e18, 0, "");
        vm.stopPrank();
    }

    function test_attack_amountsBeyond128Bits() public {
        HugeToken huge = new HugeToken(bob);
        L1StandardBridge other =
            new L1StandardBridge(IOptimismPortal(address(portal)), address(huge), address(messenger));
        vm.startPrank(bob);
        huge.approve(address(other), type(uint256).max);
        bytes4 reason = L1StandardBridge.L1StandardBridge_BadAmount.selector;
        vm.expectRevert(reason);
        other.depositERC20(address(huge), Constants.L2_OPEN, uint256(type(uint128).max) + 1, 0, "");
        vm.expectRevert(reason);
        other.depositERC20(address(huge), Constants.L2_OPEN, type(uint256).max, 0, "");
        vm.expectRevert(reason);
        other.depositERC20(address(huge), Constants.L2_OPEN, 0, 0, "");
        other.depositERC20(address(huge), Constants.L2_OPEN, type(uint128).max, 0, "");
        vm.stopPrank();
    }

    function test_attack_extraDataOfAnotherLength() public {
        vm.startPrank(bob);
        bytes4 reason = L1StandardBridge.L1StandardBridge_BadExtraData.selector;
        vm.expectRevert(reason);
        bridge.depositERC20(address(token), Constants.L2_OPEN, 1, 0, new bytes(31));
        vm.expectRevert(reason);
        bridge.depositERC20(address(token), Constants.L2_OPEN, 1, 0, new bytes(33));
        vm.expectRevert(reason);
        bridge.depositERC20(address(token), Constants.L2_OPEN, 1, 0, new bytes(1));
        vm.expectRevert(L1StandardBridge.L1StandardBridge_ZeroAddress.selector);
        bridge.depositERC20To(address(token), Constants.L2_OPEN, address(0), 1, 0, "");
        vm.stopPrank();
    }

    function test_attack_payOutWithoutThePortal() public {
        bytes4 reason = L1StandardBridge.L1StandardBridge_NotOtherBridge.selector;
        vm.expectRevert(reason);
        vm.prank(mallory);
        bridge.finalizeBridgeERC20(address(token), Constants.L2_OPEN, mallory, mallory, 1, "");
        // The portal's voice alone is not enough: it must speak for L2's bridge.
        vm.expectRevert(reason);
        vm.prank(address(portal));
        bridge.finalizeBridgeERC20(address(token), Constants.L2_OPEN, mallory, mallory, 1, "");
    }
}
