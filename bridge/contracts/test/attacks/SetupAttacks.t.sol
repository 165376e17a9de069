// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BridgeTest} from "../helpers/BridgeTest.sol";
import {Deployer} from "../../src/Deployer.sol";
import {SuperchainConfig} from "../../src/L1/SuperchainConfig.sol";
import {AnchorStateRegistry} from "../../src/dispute/AnchorStateRegistry.sol";
import {BeefyOutputGame} from "../../src/dispute/BeefyOutputGame.sol";
import {IDisputeGame} from "../../src/interfaces/IDisputeGame.sol";
import {Constants} from "../../src/libraries/Types.sol";
import {OpenToken} from "../../src/token/OpenToken.sol";

/// @notice Attacks on how the bridge comes to be, and on the guardian's power. One named test each.
contract SetupAttacksTest is BridgeTest {
    function test_attack_initialiserRace() public {
        // No contract has a function that sets anything up: each knows the others when its constructor is over.
        string[6] memory names = [
            "initialize()",
            "initialize(address)",
            "initialize(address,address,address,uint32)",
            "setImplementation(uint32,address)",
            "setRespectedGameType(uint32)",
            "transferOwnership(address)"
        ];
        address[7] memory all = [
            address(portal),
            address(factory),
            address(registry),
            address(anchor),
            address(config),
            address(bridge),
            address(messenger)
        ];
        for (uint256 i; i < names.length; ++i) {
            for (uint256 j; j < all.length; ++j) {
                (bool ok, bytes memory why) =
                    all[j].call(abi.encodeWithSignature(names[i], mallory, mallory, mallory, 1));
                assertFalse(ok, names[i]);
                assertEq(why.length, 0, "there is no such function, rather than one that refuses");
            }
        }
        // The implementation of the games, and a game, have one; only the factory may call it, and once.
        IDisputeGame impl = factory.gameImpls(GAME);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_NotFactory.selector);
        vm.prank(mallory);
        impl.initialize();
        extend(0);
        BeefyOutputGame game = propose(0);
        vm.expectRevert(BeefyOutputGame.BeefyOutputGame_NotFactory.selector);
        game.initialize();
        vm.expectRevert(BeefyOutputGame.AlreadyInitialized.selector);
        vm.prank(address(factory));
        game.initialize();
    }

    function test_everythingIsWired() public view {
        assertEq(address(portal.anchorStateRegistry()), address(registry), "portal's registry");
        assertEq(address(portal.disputeGameFactory()), address(factory), "portal's factory");
        assertEq(address(portal.superchainConfig()), address(config), "portal's config");
        assertEq(portal.l1StandardBridge(), address(bridge), "portal's bridge");
        assertEq(portal.token(), address(token), "portal's token");
        assertEq(portal.anchor(), address(anchor), "portal's anchor");
        assertEq(portal.guardian(), guardian, "guardian");
        assertEq(portal.proofMaturityDelaySeconds(), MATURITY, "maturity");
        assertEq(portal.disputeGameFinalityDelaySeconds(), FINALITY, "finality");
        assertEq(uint256(portal.respectedGameTypeUpdatedAt()), time() - 1, "since");
        assertEq(address(registry.disputeGameFactory()), address(factory), "registry's factory");
        assertEq(address(registry.superchainConfig()), address(config), "registry's config");
        assertEq(address(bridge.portal()), address(portal), "bridge's portal");
        assertEq(bridge.token(), address(token), "bridge's token");
        assertEq(bridge.messenger(), address(messenger), "bridge's messenger");
        assertEq(address(messenger.portal()), address(portal), "messenger's portal");
        assertEq(config.anchor(), address(anchor), "config's anchor");
        assertEq(address(anchor.config()), address(config), "anchor's config");
        BeefyOutputGame impl = BeefyOutputGame(address(factory.gameImpls(GAME)));
        assertEq(address(impl.anchor()), address(anchor), "game's anchor");
        assertEq(address(impl.anchorStateRegistry()), address(registry), "game's registry");
        assertEq(impl.disputeGameFactory(), address(factory), "game's factory");
        assertEq(token.totalSupply(), Constants.CAP, "cap");
        assertEq(token.balanceOf(address(bridge)), LOCKED, "lock");
        assertEq(token.balanceOf(treasury), Constants.CAP - LOCKED, "treasury");
    }

    function test_attack_moreLockedThanThereIs() public {
        bytes memory code = type(OpenToken).creationCode;
        refuseCreation(
            bytes.concat(code, abi.encode(bob, treasury, Constants.CAP + 1)), OpenToken.OpenToken_LockAboveCap.selector
        );
        new OpenToken(bob, treasury, Constants.CAP);
        bytes4 zero = OpenToken.OpenToken_ZeroAddress.selector;
        refuseCreation(bytes.concat(code, abi.encode(address(0), treasury, 1)), zero);
        refuseCreation(bytes.concat(code, abi.encode(bob, address(0), 1)), zero);
    }

    function test_permitMovesNothingWithoutTheOwnersName() public {
        uint256 pk = 0xB0B5;
        address owner = vm.addr(pk);
        bytes32 digest = keccak256(
            bytes.concat(
                hex"1901",
                token.DOMAIN_SEPARATOR(),
                keccak256(
                    abi.encode(
                        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                        owner,
                        bob,
                        uint256(5),
                        uint256(0),
                        time()
                    )
                )
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(pk, digest);
        vm.expectRevert(bytes4(keccak256("InvalidPermit()")));
        token.permit(owner, mallory, 5, time(), v, r, s);
        token.permit(owner, bob, 5, time(), v, r, s);
        assertEq(token.allowance(owner, bob), 5, "allowed");
        vm.expectRevert(bytes4(keccak256("InvalidPermit()")));
        token.permit(owner, bob, 5, time(), v, r, s);
        assertEq(token.allowance(owner, 0x000000000022D473030F116dDEE9F6B43aC78BA3), 0, "no hidden allowance");
        assertEq(keccak256(bytes(token.name())), keccak256("OPEN"), "name");
        assertEq(keccak256(bytes(token.symbol())), keccak256("OPEN"), "symbol");
    }

    function test_attack_pauseThatNeverEnds() public {
        vm.startPrank(guardian);
        uint256 start = time();
        config.pause(address(0));
        vm.expectPartialRevert(SuperchainConfig.SuperchainConfig_CoolingDown.selector);
        config.pause(address(0));
        vm.warp(start + PAUSE);
        assertTrue(config.paused() && config.paused(address(portal)) && registry.paused(), "last second");
        vm.warp(start + PAUSE + 1);
        assertFalse(config.paused(), "over");
        vm.expectPartialRevert(SuperchainConfig.SuperchainConfig_CoolingDown.selector);
        config.pause(address(0));
        vm.warp(start + PAUSE + COOLDOWN - 1);
        vm.expectPartialRevert(SuperchainConfig.SuperchainConfig_CoolingDown.selector);
        config.pause(address(0));
        vm.warp(start + PAUSE + COOLDOWN);
        config.pause(address(0));
        // Ending it early gives no right to begin again early.
        config.unpause(address(0));
        assertFalse(config.paused(), "ended");
        vm.expectPartialRevert(SuperchainConfig.SuperchainConfig_CoolingDown.selector);
        config.pause(address(0));
        vm.expectRevert(SuperchainConfig.SuperchainConfig_NotPaused.selector);
        config.unpause(address(0));
        vm.stopPrank();
    }

    /// @dev Whatever the guardian tries, at least half of any long time is open.
    function testFuzz_pausesAreAtMostHalfOfTheTime(uint256 seed) public {
        uint256 paused;
        uint256 steps = 400;
        for (uint256 i; i < steps; ++i) {
            if (uint256(keccak256(abi.encode(seed, i))) % 3 != 0) {
                vm.prank(guardian);
                (bool ok,) = address(config).call(abi.encodeWithSignature("pause(address)", address(0)));
                ok;
            }
            if (config.paused()) ++paused;
            vm.warp(time() + 6 hours);
        }
        // One pause may be cut off by the end of the time.
        assertLe(paused * 2, steps + 2 * (PAUSE / 6 hours), "half");
    }

    function test_attack_guardiansPowersInOtherHands() public {
        bytes4 only = SuperchainConfig.SuperchainConfig_OnlyGuardian.selector;
        vm.startPrank(mallory);
        vm.expectRevert(only);
        config.pause(address(0));
        vm.expectRevert(only);
        config.unpause(address(0));
        vm.expectRevert(SuperchainConfig.SuperchainConfig_OnlyAnchor.selector);
        config.freeze();
        vm.expectRevert(AnchorStateRegistry.AnchorStateRegistry_Unauthorized.selector);
        registry.blacklistDisputeGame(IDisputeGame(address(1)));
        vm.stopPrank();
        vm.expectRevert(SuperchainConfig.SuperchainConfig_OnlyAnchor.selector);
        vm.prank(guardian);
        config.freeze();
    }

    function test_attack_pauseWithoutAnEndOrARest() public {
        bytes4 bad = SuperchainConfig.SuperchainConfig_BadSetup.selector;
        bytes memory code = type(SuperchainConfig).creationCode;
        refuseCreation(bytes.concat(code, abi.encode(guardian, anchor, 0, 10)), bad);
        refuseCreation(bytes.concat(code, abi.encode(guardian, anchor, 10, 9)), bad);
        new SuperchainConfig(guardian, address(anchor), 10, 10);
    }

    function test_deploymentFitsOneTransaction() public {
        bytes memory code = bytes.concat(type(Deployer).creationCode, abi.encode(params(0)));
        assertLe(code.length, 49_152, "EIP-3860");
        uint256 used = gasleft();
        address made;
        assembly ("memory-safe") {
            made := create(0, add(code, 0x20), mload(code))
        }
        used -= gasleft();
        assertTrue(made != address(0), "made");
        // The transaction itself and its call data come on top.
        for (uint256 i; i < code.length; ++i) {
            used += code[i] == 0 ? 4 : 16;
        }
        assertLe(used + 53_000, 16_777_216, "EIP-7825");
    }
}
