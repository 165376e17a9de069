//! What the relayer calls of the contracts, written as Solidity writes it. Only what is used stands
//! here, so that building needs no compiler of Solidity.

use ethers::contract::abigen;

/// `BeefyAnchor`
pub mod anchor {
    use super::abigen;
    abigen!(
        BeefyAnchor,
        r#"[
            struct Commitment { bytes32 mmrRoot; uint32 blockNumber; uint64 validatorSetId; }
            struct Attestation { Commitment commitment; uint256[] bitmap; bytes signatures; bytes validators; }
            function submit(Commitment c, uint256[] bitmap, bytes signatures, bytes validators, bytes leaf, bytes32[] proof) external
            function reportConflict(Attestation a, Attestation b) external
            function latestBlock() external view returns (uint32)
            function currentSet() external view returns (uint64 id, uint32 length, bytes32 root)
            function nextSet() external view returns (uint64 id, uint32 length, bytes32 root)
            function frozen() external view returns (bool)
            function stale() external view returns (bool)
            function acceptedAt() external view returns (uint64)
            function maxStaleness() external view returns (uint256)
            function domain() external view returns (bytes32)
            function isAnchored(uint32 blockNumber, bytes32 mmrRoot) external view returns (bool)
            function config() external view returns (address)
            event Anchored(uint32 indexed blockNumber, uint64 indexed validatorSetId, bytes32 mmrRoot)
        ]"#
    );
}

/// `DisputeGameFactory`
pub mod factory {
    use super::abigen;
    abigen!(
        DisputeGameFactory,
        r#"[
            function create(uint32 gameType, bytes32 rootClaim, bytes extraData) external payable returns (address)
            function games(uint32 gameType, bytes32 rootClaim, bytes extraData) external view returns (address proxy, uint64 timestamp)
            function gameAtIndex(uint256 index) external view returns (uint32 gameType, uint64 timestamp, address proxy)
            function gameCount() external view returns (uint256)
            function gameImpls(uint32 gameType) external view returns (address)
            function initBonds(uint32 gameType) external view returns (uint256)
        ]"#
    );
}

/// `BeefyOutputGame`
pub mod game {
    use super::abigen;
    abigen!(
        BeefyOutputGame,
        r#"[
            function prove(bytes leaf, bytes32[] proof, uint32 anchoredBlock) external
            function challenge() external payable
            function attest(bytes leaf, bytes32[] proof, uint32 anchoredBlock) external
            function resolve() external returns (uint8)
            function claimCredit(address recipient) external
            function credit(address recipient) external view returns (uint256)
            function status() external view returns (uint8)
            function rootClaim() external view returns (bytes32)
            function l2BlockNumber() external view returns (uint256)
            function gameCreator() external view returns (address)
            function createdAt() external view returns (uint64)
            function resolvedAt() external view returns (uint64)
            function resolvableAt() external view returns (uint64)
            function proven() external view returns (bool)
            function attested() external view returns (bool)
            function challenger() external view returns (address)
            function challengedAtBlock() external view returns (uint32)
            function challengeBond() external view returns (uint256)
            function challengeDuration() external view returns (uint64)
            function attestDuration() external view returns (uint64)
            function anchor() external view returns (address)
            function anchorStateRegistry() external view returns (address)
            function disputeGameFactory() external view returns (address)
        ]"#
    );
}

/// `AnchorStateRegistry`
pub mod registry {
    use super::abigen;
    abigen!(
        AnchorStateRegistry,
        r#"[
            function isGameProper(address game) external view returns (bool)
            function superchainConfig() external view returns (address)
            function disputeGameFactory() external view returns (address)
            function disputeGameFinalityDelaySeconds() external view returns (uint256)
        ]"#
    );
}

