// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputeGame} from "./IDisputeGame.sol";
import {Claim, GameType, Timestamp} from "../libraries/Types.sol";

/// @notice What the other contracts ask of the factory.
interface IDisputeGameFactory {
    /// @notice The game with these data, or the zero address.
    function games(GameType gameType, Claim rootClaim, bytes calldata extraData)
        external
        view
        returns (IDisputeGame proxy, Timestamp timestamp);
    /// @notice The game made as number `index`.
    function gameAtIndex(uint256 index)
        external
        view
        returns (GameType gameType, Timestamp timestamp, IDisputeGame proxy);
}
