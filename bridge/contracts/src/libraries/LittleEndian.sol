// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Fixed-width integers as SCALE writes them: least significant byte first.
library LittleEndian {
    /// @notice Turns the order of twelve bytes around.
    /// @dev As sixteen bytes, of which the first four, zeros, end up last and are cut off. `_v` is below 2^96.
    function reverse96(uint256 _v) internal pure returns (uint256 v_) {
        v_ = (_v >> 8 & 0x00FF00FF00FF00FF00FF00FF00FF00FF) | (_v & 0x00FF00FF00FF00FF00FF00FF00FF00FF) << 8;
        v_ = (v_ >> 16 & 0x0000FFFF0000FFFF0000FFFF0000FFFF) | (v_ & 0x0000FFFF0000FFFF0000FFFF0000FFFF) << 16;
        v_ = (v_ >> 32 & 0x00000000FFFFFFFF00000000FFFFFFFF) | (v_ & 0x00000000FFFFFFFF00000000FFFFFFFF) << 32;
        v_ = (v_ >> 96) | (v_ & 0xFFFFFFFFFFFFFFFF) << 32;
    }

    /// @notice Turns the order of four bytes around.
    function reverse32(uint32 _v) internal pure returns (uint32 v_) {
        v_ = ((_v & 0xFF00FF00) >> 8) | ((_v & 0x00FF00FF) << 8);
        v_ = (v_ >> 16) | (v_ << 16);
    }
}
