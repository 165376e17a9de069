//! What must hold at every block.

use crate::{
    datanets::{is_licence, is_name},
    Agenda, Ballots, ByContent, ByName, Config, Contribution, Contributions, Datanet, Datanets,
    Frontiers, HoldReason, InDatanet, Log, NextContribution, NextDatanet, OfPayout, Pallet,
    Rejections, SponsorUsage, State, Versions,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use polkadot_sdk::{
    frame_support::{ensure, traits::fungible::hold},
    sp_runtime::TryRuntimeError,
};
use tributary_primitives::{
    log::{members, LogEntry},
    tree::Frontier,
    AccountId, Balance, ContributionId, DatanetId,
};

type Checked = Result<(), TryRuntimeError>;
type Nets = BTreeMap<DatanetId, Datanet>;
type Rows = BTreeMap<ContributionId, Contribution>;

impl<T: Config> Pallet<T> {
    /// 1. Datanets have ids below the next, valid names that lead back to them, and valid policies.
    /// 2. Contributions have ids below the next and stand once, where they say, in their datanet's
    ///    list and in that of their payout account; the lists hold nothing else.
    /// 3. Content leads to its contribution, unless that was rejected; rejections are remembered.
    /// 4. The agenda names the contributions under review, each once in the block where it is due;
    ///    no block of it is past or empty.
    /// 5. Votes exist only for contributions under review, one for each voter.
    /// 6. The log replays to the accepted contributions; its tree and the totals agree with it.
    /// 7. Versions are numbered without gaps, grow, and have the roots of the log's beginnings.
    /// 8. Owners have on hold what their datanets' deposits add up to.
    /// 9. Rows that belong to a datanet belong to one that exists.
    pub fn do_try_state() -> Checked {
        let nets: Nets = Datanets::<T>::iter().collect();
        let rows: Rows = Contributions::<T>::iter().collect();
        Self::check_datanets(&nets)?;
        Self::check_contributions(&nets, &rows)?;
        Self::check_contents(&rows)?;
        Self::check_agenda(&rows)?;
        Self::check_ballots(&rows)?;
        for (id, net) in &nets {
            let entries = Self::check_log(*id, net, &rows)?;
            Self::check_versions(*id, net, &entries)?;
        }
        Self::check_deposits(&nets)?;
        Self::check_orphans(&nets)
    }

    fn check_datanets(nets: &Nets) -> Checked {
        for (id, net) in nets {
            ensure!(*id < NextDatanet::<T>::get(), "a datanet's id was never given");
            ensure!(is_name(&net.name), "a datanet's name is invalid");
            ensure!(is_licence(&net.licence), "a datanet's licence is invalid");
            ensure!(ByName::<T>::get(&net.name) == Some(*id), "a name does not lead back");
            ensure!(Self::check_policy(&net.policy).is_ok(), "a policy is invalid");
        }
        ensure!(ByName::<T>::iter().count() == nets.len(), "a name leads nowhere");
        Ok(())
    }

    fn check_contributions(nets: &Nets, rows: &Rows) -> Checked {
        for (id, row) in rows {
            ensure!(*id < NextContribution::<T>::get(), "a contribution's id was never given");
            ensure!(nets.contains_key(&row.datanet), "a contribution has no datanet");
            ensure!(
                InDatanet::<T>::get(row.datanet, row.position) == Some(*id),
                "a contribution is not where it says"
            );
            ensure!(
                OfPayout::<T>::contains_key(&row.payout, id),
                "a contribution is missing at its payout account"
            );
            ensure!(
                row.records > 0 && row.bytes >= u64::from(row.records),
                "a contribution's size is impossible"
            );
        }
        let submitted: u64 = nets.values().map(|net| u64::from(net.contributions)).sum();
        ensure!(submitted == rows.len() as u64, "a datanet miscounts its contributions");
        ensure!(InDatanet::<T>::iter().count() == rows.len(), "a position leads nowhere");
        ensure!(OfPayout::<T>::iter().count() == rows.len(), "a payout account's row is orphaned");
        Ok(())
    }

    fn check_contents(rows: &Rows) -> Checked {
        let rejected = rows.values().filter(|row| row.state == State::Rejected).count();
        for (id, row) in rows {
            if row.state == State::Rejected {
                ensure!(
                    Rejections::<T>::get(row.datanet, row.content) == Some(*id),
                    "a rejection is forgotten"
                );
            } else {
                ensure!(
                    ByContent::<T>::get(row.content) == Some(*id),
                    "content does not lead to its contribution"
                );
            }
        }
        ensure!(Rejections::<T>::iter().count() == rejected, "a rejection is orphaned");
        ensure!(
            ByContent::<T>::iter().count() == rows.len().saturating_sub(rejected),
            "content leads nowhere"
        );
        Ok(())
    }

    fn check_agenda(rows: &Rows) -> Checked {
        let mut planned: Vec<_> = rows
            .iter()
            .filter_map(|(id, row)| match row.state {
                State::Pending { due } => due.map(|due| (due, *id)),
                _ => None,
            })
            .collect();
        let mut found = Vec::new();
        for (due, ids) in Agenda::<T>::iter() {
            ensure!(due > Self::now(), "the agenda was not settled");
            ensure!(!ids.is_empty(), "an empty block stands on the agenda");
            found.extend(ids.into_iter().map(|id| (due, id)));
        }
        planned.sort();
        found.sort();
        ensure!(planned == found, "the agenda is not what is under review");
        Ok(())
    }

    fn check_ballots(rows: &Rows) -> Checked {
        for (id, votes) in Ballots::<T>::iter() {
            let pending =
                rows.get(&id).is_some_and(|row| matches!(row.state, State::Pending { .. }));
            ensure!(pending, "votes are kept on what is decided");
            let voters: BTreeSet<_> = votes.iter().map(|(voter, _)| voter).collect();
            ensure!(!votes.is_empty() && voters.len() == votes.len(), "somebody voted twice");
        }
        Ok(())
    }

    fn check_log(
        id: DatanetId,
        net: &Datanet,
        rows: &Rows,
    ) -> Result<Vec<LogEntry>, TryRuntimeError> {
        let length = Frontiers::<T>::get(id).length;
        ensure!(
            Log::<T>::iter_key_prefix(id).count() == length as usize,
            "a log has rows past its end"
        );
        let mut tree = Frontier::default();
        let mut entries = Vec::new();
        for position in 0..length {
            let entry = Log::<T>::get(id, position).ok_or("a log has a gap")?;
            ensure!(tree.append(entry.leaf()) == Some(position), "a log is too long");
            entries.push(entry);
        }
        ensure!(tree == Frontiers::<T>::get(id), "a log and its tree differ");

        let logged: BTreeSet<_> = members(&entries).into_iter().collect();
        let accepted: BTreeMap<_, _> = rows
            .iter()
            .filter(|(_, row)| row.datanet == id && matches!(row.state, State::Accepted { .. }))
            .collect();
        ensure!(
            logged == accepted.iter().map(|(id, row)| (**id, row.content)).collect(),
            "a log does not replay to what was accepted"
        );
        ensure!(net.live as usize == accepted.len(), "a datanet miscounts what is live");
        let records: u64 = accepted.values().map(|row| u64::from(row.records)).sum();
        let bytes: u64 = accepted.values().map(|row| row.bytes).sum();
        ensure!(
            (net.live_records, net.live_bytes) == (records, bytes),
            "a datanet misjudges its size"
        );
        Ok(entries)
    }

    fn check_versions(id: DatanetId, net: &Datanet, entries: &[LogEntry]) -> Checked {
        ensure!(
            Versions::<T>::iter_key_prefix(id).count() == net.versions as usize,
            "a datanet miscounts its versions"
        );
        let mut tree = Frontier::default();
        for number in 1..=net.versions {
            let version = Versions::<T>::get(id, number).ok_or("versions have a gap")?;
            let (from, to) = (tree.length as usize, version.length as usize);
            let new = entries.get(from..to).ok_or("a version covers what is not there")?;
            ensure!(!new.is_empty(), "a version brings nothing");
            for entry in new {
                ensure!(tree.append(entry.leaf()).is_some(), "a log is too long");
            }
            ensure!(tree.root() == version.root, "a version's root is not that of the log");
            let covered = entries.get(..to).unwrap_or_default();
            ensure!(
                members(covered).len() == version.contributions as usize,
                "a version miscounts its contributions"
            );
        }
        Ok(())
    }

    fn check_deposits(nets: &Nets) -> Checked {
        let mut deposits: BTreeMap<&AccountId, Balance> = BTreeMap::new();
        for net in nets.values() {
            let sum = deposits.entry(&net.owner).or_default();
            *sum = sum.saturating_add(net.deposit);
        }
        for (owner, deposit) in deposits {
            let held = <T::Currency as hold::Inspect<AccountId>>::balance_on_hold(
                &HoldReason::Datanet.into(),
                owner,
            );
            ensure!(held == deposit, "an owner's hold is not what the deposits add up to");
        }
        Ok(())
    }

    fn check_orphans(nets: &Nets) -> Checked {
        let known = |id: &DatanetId| nets.contains_key(id);
        ensure!(Frontiers::<T>::iter_keys().all(|id| known(&id)), "a tree has no datanet");
        ensure!(Log::<T>::iter_keys().all(|(id, _)| known(&id)), "a log has no datanet");
        ensure!(Versions::<T>::iter_keys().all(|(id, _)| known(&id)), "a version has no datanet");
        ensure!(SponsorUsage::<T>::iter_keys().all(|id| known(&id)), "usage has no datanet");
        Ok(())
    }
}
