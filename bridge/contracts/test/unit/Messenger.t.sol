// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BridgeTest} from "../helpers/BridgeTest.sol";
import {Receiver} from "../helpers/Mocks.sol";
import {Vm} from "../helpers/Vm.sol";
import {L1CrossDomainMessenger} from "../../src/L1/L1CrossDomainMessenger.sol";
import {L1StandardBridge} from "../../src/L1/L1StandardBridge.sol";
import {OptimismPortal} from "../../src/L1/OptimismPortal.sol";
import {Constants, Types} from "../../src/libraries/Types.sol";

/// @notice Asks the messenger who speaks.
contract Listener {
    L1CrossDomainMessenger public messenger;
    address public heard;
    bool public refuse;
    bytes4 public reason;
    bytes public again;

    constructor(L1CrossDomainMessenger _messenger) {
        messenger = _messenger;
    }

    function setRefuse(bool yes) external {
        refuse = yes;
    }

    function arm(bytes calldata call) external {
        again = call;
    }

    function listen() external {
        require(!refuse, "not now");
        heard = messenger.xDomainMessageSender();
        if (again.length > 0) {
            (, bytes memory why) = address(messenger).call(again);
            reason = bytes4(why);
        }
    }
}

/// @notice Messages in both directions.
contract MessengerTest is BridgeTest {
    Listener private listener;

    function setUp() public override {
        super.setUp();
        listener = new Listener(messenger);
    }

    function relay(address target) private view returns (bytes memory) {
        return abi.encodeCall(
            messenger.relayMessage, (1 << 240, bob, target, 0, 150_000, abi.encodeCall(Listener.listen, ()))
        );
    }

    /// @dev A message of L2's messenger, delivered by the portal.
    function deliver(bytes memory data) private {
        Types.WithdrawalTransaction memory w = message(Constants.L2_MESSENGER, address(messenger), 400_000, data);
        readyToFinalize(w);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
    }

    function relayAs(address who, address target, uint256 value) private {
        vm.prank(who);
        messenger.relayMessage(1 << 240, bob, target, value, 150_000, abi.encodeCall(Listener.listen, ()));
    }

    function test_sendMessage() public {
        vm.recordLogs();
        vm.prank(bob);
        messenger.sendMessage(address(0x42), "hi", 5000);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        bytes memory data = abi.encodeCall(messenger.relayMessage, (1 << 240, bob, address(0x42), 0, 5000, "hi"));
        bytes memory opaque = abi.decode(logs[0].data, (bytes));
        assertEq(
            opaque, bytes.concat(new bytes(64), bytes8(uint64(65_000 + 40 * data.length)), hex"00", data), "opaque"
        );
        assertEq(logs[0].topics[2], bytes32(uint256(uint160(Constants.L2_MESSENGER))), "to");
        assertEq(messenger.messageNonce(), 1 << 240 | 1, "counted");
        assertEq(messenger.otherMessenger(), Constants.L2_MESSENGER, "other side");
        assertEq(bridge.otherBridge(), Constants.L2_BRIDGE, "other side");
        vm.expectRevert(L1CrossDomainMessenger.L1CrossDomainMessenger_NoEther.selector);
        vm.prank(bob);
        messenger.sendMessage{value: 1}(address(0x42), "hi", 5000);
    }

    function test_relay() public {
        bytes memory data = relay(address(listener));
        deliver(data);
        assertEq(listener.heard(), bob, "sender");
        assertTrue(messenger.successfulMessages(keccak256(data)), "noted");
        vm.expectRevert(L1CrossDomainMessenger.L1CrossDomainMessenger_NoSender.selector);
        messenger.xDomainMessageSender();
        vm.expectRevert(L1CrossDomainMessenger.L1CrossDomainMessenger_AlreadyRelayed.selector);
        relayAs(mallory, address(listener), 0);
    }

    function test_failedMessageCanBeRelayedByAnyone() public {
        listener.setRefuse(true);
        bytes memory data = relay(address(listener));
        deliver(data);
        assertTrue(messenger.failedMessages(keccak256(data)), "failed");
        assertFalse(messenger.successfulMessages(keccak256(data)), "not delivered");
        listener.setRefuse(false);
        relayAs(mallory, address(listener), 0);
        assertEq(listener.heard(), bob, "sender");
        vm.expectRevert(L1CrossDomainMessenger.L1CrossDomainMessenger_AlreadyRelayed.selector);
        relayAs(mallory, address(listener), 0);
    }

    function test_attack_relayOfWhatL2NeverSent() public {
        bytes4 reason = L1CrossDomainMessenger.L1CrossDomainMessenger_NotRelayable.selector;
        vm.expectRevert(reason);
        relayAs(mallory, address(listener), 0);
        vm.expectRevert(reason);
        relayAs(address(portal), address(listener), 0);
        // A message of somebody else on L2 to the messenger.
        Types.WithdrawalTransaction memory w = message(mallory, address(messenger), 400_000, relay(address(listener)));
        readyToFinalize(w);
        vm.prank(alice);
        portal.finalizeWithdrawalTransaction(w);
        assertEq(listener.heard(), address(0), "nothing was heard");
    }

    function test_attack_messengerOrPortalAsTarget() public {
        bytes4 reason = L1CrossDomainMessenger.L1CrossDomainMessenger_BadTarget.selector;
        vm.expectRevert(reason);
        relayAs(mallory, address(messenger), 0);
        vm.expectRevert(reason);
        relayAs(mallory, address(portal), 0);
        vm.expectRevert(L1CrossDomainMessenger.L1CrossDomainMessenger_NoEther.selector);
        relayAs(mallory, address(listener), 1);
    }

    function test_attack_relayInsideARelay() public {
        bytes memory data = relay(address(listener));
        listener.arm(data);
        deliver(data);
        assertEq(
            bytes32(listener.reason()),
            bytes32(L1CrossDomainMessenger.L1CrossDomainMessenger_Reentrant.selector),
            "locked"
        );
    }

    function test_bridgeChecksWhatItPays() public {
        // The runtime never writes these; the bridge would turn them away, and the portal keeps them.
        bytes[3] memory bad = [
            abi.encodeCall(bridge.finalizeBridgeERC20, (bob, Constants.L2_OPEN, bob, bob, 1, "")),
            abi.encodeCall(bridge.finalizeBridgeERC20, (address(token), bob, bob, bob, 1, "")),
            abi.encodeCall(bridge.finalizeBridgeERC20, (address(token), Constants.L2_OPEN, bob, address(0), 1, ""))
        ];
        for (uint256 i; i < bad.length; ++i) {
            Types.WithdrawalTransaction memory w = message(Constants.L2_BRIDGE, address(bridge), 200_000, bad[i]);
            readyToFinalize(w);
            vm.expectRevert(OptimismPortal.OptimismPortal_BridgeCallFailed.selector);
            vm.prank(alice);
            portal.finalizeWithdrawalTransaction(w);
        }
        assertEq(token.balanceOf(address(bridge)), LOCKED, "nothing left the lock");
    }
}
