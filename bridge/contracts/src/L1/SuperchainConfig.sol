// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISuperchainConfig} from "../interfaces/ISuperchainConfig.sol";

/// @title SuperchainConfig
/// @notice The guardian, and what it may do: stop the bridge's payments for a while. A pause ends by itself and is followed
/// by a time in which there can be none, at least as long: the guardian can delay, not keep.
contract SuperchainConfig is ISuperchainConfig {
    /// @notice Payments stand still (until `pausedUntil`).
    event Paused(address identifier);
    /// @notice They go on.
    event Unpaused(address identifier);
    /// @notice They stand still for ever: the anchor saw contradicting quorums.
    event BridgeFrozen();

    /// @notice Only the guardian may.
    error SuperchainConfig_OnlyGuardian();
    /// @notice Only the anchor may.
    error SuperchainConfig_OnlyAnchor();
    /// @notice The last pause was too short a time ago.
    error SuperchainConfig_CoolingDown(uint256 allowedFrom);
    /// @notice There is no pause to end.
    error SuperchainConfig_NotPaused();
    /// @notice A pause has a length, and the time after it is at least as long.
    error SuperchainConfig_BadSetup();

    /// @notice Version of the interface.
    string public constant version = "2.0.0";

    /// @inheritdoc ISuperchainConfig
    address public immutable guardian;
    /// @notice Who can freeze.
    address public immutable anchor;
    /// @notice Seconds that a pause lasts.
    uint256 public immutable pauseDuration;
    /// @notice Seconds after the end of a pause in which there can be no other.
    uint256 public immutable pauseCooldown;

    /// @notice The pause's last second.
    uint64 public pausedUntil;
    /// @notice The first second in which the guardian may pause again.
    uint64 public pauseAllowedFrom;
    /// @notice Set by a freeze, never taken back.
    bool public frozen;

    /// @param _guardian Who may pause (nobody, if zero).
    /// @param _anchor Who can freeze.
    /// @param _pauseDuration See `pauseDuration`.
    /// @param _pauseCooldown See `pauseCooldown`.
    constructor(address _guardian, address _anchor, uint256 _pauseDuration, uint256 _pauseCooldown) {
        if (_pauseDuration == 0 || _pauseCooldown < _pauseDuration) revert SuperchainConfig_BadSetup();
        guardian = _guardian;
        anchor = _anchor;
        pauseDuration = _pauseDuration;
        pauseCooldown = _pauseCooldown;
    }

    /// @notice Stops payments for `pauseDuration`.
    /// @param _identifier Goes into the event; there is one bridge here, and all of it stops.
    function pause(address _identifier) external {
        if (msg.sender != guardian) revert SuperchainConfig_OnlyGuardian();
        if (block.timestamp < pauseAllowedFrom) revert SuperchainConfig_CoolingDown(pauseAllowedFrom);
        uint256 end = block.timestamp + pauseDuration;
        pausedUntil = uint64(end);
        // Counted from the full length even if the guardian ends it early.
        pauseAllowedFrom = uint64(end + pauseCooldown);
        emit Paused(_identifier);
    }

    /// @notice Ends a pause early.
    function unpause(address _identifier) external {
        if (msg.sender != guardian) revert SuperchainConfig_OnlyGuardian();
        if (block.timestamp > pausedUntil) revert SuperchainConfig_NotPaused();
        pausedUntil = uint64(block.timestamp) - 1;
        emit Unpaused(_identifier);
    }

    /// @inheritdoc ISuperchainConfig
    function freeze() external {
        if (msg.sender != anchor) revert SuperchainConfig_OnlyAnchor();
        frozen = true;
        emit BridgeFrozen();
    }

    /// @inheritdoc ISuperchainConfig
    function paused() public view returns (bool) {
        return frozen || block.timestamp <= pausedUntil;
    }

    /// @notice The same: there is one bridge here.
    function paused(address) external view returns (bool) {
        return paused();
    }
}