/// `OptimismPortal`
pub mod portal {
    use super::abigen;
    abigen!(
        OptimismPortal,
        r#"[
            struct WithdrawalTransaction { uint256 nonce; address sender; address target; uint256 value; uint256 gasLimit; bytes data; }
            struct OutputRootProof { bytes32 version; bytes32 stateRoot; bytes32 messagePasserStorageRoot; bytes32 latestBlockhash; }
            function proveWithdrawalTransaction(WithdrawalTransaction withdrawal, uint256 disputeGameIndex, OutputRootProof outputRootProof, bytes[] withdrawalProof) external
            function finalizeWithdrawalTransactionExternalProof(WithdrawalTransaction withdrawal, address proofSubmitter) external
            function checkWithdrawal(bytes32 withdrawalHash, address proofSubmitter) external view
            function provenWithdrawals(bytes32 withdrawalHash, address proofSubmitter) external view returns (address disputeGameProxy, uint64 timestamp)
            function finalizedWithdrawals(bytes32 withdrawalHash) external view returns (bool)
            function numProofSubmitters(bytes32 withdrawalHash) external view returns (uint256)
            function proofSubmitters(bytes32 withdrawalHash, uint256 index) external view returns (address)
            function proofMaturityDelaySeconds() external view returns (uint256)
            function depositCount() external view returns (uint256)
            function depositsHash() external view returns (bytes32)
            function disputeGameFactory() external view returns (address)
            function anchorStateRegistry() external view returns (address)
            function superchainConfig() external view returns (address)
            function l1StandardBridge() external view returns (address)
            function token() external view returns (address)
            function anchor() external view returns (address)
            event TransactionDeposited(address indexed from, address indexed to, uint256 indexed version, bytes opaqueData)
        ]"#
    );
}

/// `L1StandardBridge`
pub mod bridge {
    use super::abigen;
    abigen!(
        L1StandardBridge,
        r#"[
            function depositERC20To(address l1Token, address l2Token, address to, uint256 amount, uint32 minGasLimit, bytes extraData) external
            function portal() external view returns (address)
            function token() external view returns (address)
            function messenger() external view returns (address)
        ]"#
    );
}

/// `L1CrossDomainMessenger`
pub mod messenger {
    use super::abigen;
    abigen!(
        L1CrossDomainMessenger,
        r#"[
            function portal() external view returns (address)
            function messageNonce() external view returns (uint256)
        ]"#
    );
}

/// `SuperchainConfig`
pub mod config {
    use super::abigen;
    abigen!(
        SuperchainConfig,
        r#"[
            function guardian() external view returns (address)
            function anchor() external view returns (address)
            function pauseDuration() external view returns (uint256)
            function pauseCooldown() external view returns (uint256)
        ]"#
    );
}

/// `OpenToken`
pub mod token {
    use super::abigen;
    abigen!(
        OpenToken,
        r#"[
            function balanceOf(address account) external view returns (uint256)
            function allowance(address owner, address spender) external view returns (uint256)
            function approve(address spender, uint256 amount) external returns (bool)
            function transfer(address to, uint256 amount) external returns (bool)
            function totalSupply() external view returns (uint256)
        ]"#
    );
}

/// `Deployer`
pub mod deployer {
    use super::abigen;
    abigen!(
        Deployer,
        r#"[
            function token() external view returns (address)
            function config() external view returns (address)
            function anchor() external view returns (address)
            function registry() external view returns (address)
            function gameImpl() external view returns (address)
            function factory() external view returns (address)
            function portal() external view returns (address)
            function messenger() external view returns (address)
            function bridge() external view returns (address)
        ]"#
    );
}

