// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "solady/tokens/ERC20.sol";
import {OptimismPortal} from "../../src/L1/OptimismPortal.sol";
import {Claim, GameType, Hash, Timestamp, Types, GameStatus} from "../../src/libraries/Types.sol";

/// @notice Takes messages and remembers what it saw.
contract Receiver {
    uint256 public calls;
    address public sender;
    bytes public data;
    uint256 public gasSeen;
    bool public refuse;
    OptimismPortal public portal;

    constructor(OptimismPortal _portal) {
        portal = _portal;
    }

    function setRefuse(bool yes) external {
        refuse = yes;
    }

    fallback() external payable {
        gasSeen = gasleft();
        require(!refuse, "not now");
        ++calls;
        sender = portal.l2Sender();
        data = msg.data;
    }
}

/// @notice Tries to deliver a second message, or the same again, while one is being delivered.
contract Reenterer {
    OptimismPortal public portal;
    Types.WithdrawalTransaction private _again;
    address private _submitter;
    bytes4 public reason;

    constructor(OptimismPortal _portal) {
        portal = _portal;
    }

    function arm(Types.WithdrawalTransaction calldata again, address submitter) external {
        _again = again;
        _submitter = submitter;
    }

    fallback() external {
        try portal.finalizeWithdrawalTransactionExternalProof(_again, _submitter) {
            reason = 0x00000001;
        } catch (bytes memory why) {
            reason = bytes4(why);
        }
    }
}

/// @notice Answers every question of the portal and of the registry as a good game would.
contract FakeGame {
    Claim private _claim;
    bytes private _extra;

    constructor(Claim claim, bytes memory extra) {
        _claim = claim;
        _extra = extra;
    }

    function gameType() public pure returns (GameType) {
        return GameType.wrap(0x5442);
    }

    function rootClaim() public view returns (Claim) {
        return _claim;
    }

    function extraData() public view returns (bytes memory) {
        return _extra;
    }

    function gameData() external view returns (GameType, Claim, bytes memory) {
        return (gameType(), _claim, _extra);
    }

    function status() external pure returns (GameStatus) {
        return GameStatus.DEFENDER_WINS;
    }

    function createdAt() external pure returns (Timestamp) {
        return Timestamp.wrap(1);
    }

    function report(address registry) external {
        (bool ok, bytes memory why) = registry.call(abi.encodeWithSignature("recordResolution()"));
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(why, 0x20), mload(why))
            }
        }
    }
}

/// @notice Keeps one hundredth of each transfer.
contract FeeToken is ERC20 {
    constructor(address to) {
        _mint(to, 1e27);
    }

    function name() public pure override returns (string memory) {
        return "Fee";
    }

    function symbol() public pure override returns (string memory) {
        return "FEE";
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        super.transferFrom(from, to, amount);
        _burn(to, amount / 100);
        return true;
    }
}

/// @notice Has as much of itself as anybody may want, so that amounts beyond 128 bits exist.
contract HugeToken is ERC20 {
    constructor(address to) {
        _mint(to, type(uint256).max);
    }

    function name() public pure override returns (string memory) {
        return "Huge";
    }

    function symbol() public pure override returns (string memory) {
        return "HUGE";
    }
}

/// @notice Refuses ether.
contract NoEther {
    function call(address target, bytes calldata data) external payable {
        (bool ok,) = target.call{value: msg.value}(data);
        require(ok, "call failed");
    }
}

/// @notice Sends a call on (so that the portal sees a contract).
contract Forwarder {
    function forward(address target, bytes calldata data) external payable returns (bytes memory) {
        (bool ok, bytes memory out) = target.call{value: msg.value}(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(out, 0x20), mload(out))
            }
        }
        return out;
    }

    function forwardMany(address target, bytes calldata data, uint256 times) external {
        for (uint256 i; i < times; ++i) {
            (bool ok,) = target.call(data);
            require(ok, "call failed");
        }
    }
}
