//! Calls of the pallet Marketplace.

use super::calls;
use tributary_primitives::{
    signing::Voucher, AccountId, Balance, ChannelId, ModelId, MultiSignature,
};

calls! { "Marketplace":
    /// Offers a model at a price, or changes the price.
    "list_model" ListModel {
        /// The model.
        model: ModelId,
        /// Price per 1,000 prompt tokens, in units.
        #[codec(compact)]
        price_in: Balance,
        /// Price per 1,000 answer tokens, in units.
        #[codec(compact)]
        price_out: Balance,
    }
    /// Offers a model no longer.
    "delist_model" DelistModel {
        /// The model.
        model: ModelId,
    }
    /// Opens a channel from the signer to a worker.
    "open_channel" OpenChannel {
        /// Who is paid.
        worker: AccountId,
        /// What is put in, in units.
        #[codec(compact)]
        deposit: Balance,
    }
    /// Puts more into a channel.
    "top_up" TopUp {
        /// The channel.
        channel: ChannelId,
        /// How much, in units.
        #[codec(compact)]
        amount: Balance,
    }
    /// Takes what was spent, up to what the voucher promises.
    "redeem" Redeem {
        /// The voucher.
        voucher: Voucher,
        /// Signature by the consumer.
        signature: MultiSignature,
        /// Everything spent so far, in units: at most what the voucher promises.
        #[codec(compact)]
        total: Balance,
    }
    /// Closes a channel: at once by the worker, after a delay by the consumer.
    "close_channel" CloseChannel {
        /// The channel.
        channel: ChannelId,
    }
    /// Gives back what is left in a closed channel, after the delay.
    "settle_channel" SettleChannel {
        /// The channel.
        channel: ChannelId,
    }
}
