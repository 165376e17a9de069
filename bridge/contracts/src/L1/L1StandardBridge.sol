// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {IOptimismPortal} from "../interfaces/IOptimismPortal.sol";
import {Constants} from "../libraries/Types.sol";

/// @title L1StandardBridge
/// @notice Holds the OPEN that circulates on L2. In: takes tokens and writes a deposit. Out: pays when the portal delivers a
/// message of L2's bridge, and never else. OPEN is the only token it knows.
contract L1StandardBridge {
    using SafeTransferLib for address;

    /// @notice OPEN left for L2.
    event ERC20BridgeInitiated(
        address indexed localToken,
        address indexed remoteToken,
        address indexed from,
        address to,
        uint256 amount,
        bytes extraData
    );
    /// @notice OPEN came back.
    event ERC20BridgeFinalized(
        address indexed localToken,
        address indexed remoteToken,
        address indexed from,
        address to,
        uint256 amount,
        bytes extraData
    );

    /// @notice This bridge carries OPEN and nothing else.
    error L1StandardBridge_WrongToken();
    /// @notice Nothing, or more than L2 can count.
    error L1StandardBridge_BadAmount();
    /// @notice Extra data are empty, or the 32 bytes of an account on L2.
    error L1StandardBridge_BadExtraData();
    /// @notice Another amount arrived than was sent.
    error L1StandardBridge_WrongBalance();
    /// @notice Only the portal, with a message of L2's bridge.
    error L1StandardBridge_NotOtherBridge();
    /// @notice To the zero address would be to nobody.
    error L1StandardBridge_ZeroAddress();

    /// @notice Version of the interface.
    string public constant version = "2.0.0";
    /// @dev Gas on L2 beyond what the sender asks for.
    uint64 private constant DEPOSIT_GAS = 50_000;

    /// @notice The portal.
    IOptimismPortal public immutable portal;
    /// @notice OPEN.
    address public immutable token;
    /// @notice The messenger (for tools; OPEN does not go through it).
    address public immutable messenger;

    /// @param _portal The portal.
    /// @param _token OPEN.
    /// @param _messenger The messenger.
    constructor(IOptimismPortal _portal, address _token, address _messenger) {
        portal = _portal;
        token = _token;
        messenger = _messenger;
    }

    /// @notice Sends OPEN to the own account on L2 (or to the one in `_extraData`).
    function depositERC20(
        address _l1Token,
        address _l2Token,
        uint256 _amount,
        uint32 _minGasLimit,
        bytes calldata _extraData
    ) external {
        _deposit(_l1Token, _l2Token, msg.sender, _amount, _minGasLimit, _extraData);
    }

    /// @notice Sends OPEN to another's account on L2 (or to the one in `_extraData`).
    function depositERC20To(
        address _l1Token,
        address _l2Token,
        address _to,
        uint256 _amount,
        uint32 _minGasLimit,
        bytes calldata _extraData
    ) external {
        _deposit(_l1Token, _l2Token, _to, _amount, _minGasLimit, _extraData);
    }

    /// @notice The same as `depositERC20`.
    function bridgeERC20(
        address _localToken,
        address _remoteToken,
        uint256 _amount,
        uint32 _minGasLimit,
        bytes calldata _extraData
    ) external {
        _deposit(_localToken, _remoteToken, msg.sender, _amount, _minGasLimit, _extraData);
    }

    /// @notice The same as `depositERC20To`.
    function bridgeERC20To(
        address _localToken,
        address _remoteToken,
        address _to,
        uint256 _amount,
        uint32 _minGasLimit,
        bytes calldata _extraData
    ) external {
        _deposit(_localToken, _remoteToken, _to, _amount, _minGasLimit, _extraData);
    }

    /// @notice Pays OPEN out. Called by the portal with a message of L2's bridge.
    /// @param _localToken OPEN here.
    /// @param _remoteToken OPEN on L2.
    /// @param _from Who sent it there (last 20 bytes of the account's hash).
    /// @param _to Who gets it.
    /// @param _amount How much.
    /// @param _extraData The sender's account on L2.
    function finalizeBridgeERC20(
        address _localToken,
        address _remoteToken,
        address _from,
        address _to,
        uint256 _amount,
        bytes calldata _extraData
    ) external {
        if (msg.sender != address(portal)) revert L1StandardBridge_NotOtherBridge();
        if (portal.l2Sender() != Constants.L2_BRIDGE) revert L1StandardBridge_NotOtherBridge();
        _checkTokens(_localToken, _remoteToken);
        if (_to == address(0)) revert L1StandardBridge_ZeroAddress();
        token.safeTransfer(_to, _amount);
        emit ERC20BridgeFinalized(_localToken, _remoteToken, _from, _to, _amount, _extraData);
    }

    /// @notice The bridge on the other side.
    function otherBridge() external pure returns (address) {
        return Constants.L2_BRIDGE;
    }

    /// @dev Takes the tokens, then writes the deposit.
    function _deposit(
        address _localToken,
        address _remoteToken,
        address _to,
        uint256 _amount,
        uint32 _minGasLimit,
        bytes calldata _extraData
    ) private {
        _checkTokens(_localToken, _remoteToken);
        if (_amount == 0 || _amount > type(uint128).max) revert L1StandardBridge_BadAmount();
        if (_extraData.length != 0 && _extraData.length != 32) revert L1StandardBridge_BadExtraData();
        if (_extraData.length == 0 && _to == address(0)) revert L1StandardBridge_ZeroAddress();

        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), _amount);
        if (token.balanceOf(address(this)) != before + _amount) revert L1StandardBridge_WrongBalance();

        // From L2's side: local is OPEN's name there.
        bytes memory data =
            abi.encodeCall(this.finalizeBridgeERC20, (_remoteToken, _localToken, msg.sender, _to, _amount, _extraData));
        portal.depositTransaction(Constants.L2_BRIDGE, 0, DEPOSIT_GAS + _minGasLimit, false, data);
        emit ERC20BridgeInitiated(_localToken, _remoteToken, msg.sender, _to, _amount, _extraData);
    }

    function _checkTokens(address _localToken, address _remoteToken) private view {
        if (_localToken != token || _remoteToken != Constants.L2_OPEN) revert L1StandardBridge_WrongToken();
    }
}
