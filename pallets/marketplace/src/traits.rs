//! What this pallet needs of others.

use tributary_primitives::{AccountId, Balance, ModelId};

/// Knows who owns which model.
pub trait Models {
    /// Owner of the model; `None` if there is no such model.
    fn owner(model: ModelId) -> Option<AccountId>;
}

/// Takes what workers redeem.
pub trait Revenue {
    /// Account that redeemed money moves to. It must exist before the first voucher is redeemed,
    /// since an account cannot come into being with less than the existential deposit.
    fn pot() -> AccountId;

    /// Books that `amount` units moved to the pot for `worker`.
    fn redeemed(worker: &AccountId, amount: Balance);
}

/// Knows which workers there are.
pub trait Workers {
    /// Whether the account is a registered worker.
    fn is_registered(worker: &AccountId) -> bool;
}
