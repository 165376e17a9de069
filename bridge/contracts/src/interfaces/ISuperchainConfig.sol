// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What the other contracts ask of the guardian's contract.
interface ISuperchainConfig {
    /// @notice Who may pause and take out games.
    function guardian() external view returns (address);
    /// @notice Whether value stands still, by a pause or by a freeze.
    function paused() external view returns (bool);
    /// @notice The anchor saw two quorums that contradict each other.
    function freeze() external;
}
