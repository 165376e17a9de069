// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claim, GameStatus, GameType, Hash, Timestamp} from "../libraries/Types.sol";

/// @notice A game about one output root, with the names that tools of the OP Stack use.
interface IDisputeGame {
    /// @notice The game has been decided.
    event Resolved(GameStatus indexed status);

    /// @notice Called once by the factory, with the bond.
    function initialize() external payable;
    /// @notice When the game was made.
    function createdAt() external view returns (Timestamp);
    /// @notice When it was decided, or 0.
    function resolvedAt() external view returns (Timestamp);
    /// @notice Where it stands.
    function status() external view returns (GameStatus);
    /// @notice Its type.
    function gameType() external view returns (GameType);
    /// @notice Who proposed.
    function gameCreator() external view returns (address);
    /// @notice The output root proposed.
    function rootClaim() external view returns (Claim);
    /// @notice Hash of the L1 block before the one in which the game was made.
    function l1Head() external view returns (Hash);
    /// @notice The L2 block of the output.
    function l2SequenceNumber() external view returns (uint256);
    /// @notice The L2 block of the output, ABI-encoded.
    function extraData() external view returns (bytes memory);
    /// @notice Type, output root and extra data: what the factory names a game by.
    function gameData() external view returns (GameType, Claim, bytes memory);
    /// @notice Decides the game, if it is time.
    function resolve() external returns (GameStatus);
}
