// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LibClone} from "solady/utils/LibClone.sol";
import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {IDisputeGameFactory} from "../interfaces/IDisputeGameFactory.sol";
import {Claim, Constants, GameId, GameType, Hash, Timestamp} from "../libraries/Types.sol";

/// @title DisputeGameFactory
/// @notice Makes the games, one for each output, and keeps the list of them. It has no owner: its one implementation and
/// the bond are fixed when it is made.
contract DisputeGameFactory is IDisputeGameFactory {
    using LibClone for address;

    /// @notice A game as the list shows it.
    struct GameSearchResult {
        uint256 index;
        GameId metadata;
        Timestamp timestamp;
        Claim rootClaim;
        bytes extraData;
    }

    /// @notice A game was made.
    event DisputeGameCreated(address indexed disputeProxy, GameType indexed gameType, Claim indexed rootClaim);

    /// @notice There is no such type of game.
    error NoImplementation(GameType gameType);
    /// @notice The bond is `initBonds(gameType)`, to the wei.
    error IncorrectBondAmount();
    /// @notice This output has been proposed.
    error GameAlreadyExists(Hash uuid);

    /// @notice Version of the interface.
    string public constant version = "1.0.0";

    IDisputeGame private immutable _impl;
    uint256 private immutable _bond;

    mapping(Hash => GameId) private _games;
    GameId[] private _list;

    /// @param _implementation The code of every game.
    /// @param _initBond What a proposer pays in, in wei.
    constructor(IDisputeGame _implementation, uint256 _initBond) {
        _impl = _implementation;
        _bond = _initBond;
    }

    /// @notice Proposes an output. The sender is the game's creator, and bears the bond.
    /// @param _gameType The one type there is.
    /// @param _rootClaim The output root.
    /// @param _extraData The L2 block, ABI-encoded.
    function create(GameType _gameType, Claim _rootClaim, bytes calldata _extraData)
        external
        payable
        returns (IDisputeGame proxy_)
    {
        if (GameType.unwrap(_gameType) != Constants.GAME_TYPE) revert NoImplementation(_gameType);
        if (msg.value != _bond) revert IncorrectBondAmount();
        Hash uuid = getGameUUID(_gameType, _rootClaim, _extraData);
        if (GameId.unwrap(_games[uuid]) != 0) revert GameAlreadyExists(uuid);

        // What the game is about is part of its code: nothing can change it.
        proxy_ = IDisputeGame(
            address(_impl).clone(abi.encodePacked(msg.sender, _rootClaim, blockhash(block.number - 1), _extraData))
        );
        GameId id = GameId.wrap(
            bytes32(
                uint256(GameType.unwrap(_gameType)) << 224 | uint256(uint64(block.timestamp)) << 160
                    | uint256(uint160(address(proxy_)))
            )
        );
        _games[uuid] = id;
        _list.push(id);
        proxy_.initialize{value: msg.value}();
        emit DisputeGameCreated(address(proxy_), _gameType, _rootClaim);
    }

    /// @inheritdoc IDisputeGameFactory
    function games(GameType _gameType, Claim _rootClaim, bytes calldata _extraData)
        external
        view
        returns (IDisputeGame proxy_, Timestamp timestamp_)
    {
        (, timestamp_, proxy_) = _unpack(_games[getGameUUID(_gameType, _rootClaim, _extraData)]);
    }

    /// @inheritdoc IDisputeGameFactory
    function gameAtIndex(uint256 _index)
        external
        view
        returns (GameType gameType_, Timestamp timestamp_, IDisputeGame proxy_)
    {
        (gameType_, timestamp_, proxy_) = _unpack(_list[_index]);
    }

    /// @notice How many games there are.
    function gameCount() external view returns (uint256) {
        return _list.length;
    }

    /// @notice The implementation of a type of game, or the zero address.
    function gameImpls(GameType _gameType) external view returns (IDisputeGame) {
        return GameType.unwrap(_gameType) == Constants.GAME_TYPE ? _impl : IDisputeGame(address(0));
    }

    /// @notice The bond of a type of game, in wei.
    function initBonds(GameType _gameType) external view returns (uint256) {
        return GameType.unwrap(_gameType) == Constants.GAME_TYPE ? _bond : 0;
    }

    /// @notice The name of a game: the hash of what it is about.
    function getGameUUID(GameType _gameType, Claim _rootClaim, bytes calldata _extraData) public pure returns (Hash) {
        return Hash.wrap(keccak256(abi.encode(_gameType, _rootClaim, _extraData)));
    }

    /// @notice Up to `_n` games of a type, from number `_start` backwards. A view for tools: it walks through storage.
    function findLatestGames(GameType _gameType, uint256 _start, uint256 _n)
        external
        view
        returns (GameSearchResult[] memory games_)
    {
        if (_start >= _list.length || _n == 0) return games_;
        if (_n > _start + 1) _n = _start + 1;
        games_ = new GameSearchResult[](_n);
        uint256 found;
        for (uint256 i = _start + 1; i > 0 && found < _n; --i) {
            GameId id = _list[i - 1];
            (GameType gameType, Timestamp timestamp, IDisputeGame proxy) = _unpack(id);
            if (GameType.unwrap(gameType) != GameType.unwrap(_gameType)) continue;
            games_[found++] = GameSearchResult(i - 1, id, timestamp, proxy.rootClaim(), proxy.extraData());
        }
        assembly ("memory-safe") {
            mstore(games_, found)
        }
    }

    /// @dev Type, time and address of a game.
    function _unpack(GameId _id) private pure returns (GameType, Timestamp, IDisputeGame) {
        uint256 id = uint256(GameId.unwrap(_id));
        return (GameType.wrap(uint32(id >> 224)), Timestamp.wrap(uint64(id >> 160)), IDisputeGame(address(uint160(id))));
    }
}