/// Errors of the contracts, so that a refusal can be named.
pub const ERRORS: &[&str] = &[
    "AlreadyInitialized()",
    "AnchorStateRegistry_InvalidAnchorGame()",
    "AnchorStateRegistry_NotAGame()",
    "AnchorStateRegistry_Unauthorized()",
    "BadExtraData()",
    "BeefyAnchor_BadSetup()",
    "BeefyAnchor_BadSignature(uint256 validator)",
    "BeefyAnchor_BitmapLength()",
    "BeefyAnchor_BitmapPadding()",
    "BeefyAnchor_Frozen()",
    "BeefyAnchor_HighS(uint256 validator)",
    "BeefyAnchor_NoConflict()",
    "BeefyAnchor_NoQuorum(uint256 given, uint256 needed)",
    "BeefyAnchor_NotAnchored()",
    "BeefyAnchor_OldBlock()",
    "BeefyAnchor_SignaturesLength()",
    "BeefyAnchor_Stale()",
    "BeefyAnchor_UnknownSet()",
    "BeefyAnchor_WrongHandover()",
    "BeefyAnchor_WrongRoot()",
    "BeefyAnchor_WrongV(uint256 validator)",
    "BeefyAnchor_WrongValidators()",
    "BeefyAnchor_ZeroRoot()",
    "BeefyLeaf_WrongDomain()",
    "BeefyLeaf_WrongLength()",
    "BeefyLeaf_WrongNumber()",
    "BeefyLeaf_WrongVersion()",
    "BeefyOutputGame_AlreadyChallenged()",
    "BeefyOutputGame_AlreadyProven()",
    "BeefyOutputGame_AnchorTooOld()",
    "BeefyOutputGame_ClaimMismatch()",
    "BeefyOutputGame_NotChallenged()",
    "BeefyOutputGame_NotFactory()",
    "BeefyOutputGame_TooLate()",
    "BondTransferFailed()",
    "ClockNotExpired()",
    "Deployer_WrongAddress()",
    "GameAlreadyExists(bytes32 uuid)",
    "GameNotInProgress()",
    "IncorrectBondAmount()",
    "InsufficientAllowance()",
    "InsufficientBalance()",
    "L1CrossDomainMessenger_AlreadyRelayed()",
    "L1CrossDomainMessenger_BadTarget()",
    "L1CrossDomainMessenger_NoEther()",
    "L1CrossDomainMessenger_NoSender()",
    "L1CrossDomainMessenger_NotRelayable()",
    "L1CrossDomainMessenger_Reentrant()",
    "L1StandardBridge_BadAmount()",
    "L1StandardBridge_BadExtraData()",
    "L1StandardBridge_NotOtherBridge()",
    "L1StandardBridge_WrongBalance()",
    "L1StandardBridge_WrongToken()",
    "L1StandardBridge_ZeroAddress()",
    "Mmr_LeafOutOfRange()",
    "Mmr_WrongProofLength(uint256 expected)",
    "NoCreditToClaim()",
    "NoImplementation(uint32 gameType)",
    "OpenToken_LockAboveCap()",
    "OpenToken_ZeroAddress()",
    "OptimismPortal_AlreadyFinalized()",
    "OptimismPortal_BadNonce()",
    "OptimismPortal_BadTarget()",
    "OptimismPortal_BridgeCallFailed()",
    "OptimismPortal_CallPaused()",
    "OptimismPortal_CalldataTooLarge()",
    "OptimismPortal_GasLimitTooLow()",
    "OptimismPortal_ImproperDisputeGame()",
    "OptimismPortal_InvalidDisputeGame()",
    "OptimismPortal_InvalidMerkleProof()",
    "OptimismPortal_InvalidOutputRootProof()",
    "OptimismPortal_InvalidProofTimestamp()",
    "OptimismPortal_InvalidRootClaim()",
    "OptimismPortal_NoCreation()",
    "OptimismPortal_NoEther()",
    "OptimismPortal_NoReentrancy()",
    "OptimismPortal_ProofNotOldEnough()",
    "OptimismPortal_TooManyDeposits()",
    "OptimismPortal_Unproven()",
    "OptimismPortal_WrongProofLength()",
    "SafeCall_NotEnoughGas()",
    "SuperchainConfig_BadSetup()",
    "SuperchainConfig_CoolingDown(uint256 allowedFrom)",
    "SuperchainConfig_NotPaused()",
    "SuperchainConfig_OnlyAnchor()",
    "SuperchainConfig_OnlyGuardian()",
    "TransferFromFailed()",
];

/// Errors that say that somebody else was first.
pub const LOST_RACES: &[&str] = &[
    "BeefyAnchor_OldBlock",
    "BeefyOutputGame_AlreadyChallenged",
    "BeefyOutputGame_AlreadyProven",
    "GameAlreadyExists",
    "GameNotInProgress",
    "NoCreditToClaim",
    "OptimismPortal_AlreadyFinalized",
];
