// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOptimismPortal} from "../interfaces/IOptimismPortal.sol";
import {SafeCall} from "../libraries/SafeCall.sol";
import {Constants} from "../libraries/Types.sol";

/// @title L1CrossDomainMessenger
/// @notice Messages with a sender, in both directions. One that fails here can be delivered again by anyone.
contract L1CrossDomainMessenger {
    /// @notice A message left for L2.
    event SentMessage(address indexed target, address sender, bytes message, uint256 messageNonce, uint256 gasLimit);
    /// @notice The value it carries (always 0).
    event SentMessageExtension1(address indexed sender, uint256 value);
    /// @notice A message from L2 was delivered.
    event RelayedMessage(bytes32 indexed msgHash);
    /// @notice A message from L2 failed; it can be delivered again.
    event FailedRelayedMessage(bytes32 indexed msgHash);

    /// @notice This bridge carries no ether.
    error L1CrossDomainMessenger_NoEther();
    /// @notice A message may not call the messenger or the portal.
    error L1CrossDomainMessenger_BadTarget();
    /// @notice The message has been delivered.
    error L1CrossDomainMessenger_AlreadyRelayed();
    /// @notice It neither comes from L2 now nor did it fail before.
    error L1CrossDomainMessenger_NotRelayable();
    /// @notice A message is being delivered.
    error L1CrossDomainMessenger_Reentrant();
    /// @notice Nothing is being delivered.
    error L1CrossDomainMessenger_NoSender();

    /// @notice Version of the interface.
    string public constant version = "2.0.0";
    /// @dev Gas on L2 beyond what the sender asks for: for the relay itself and for each byte.
    uint64 private constant RELAY_GAS = 60_000;
    uint64 private constant GAS_PER_BYTE = 40;

    /// @notice The portal.
    IOptimismPortal public immutable portal;

    /// @notice Messages that were delivered.
    mapping(bytes32 => bool) public successfulMessages;
    /// @notice Messages that failed.
    mapping(bytes32 => bool) public failedMessages;
    uint240 private _nonce;
    /// @dev Sender, on L2, of the message being delivered; zero between deliveries, and so also the lock.
    address private transient _sender;

    /// @param _portal The portal.
    constructor(IOptimismPortal _portal) {
        portal = _portal;
    }

    /// @notice Sends a message to a dispatcher of L2.
    /// @param _target The dispatcher.
    /// @param _message What it gets.
    /// @param _minGasLimit Gas that it may use there.
    function sendMessage(address _target, bytes calldata _message, uint32 _minGasLimit) external payable {
        if (msg.value != 0) revert L1CrossDomainMessenger_NoEther();
        uint256 nonce = messageNonce();
        ++_nonce;
        bytes memory data =
            abi.encodeCall(this.relayMessage, (nonce, msg.sender, _target, 0, uint256(_minGasLimit), _message));
        uint64 gasLimit = _minGasLimit + RELAY_GAS + GAS_PER_BYTE * uint64(data.length);
        portal.depositTransaction(Constants.L2_MESSENGER, 0, gasLimit, false, data);
        emit SentMessage(_target, msg.sender, _message, nonce, _minGasLimit);
        emit SentMessageExtension1(msg.sender, 0);
    }

    /// @notice Delivers a message from L2: the portal the first time, anyone if that failed.
    /// @param _messageNonce Its number on L2.
    /// @param _from Who sent it there.
    /// @param _target The contract to call.
    /// @param _value Must be 0.
    /// @param _minGasLimit Gas that the call is guaranteed to get.
    /// @param _message Call data.
    function relayMessage(
        uint256 _messageNonce,
        address _from,
        address _target,
        uint256 _value,
        uint256 _minGasLimit,
        bytes calldata _message
    ) external payable {
        if (_sender != address(0)) revert L1CrossDomainMessenger_Reentrant();
        if (msg.value != 0 || _value != 0) revert L1CrossDomainMessenger_NoEther();
        if (_target == address(this) || _target == address(portal)) revert L1CrossDomainMessenger_BadTarget();
        bytes32 messageHash = keccak256(
            abi.encodeCall(this.relayMessage, (_messageNonce, _from, _target, _value, _minGasLimit, _message))
        );
        if (successfulMessages[messageHash]) revert L1CrossDomainMessenger_AlreadyRelayed();
        if (!_isFromL2() && !failedMessages[messageHash]) revert L1CrossDomainMessenger_NotRelayable();

        _sender = _from;
        bool success = SafeCall.callWithMinGas(_target, _minGasLimit, _message);
        _sender = address(0);
        if (success) {
            successfulMessages[messageHash] = true;
            emit RelayedMessage(messageHash);
        } else {
            failedMessages[messageHash] = true;
            emit FailedRelayedMessage(messageHash);
        }
    }

    /// @notice Who sent, on L2, the message being delivered right now.
    function xDomainMessageSender() external view returns (address) {
        if (_sender == address(0)) revert L1CrossDomainMessenger_NoSender();
        return _sender;
    }

    /// @notice The next message's number, with version 1 in its top 16 bits.
    function messageNonce() public view returns (uint256) {
        return uint256(_nonce) | 1 << 240;
    }

    /// @notice The messenger on the other side.
    function otherMessenger() external pure returns (address) {
        return Constants.L2_MESSENGER;
    }

    /// @dev The portal delivers a message of L2's messenger.
    function _isFromL2() private view returns (bool) {
        return msg.sender == address(portal) && portal.l2Sender() == Constants.L2_MESSENGER;
    }
}
