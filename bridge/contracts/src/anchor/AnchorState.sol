// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What the anchor knows besides roots, in one word of storage. From the high bits down: unused (48), frozen (8),
/// accepted at (40), newest block (32), length of the next set (32), length of the current set (32), id of the current
/// set (64). The next set's id is the current one's plus one.
type AnchorState is uint256;

using AnchorStates for AnchorState global;

/// @notice The fields of `AnchorState`, one shift and one mask each.
library AnchorStates {
    uint256 private constant FROZEN = 1 << 200;

    /// @notice Puts the word together; not frozen.
    /// @param _currentId Below 2^64.
    /// @param _currentLength Below 2^32.
    /// @param _nextLength Below 2^32.
    /// @param _latestBlock Below 2^32.
    /// @param _acceptedAt Seconds since 1970, below 2^40.
    function pack(
        uint256 _currentId,
        uint256 _currentLength,
        uint256 _nextLength,
        uint256 _latestBlock,
        uint256 _acceptedAt
    ) internal pure returns (AnchorState) {
        return AnchorState.wrap(
            _acceptedAt << 160 | _latestBlock << 128 | _nextLength << 96 | _currentLength << 64 | _currentId
        );
    }

    /// @notice The same word, frozen.
    function freeze(AnchorState _s) internal pure returns (AnchorState) {
        return AnchorState.wrap(AnchorState.unwrap(_s) | FROZEN);
    }

    /// @notice Whether two quorums contradicted each other.
    function frozen(AnchorState _s) internal pure returns (bool) {
        return AnchorState.unwrap(_s) & FROZEN != 0;
    }

    /// @notice The set whose session it is.
    function currentId(AnchorState _s) internal pure returns (uint256) {
        return uint64(AnchorState.unwrap(_s));
    }

    /// @notice How many it has.
    function currentLength(AnchorState _s) internal pure returns (uint256) {
        return uint32(AnchorState.unwrap(_s) >> 64);
    }

    /// @notice How many the set after it has.
    function nextLength(AnchorState _s) internal pure returns (uint256) {
        return uint32(AnchorState.unwrap(_s) >> 96);
    }

    /// @notice The newest block whose root was accepted.
    function latestBlock(AnchorState _s) internal pure returns (uint256) {
        return uint32(AnchorState.unwrap(_s) >> 128);
    }

    /// @notice When that was.
    function acceptedAt(AnchorState _s) internal pure returns (uint256) {
        return uint40(AnchorState.unwrap(_s) >> 160);
    }
}
