// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Fixed-width integers as SCALE writes them: least significant byte first.
library LittleEndian {
    /// @notice Turns the order of eight bytes around.
    function reverse64(uint64 _v) internal pure returns (uint64 v_) {
        v_ = ((_v & 0xFF00FF00FF00FF00) >> 8) | ((_v & 0x00FF00FF00FF00FF) << 8);
        v_ = ((v_ & 0xFFFF0000FFFF0000) >> 16) | ((v_ & 0x0000FFFF0000FFFF) << 16);
        v_ = (v_ >> 32) | (v_ << 32);
    }

    /// @notice Turns the order of four bytes around.
    function reverse32(uint32 _v) internal pure returns (uint32 v_) {
        v_ = ((_v & 0xFF00FF00) >> 8) | ((_v & 0x00FF00FF) << 8);
        v_ = (v_ >> 16) | (v_ << 16);
    }
}
