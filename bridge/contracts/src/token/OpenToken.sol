// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "solady/tokens/ERC20.sol";
import {Constants} from "../libraries/Types.sol";

/// @title OpenToken
/// @notice OPEN on Ethereum: ERC-20 with permit (ERC-2612), 1,000,000,000 tokens made once, here. Nobody can make, burn or
/// stop any. What circulates on L2 lies in the bridge's lock.
contract OpenToken is ERC20 {
    /// @notice More was to be locked than there is.
    error OpenToken_LockAboveCap();
    /// @notice Neither the lock nor the treasury may be the zero address.
    error OpenToken_ZeroAddress();

    /// @param _lock The bridge, which holds what backs L2.
    /// @param _treasury Holder of the rest.
    /// @param _locked OPEN (in its smallest unit) that L2 has issued or may still emit.
    constructor(address _lock, address _treasury, uint256 _locked) {
        if (_locked > Constants.CAP) revert OpenToken_LockAboveCap();
        if (_lock == address(0) || _treasury == address(0)) revert OpenToken_ZeroAddress();
        _mint(_lock, _locked);
        _mint(_treasury, Constants.CAP - _locked);
    }

    /// @notice Name of the token.
    function name() public pure override returns (string memory) {
        return "OPEN";
    }

    /// @notice Symbol of the token.
    function symbol() public pure override returns (string memory) {
        return "OPEN";
    }

    /// @dev The name never changes, so that its hash is a constant.
    function _constantNameHash() internal pure override returns (bytes32) {
        return keccak256("OPEN");
    }

    /// @dev No contract has an allowance that its owner did not give.
    function _givePermit2InfiniteAllowance() internal pure override returns (bool) {
        return false;
    }
}
