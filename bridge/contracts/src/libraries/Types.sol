// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice A kind of dispute game. This bridge has one.
type GameType is uint32;
/// @notice An output root that a game is about.
type Claim is bytes32;
/// @notice A hash of anything.
type Hash is bytes32;
/// @notice Seconds since the epoch.
type Timestamp is uint64;
/// @notice `game type (32 bits) ‖ creation time (64 bits) ‖ address (160 bits)`, as tools of the OP Stack unpack it.
type GameId is bytes32;

/// @notice Where a game stands.
enum GameStatus {
    IN_PROGRESS,
    CHALLENGER_WINS,
    DEFENDER_WINS
}

/// @notice Types that more than one contract has in its interface, laid out as in the OP Stack.
library Types {
    /// @notice A message from L2, as it was put into the withdrawal tree.
    /// @param nonce `1 << 240 | position in the tree`.
    /// @param sender Who sent it on L2 (20 bytes; 0x42…10 is the bridge of OPEN).
    /// @param target The L1 contract to call.
    /// @param value Ether to send along: always 0 on this bridge.
    /// @param gasLimit Gas that the call is guaranteed to get.
    /// @param data Call data.
    struct WithdrawalTransaction {
        uint256 nonce;
        address sender;
        address target;
        uint256 value;
        uint256 gasLimit;
        bytes data;
    }

    /// @notice What an output root is the hash of.
    /// @param version 1.
    /// @param stateRoot Hash of the MMR leaf that describes the L2 block.
    /// @param messagePasserStorageRoot Root of the withdrawal tree at the end of that block.
    /// @param latestBlockhash Hash of that block.
    struct OutputRootProof {
        bytes32 version;
        bytes32 stateRoot;
        bytes32 messagePasserStorageRoot;
        bytes32 latestBlockhash;
    }
}

/// @notice Addresses and numbers that both chains agree on.
library Constants {
    /// @notice Sender of messages that L2's messenger speaks for, and address to which L1's messenger writes.
    address internal constant L2_MESSENGER = 0x4200000000000000000000000000000000000007;
    /// @notice The bridge of OPEN on L2.
    address internal constant L2_BRIDGE = 0x4200000000000000000000000000000000000010;
    /// @notice The name of OPEN on L2.
    address internal constant L2_OPEN = 0x4200000000000000000000000000000000000042;
    /// @notice All OPEN there will ever be, on both chains together: 1e9 tokens of 18 decimals.
    uint256 internal constant CAP = 1_000_000_000e18;
    /// @notice The one type of game, "TB".
    uint32 internal constant GAME_TYPE = 0x5442;
    /// @notice Version of the output root.
    bytes32 internal constant OUTPUT_VERSION = bytes32(uint256(1));
}
