// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {L1CrossDomainMessenger} from "./L1/L1CrossDomainMessenger.sol";
import {L1StandardBridge} from "./L1/L1StandardBridge.sol";
import {OptimismPortal} from "./L1/OptimismPortal.sol";
import {SuperchainConfig} from "./L1/SuperchainConfig.sol";
import {BeefyAnchor} from "./anchor/BeefyAnchor.sol";
import {AnchorStateRegistry} from "./dispute/AnchorStateRegistry.sol";
import {BeefyOutputGame} from "./dispute/BeefyOutputGame.sol";
import {DisputeGameFactory} from "./dispute/DisputeGameFactory.sol";
import {IOptimismPortal} from "./interfaces/IOptimismPortal.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {OpenToken} from "./token/OpenToken.sol";

/// @title Deployer
/// @notice Makes the whole bridge in its constructor: one transaction, after which nothing can be set by anybody. The
/// contracts know each other by immutable addresses, which are computed before they exist and compared afterwards.
contract Deployer {
    /// @notice What a bridge is made with.
    /// @param l2Genesis Hash of L2's block 0.
    /// @param guardian Who may pause and take out games.
    /// @param treasury Holder of the OPEN that is not on L2.
    /// @param locked OPEN that L2 has issued or may still emit.
    /// @param currentId Id of L2's current set of validators; the next one's is one higher.
    /// @param currentLength How many validators it has.
    /// @param currentRoot Root over their addresses.
    /// @param nextLength How many validators the next set has.
    /// @param nextRoot Root over their addresses.
    /// @param maxStaleness Seconds without an anchor after which none is accepted.
    /// @param proofMaturityDelaySeconds Seconds between proof and delivery of a withdrawal.
    /// @param disputeGameFinalityDelaySeconds Seconds between a game's decision and its being final.
    /// @param challengeDuration Seconds in which a claim may be challenged and must be proven.
    /// @param attestDuration Seconds in which a challenge must be answered.
    /// @param proposalBond Wei that a proposer pays in.
    /// @param challengeBond Wei that a challenger pays in.
    /// @param pauseDuration Seconds that a pause lasts.
    /// @param pauseCooldown Seconds after it without another.
    struct Params {
        bytes32 l2Genesis;
        address guardian;
        address treasury;
        uint256 locked;
        uint64 currentId;
        uint32 currentLength;
        bytes32 currentRoot;
        uint32 nextLength;
        bytes32 nextRoot;
        uint256 maxStaleness;
        uint256 proofMaturityDelaySeconds;
        uint256 disputeGameFinalityDelaySeconds;
        uint64 challengeDuration;
        uint64 attestDuration;
        uint256 proposalBond;
        uint256 challengeBond;
        uint256 pauseDuration;
        uint256 pauseCooldown;
    }

    /// @notice A contract stands at another address than was computed.
    error Deployer_WrongAddress();

    /// @notice OPEN.
    OpenToken public immutable token;
    /// @notice The guardian's contract.
    SuperchainConfig public immutable config;
    /// @notice L2's finality.
    BeefyAnchor public immutable anchor;
    /// @notice Which games may be acted upon.
    AnchorStateRegistry public immutable registry;
    /// @notice The code of every game.
    BeefyOutputGame public immutable gameImpl;
    /// @notice Where games are made.
    DisputeGameFactory public immutable factory;
    /// @notice The gate.
    OptimismPortal public immutable portal;
    /// @notice Messages.
    L1CrossDomainMessenger public immutable messenger;
    /// @notice The lock.
    L1StandardBridge public immutable bridge;

    constructor(Params memory _p) {
        address tokenAt = _created(1);
        SuperchainConfig configAt = SuperchainConfig(_created(2));
        BeefyAnchor anchorAt = BeefyAnchor(_created(3));
        AnchorStateRegistry registryAt = AnchorStateRegistry(_created(4));
        DisputeGameFactory factoryAt = DisputeGameFactory(_created(6));
        address portalAt = _created(7);
        address messengerAt = _created(8);
        address bridgeAt = _created(9);

        token = new OpenToken(bridgeAt, _p.treasury, _p.locked);
        config = new SuperchainConfig(_p.guardian, address(anchorAt), _p.pauseDuration, _p.pauseCooldown);
        anchor = new BeefyAnchor(
            Hashing.domain(block.chainid, portalAt, _p.l2Genesis),
            configAt,
            _p.maxStaleness,
            BeefyAnchor.AuthoritySet(_p.currentId, _p.currentLength, _p.currentRoot),
            BeefyAnchor.AuthoritySet(_p.currentId + 1, _p.nextLength, _p.nextRoot)
        );
        registry = new AnchorStateRegistry(configAt, factoryAt, _p.disputeGameFinalityDelaySeconds);
        gameImpl = new BeefyOutputGame(
            anchorAt, registryAt, address(factoryAt), _p.challengeDuration, _p.attestDuration, _p.challengeBond
        );
        factory = new DisputeGameFactory(gameImpl, _p.proposalBond);
        portal = new OptimismPortal(
            registryAt, factoryAt, configAt, _p.proofMaturityDelaySeconds, bridgeAt, tokenAt, address(anchorAt)
        );
        messenger = new L1CrossDomainMessenger(IOptimismPortal(portalAt));
        bridge = new L1StandardBridge(IOptimismPortal(portalAt), tokenAt, messengerAt);

        bool wired = address(token) == tokenAt && address(config) == address(configAt)
            && address(anchor) == address(anchorAt) && address(registry) == address(registryAt)
            && address(factory) == address(factoryAt) && address(portal) == portalAt
            && address(messenger) == messengerAt && address(bridge) == bridgeAt;
        if (!wired) revert Deployer_WrongAddress();
    }

    /// @dev Address of the contract that this one makes as its `_nonce`-th: keccak of the RLP list [this, nonce].
    function _created(uint8 _nonce) private view returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(this), _nonce)))));
    }
}
