//! Calls of the pallet Stakes.

use super::calls;
use tributary_primitives::{AccountId, Balance, Subject};

calls! { "Stakes":
    /// Puts stake behind a subject.
    "bond" Bond {
        /// What it stands behind.
        subject: Subject,
        /// How much, in units.
        #[codec(compact)]
        amount: Balance,
    }
    /// Begins to take stake out; it stays slashable until the delay is over.
    "unbond" Unbond {
        /// What it stands behind.
        subject: Subject,
        /// How much, in units.
        #[codec(compact)]
        amount: Balance,
    }
    /// Takes out what has waited long enough.
    "withdraw_unbonded" WithdrawUnbonded {
        /// What it stood behind.
        subject: Subject,
    }
    /// Takes the rewards.
    "claim_rewards" ClaimRewards {
        /// What the stake stands behind.
        subject: Subject,
    }
    /// Slashes a subject; by governance.
    "slash" Slash {
        /// The subject.
        subject: Subject,
        /// How much of each stake, in parts per million.
        ppm: u32,
        /// Who reported it and gets a share.
        reporter: Option<AccountId>,
    }
}
