// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeGame} from "./IDisputeGame.sol";
import {IDisputeGameFactory} from "./IDisputeGameFactory.sol";
import {GameType} from "../libraries/Types.sol";

/// @notice What the portal and the games ask of the registry.
interface IAnchorStateRegistry {
    /// @notice The factory of the games it keeps.
    function disputeGameFactory() external view returns (IDisputeGameFactory);
    /// @notice The type of game that counts.
    function respectedGameType() external view returns (GameType);
    /// @notice Seconds between a game's decision and its being final.
    function disputeGameFinalityDelaySeconds() external view returns (uint256);
    /// @notice Since when that type counts.
    function retirementTimestamp() external view returns (uint64);
    /// @notice Whether the guardian took the game out.
    function disputeGameBlacklist(IDisputeGame game) external view returns (bool);
    /// @notice Made by the factory, not taken out, and the bridge is not paused.
    function isGameProper(IDisputeGame game) external view returns (bool);
    /// @notice Of the type that counts.
    function isGameRespected(IDisputeGame game) external view returns (bool);
    /// @notice Decided for the challenger.
    function isGameLost(IDisputeGame game) external view returns (bool);
    /// @notice Proper, respected, final, and decided for the proposer.
    function isGameClaimValid(IDisputeGame game) external view returns (bool);
    /// @notice A game reports its decision.
    function recordResolution() external;
}
