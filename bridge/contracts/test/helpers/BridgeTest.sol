// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Reference} from "./Reference.sol";
import {Test} from "./Test.sol";
import {Deployer} from "../../src/Deployer.sol";
import {L1CrossDomainMessenger} from "../../src/L1/L1CrossDomainMessenger.sol";
import {L1StandardBridge} from "../../src/L1/L1StandardBridge.sol";
import {OptimismPortal} from "../../src/L1/OptimismPortal.sol";
import {SuperchainConfig} from "../../src/L1/SuperchainConfig.sol";
import {BeefyAnchor} from "../../src/anchor/BeefyAnchor.sol";
import {Commitment} from "../../src/anchor/BeefyCodec.sol";
import {AnchorStateRegistry} from "../../src/dispute/AnchorStateRegistry.sol";
import {BeefyOutputGame} from "../../src/dispute/BeefyOutputGame.sol";
import {DisputeGameFactory} from "../../src/dispute/DisputeGameFactory.sol";
import {Claim, Constants, GameType, Types} from "../../src/libraries/Types.sol";
import {OpenToken} from "../../src/token/OpenToken.sol";

/// @notice A whole bridge, and a model of L2 that signs, appends leaves and sends withdrawals.
abstract contract BridgeTest is Test {
    /// @dev All that `submit` takes.
    struct Submission {
        Commitment c;
        uint256[] bitmap;
        bytes signatures;
        bytes validators;
        bytes leaf;
        bytes32[] proof;
    }

    /// @dev What a leaf says about the set that comes next.
    struct Next {
        uint64 id;
        uint32 length;
        bytes32 root;
    }

    bytes32 internal constant GENESIS = keccak256("genesis of L2");
    uint256 internal constant LOCKED = 400_000_000e18;
    uint64 internal constant CHALLENGE = 1 hours;
    uint64 internal constant ATTEST = 2 hours;
    uint256 internal constant MATURITY = 3 hours;
    uint256 internal constant FINALITY = 90 minutes;
    uint256 internal constant STALENESS = 7 days;
    uint256 internal constant PROPOSAL_BOND = 0.08 ether;
    uint256 internal constant CHALLENGE_BOND = 0.05 ether;
    uint256 internal constant PAUSE = 3 days;
    uint256 internal constant COOLDOWN = 4 days;
    GameType internal constant GAME = GameType.wrap(Constants.GAME_TYPE);

    address internal guardian = address(0x6A4d);
    address internal treasury = address(0x7EA5);
    address internal alice = address(0xA11CE);
    address internal bob = address(0xB0B);
    address internal mallory = address(0x3A110);

    OpenToken internal token;
    SuperchainConfig internal config;
    BeefyAnchor internal anchor;
    AnchorStateRegistry internal registry;
    DisputeGameFactory internal factory;
    OptimismPortal internal portal;
    L1CrossDomainMessenger internal messenger;
    L1StandardBridge internal bridge;

    /// @dev Members of each set of L2 (the keys are derived from id and position).
    mapping(uint64 => uint32) internal setLength;
    bytes[] internal leaves;
    bytes32[] internal withdrawals;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        for (uint64 id; id < 10; ++id) {
            setLength[id] = 4;
        }
        deploy(0);
    }

    function params(uint64 firstSet) internal view returns (Deployer.Params memory p) {
        p.l2Genesis = GENESIS;
        p.guardian = guardian;
        p.treasury = treasury;
        p.locked = LOCKED;
        p.currentId = firstSet;
        p.currentLength = setLength[firstSet];
        p.currentRoot = setRoot(firstSet);
        p.nextLength = setLength[firstSet + 1];
        p.nextRoot = setRoot(firstSet + 1);
        p.maxStaleness = STALENESS;
        p.proofMaturityDelaySeconds = MATURITY;
        p.disputeGameFinalityDelaySeconds = FINALITY;
        p.challengeDuration = CHALLENGE;
        p.attestDuration = ATTEST;
        p.proposalBond = PROPOSAL_BOND;
        p.challengeBond = CHALLENGE_BOND;
        p.pauseDuration = PAUSE;
        p.pauseCooldown = COOLDOWN;
    }

    function deploy(uint64 firstSet) internal returns (Deployer d) {
        d = new Deployer(params(firstSet));
        token = d.token();
        config = d.config();
        anchor = d.anchor();
        registry = d.registry();
        factory = d.factory();
        portal = d.portal();
        messenger = d.messenger();
        bridge = d.bridge();
        for (uint256 i; i < 4; ++i) {
            vm.deal([alice, bob, mallory, guardian][i], 100 ether);
        }
    }

    // --- validators ---

    function key(uint64 id, uint256 i) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("validator", id, i)));
    }

    function members(uint64 id) internal view returns (address[] memory list) {
        list = new address[](setLength[id]);
        for (uint256 i; i < list.length; ++i) {
            list[i] = vm.addr(key(id, i));
        }
    }

    function packed(uint64 id) internal view returns (bytes memory out) {
        address[] memory list = members(id);
        out = new bytes(20 * list.length);
        for (uint256 i; i < list.length; ++i) {
            for (uint256 b; b < 20; ++b) {
                out[20 * i + b] = bytes20(list[i])[b];
            }
        }
    }

    function setRoot(uint64 id) internal view returns (bytes32) {
        return Reference.authorityRoot(members(id));
    }

    function nextOf(uint64 id) internal view returns (Next memory) {
        return Next(id + 1, setLength[id + 1], setRoot(id + 1));
    }

    /// @dev Signatures of the first `signers` members of set `id`, and their bitmap.
    function signedBy(uint64 id, uint256 signers, bytes32 hash)
        internal
        view
        returns (uint256[] memory bitmap, bytes memory signatures)
    {
        bitmap = new uint256[]((setLength[id] + 255) / 256);
        signatures = new bytes(65 * signers);
        for (uint256 i; i < signers; ++i) {
            bitmap[i / 256] |= 1 << (i % 256);
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(key(id, i), hash);
            assembly ("memory-safe") {
                let at := add(add(signatures, 0x20), mul(i, 65))
                mstore(at, r)
                mstore(add(at, 0x20), s)
                mstore8(add(at, 0x40), v)
            }
        }
    }

    function quorumOf(uint64 id) internal view returns (uint256) {
        uint256 n = setLength[id];
        // Counted up rather than computed: the smallest number that more than two thirds hold.
        uint256 q = 1;
        while (n - q > (n - 1) / 3) ++q;
        return q;
    }

    // --- leaves ---

    function makeLeaf(uint32 number, bytes32 blockHash, Next memory next, bytes32 domain, bytes32 root)
        internal
        pure
        returns (bytes memory)
    {
        return bytes.concat(
            hex"00",
            Reference.le(number, 4),
            blockHash,
            Reference.le(next.id, 8),
            Reference.le(next.length, 4),
            next.root,
            domain,
            root,
            Reference.le(uint256(number) + 7, 8),
            keccak256(abi.encode("origin", number))
        );
    }

    function blockHashOf(uint256 number) internal pure returns (bytes32) {
        return keccak256(abi.encode("block", number));
    }

    /// @dev Adds a leaf for the next block, made in the session of set `id`.
    function extend(uint64 id) internal {
        uint32 number = uint32(leaves.length);
        leaves.push(
            makeLeaf(number, blockHashOf(number), nextOf(id), anchor.domain(), Reference.withdrawalRoot(withdrawals))
        );
    }

    function leafHashes() internal view returns (bytes32[] memory hashes) {
        hashes = new bytes32[](leaves.length);
        for (uint256 i; i < hashes.length; ++i) {
            hashes[i] = keccak256(leaves[i]);
        }
    }

    function rootAt(uint256 count) internal view returns (bytes32) {
        return Reference.mmrRoot(leafHashes(), count);
    }

    function leafProof(uint256 index, uint256 count) internal view returns (bytes32[] memory) {
        return Reference.mmrProof(leafHashes(), index, count);
    }

    /// @dev A commitment at the newest block, signed by a bare quorum of set `id`.
    function submission(uint64 id) internal view returns (Submission memory s) {
        uint256 count = leaves.length;
        s.c = Commitment(rootAt(count), uint32(count), id);
        (s.bitmap, s.signatures) = signedBy(id, quorumOf(id), hashOf(s.c));
        s.validators = packed(id);
        s.leaf = leaves[count - 1];
        s.proof = leafProof(count - 1, count);
    }

    function hashOf(Commitment memory c) internal pure returns (bytes32) {
        return keccak256(Reference.commitment(c.mmrRoot, c.blockNumber, c.validatorSetId));
    }

    /// @dev Signs the submission's commitment anew.
    function resign(Submission memory s) internal view {
        uint64 id = s.c.validatorSetId;
        (s.bitmap, s.signatures) = signedBy(id, quorumOf(id), hashOf(s.c));
    }

    function submit(Submission memory s) internal {
        anchor.submit(s.c, s.bitmap, s.signatures, s.validators, s.leaf, s.proof);
    }

    function refuse(Submission memory s, bytes4 reason) internal {
        vm.expectPartialRevert(reason);
        submit(s);
    }

    /// @dev Adds a leaf and anchors it.
    function anchorNow(uint64 id) internal {
        extend(id);
        submit(submission(id));
    }

    // --- withdrawals ---

    function message(address sender, address target, uint256 gasLimit, bytes memory data)
        internal
        returns (Types.WithdrawalTransaction memory w)
    {
        w = Types.WithdrawalTransaction((1 << 240) | withdrawals.length, sender, target, 0, gasLimit, data);
        withdrawals.push(hashOf(w));
    }

    function hashOf(Types.WithdrawalTransaction memory w) internal pure returns (bytes32) {
        return keccak256(abi.encode(w.nonce, w.sender, w.target, w.value, w.gasLimit, w.data));
    }

    /// @dev OPEN on its way out.
    function openOut(address to, uint256 amount) internal returns (Types.WithdrawalTransaction memory) {
        bytes32 account = keccak256("an account on L2");
        bytes memory data = abi.encodeCall(
            bridge.finalizeBridgeERC20,
            (
                address(token),
                Constants.L2_OPEN,
                address(uint160(uint256(keccak256(abi.encode(account))))),
                to,
                amount,
                abi.encode(account)
            )
        );
        return message(Constants.L2_BRIDGE, address(bridge), 200_000, data);
    }

    function outputOf(uint256 number) internal view returns (Types.OutputRootProof memory o) {
        o.version = bytes32(uint256(1));
        o.stateRoot = keccak256(leaves[number]);
        o.latestBlockhash = blockHashOf(number);
        bytes memory leaf = leaves[number];
        bytes32 root;
        assembly ("memory-safe") {
            root := mload(add(leaf, 145))
        }
        o.messagePasserStorageRoot = root;
    }

    function claimOf(Types.OutputRootProof memory o) internal pure returns (Claim) {
        return
            Claim.wrap(keccak256(bytes.concat(o.version, o.stateRoot, o.messagePasserStorageRoot, o.latestBlockhash)));
    }

    /// @dev Proposes the output of block `number`.
    function propose(uint256 number) internal returns (BeefyOutputGame) {
        return proposeClaim(claimOf(outputOf(number)), number);
    }

    function proposeClaim(Claim claim, uint256 number) internal returns (BeefyOutputGame) {
        vm.prank(alice);
        return BeefyOutputGame(address(factory.create{value: PROPOSAL_BOND}(GAME, claim, abi.encode(number))));
    }

    function proveGame(BeefyOutputGame game, uint256 number, uint256 anchored) internal {
        game.prove(leaves[number], leafProof(number, anchored), uint32(anchored));
    }

    /// @dev All withdrawals so far under an anchor and a proven game; returns the number of the block proposed.
    function settle() internal returns (BeefyOutputGame game, uint256 number) {
        number = leaves.length;
        extend(0);
        anchorNow(0);
        game = propose(number);
        proveGame(game, number, leaves.length);
        vm.warp(time() + 1);
    }

    function withdrawalProof(uint256 index) internal view returns (bytes[] memory proof) {
        proof = new bytes[](1);
        (, proof[0]) = Reference.withdrawalProof(withdrawals, index);
    }

    function proveAs(address who, Types.WithdrawalTransaction memory w, uint256 number) internal {
        Types.OutputRootProof memory output = outputOf(number);
        bytes[] memory proof = withdrawalProof(uint32(w.nonce));
        uint256 game = factory.gameCount() - 1;
        vm.prank(who);
        portal.proveWithdrawalTransaction(w, game, output, proof);
    }

    /// @dev Proven by alice, all delays over.
    function readyToFinalize(Types.WithdrawalTransaction memory w) internal returns (BeefyOutputGame game) {
        uint256 number;
        (game, number) = settle();
        proveAs(alice, w, number);
        vm.warp(time() + CHALLENGE);
        game.resolve();
        vm.warp(time() + MATURITY + FINALITY);
    }
}
