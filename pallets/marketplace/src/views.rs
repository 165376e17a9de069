//! What the runtime API answers.

use crate::{types::Channel, Channels, ChannelsOf, Config, Listings, Pallet};
use alloc::{collections::BTreeSet, vec::Vec};
use tributary_primitives::{
    views::{ChannelView, ListingView, MAX_PAGE},
    AccountId, ChannelId, ModelId,
};

fn channel_view(id: ChannelId, channel: Channel) -> ChannelView {
    let Channel { consumer, worker, deposit, redeemed, closes_at } = channel;
    ChannelView { id, consumer, worker, deposit, redeemed, closes_at }
}

impl<T: Config> Pallet<T> {
    /// The prices of a model; `None` if it is not listed.
    pub fn view_listing(model: ModelId) -> Option<ListingView> {
        Listings::<T>::get(model).map(|listing| ListingView {
            model,
            price_in: listing.price_in,
            price_out: listing.price_out,
        })
    }

    /// Listings in the order of the models' ids, from `from` on.
    pub fn view_listings(from: ModelId, limit: u32) -> Vec<ListingView> {
        let limit = usize::try_from(limit.min(MAX_PAGE)).unwrap_or(0);
        // Keys come in the order of their hashes; only the lowest `limit` are kept.
        let mut page = BTreeSet::new();
        for model in Listings::<T>::iter_keys().filter(|model| *model >= from) {
            page.insert(model);
            if page.len() > limit {
                page.pop_last();
            }
        }
        page.into_iter().filter_map(Self::view_listing).collect()
    }

    /// A channel; `None` if it is unknown or settled.
    pub fn view_channel(id: ChannelId) -> Option<ChannelView> {
        Channels::<T>::get(id).map(|channel| channel_view(id, channel))
    }

    /// A consumer's channels, oldest first.
    pub fn view_channels_of(consumer: AccountId) -> Vec<ChannelView> {
        ChannelsOf::<T>::get(consumer).into_iter().filter_map(Self::view_channel).collect()
    }
}
