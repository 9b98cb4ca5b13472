//! One page of a list as one query: the merger of stretches, each read in the order of an index, or, where few escrows come
//! into question, those sorted. One query, because between two an escrow could go from one stretch to another and be missed.

use aegis_common::escrow::state::Status;
use aegis_common::role::Role;
use aegis_common::wire::list::{Direction, EscrowSort};

use super::{ListFilter, ListOrder, ListPosition, role_place, status_place};
use crate::store::error::StoreError;
use crate::store::types::{DbUuid, amount};
use crate::store::written::Written;

/// A page: its filter in the form of the columns, its order, where it begins.
pub(super) struct Page {
    user: DbUuid,
    roles: Vec<i32>,
    statuses: Vec<i32>,
    /// Inclusive, in unix milliseconds.
    created: [Option<i64>; 2],
    /// Inclusive, in piconero.
    amount: [Option<i64>; 2],
    sort: EscrowSort,
    descending: bool,
    after: Option<ListPosition>,
    limit: i64,
    /// The only escrows that come into question.
    pub among: Option<Vec<DbUuid>>,
    /// A party that each row is tested for.
    pub with: Option<DbUuid>,
    /// Patterns that the words of each row are tested for.
    pub like: Vec<String>,
    /// Whether the stretches stand bare in the merger, or each with its own order and limit; see [`crate::store::dialect::merges_bare`].
    pub bare: bool,
}

impl Page {
    pub fn new(
        user: DbUuid,
        filter: &ListFilter,
        order: ListOrder,
        after: Option<ListPosition>,
        limit: i64,
    ) -> Result<Self, StoreError> {
        let all = filter.statuses.is_empty().then_some(Status::ALL.as_slice());
        let statuses = all.unwrap_or(&filter.statuses).iter().map(|status| status_place(*status));
        let roles = filter.role.map_or(Role::ALL.to_vec(), |role| vec![role]);
        let created_to = filter.created_to.map(|to| to.as_millisecond().saturating_sub(1));
        Ok(Self {
            user,
            roles: roles.into_iter().map(role_place).collect(),
            statuses: statuses.collect(),
            created: [filter.created_from.map(|from| from.as_millisecond()), created_to],
            amount: [filter.amount_min.map(amount).transpose()?, filter.amount_max.map(amount).transpose()?],
            sort: order.sort,
            descending: order.direction == Direction::Desc,
            after,
            limit,
            among: None,
            with: None,
            like: Vec::new(),
            bare: false,
        })
    }

    /// The query; `None` where nothing can follow the row before. Its columns: key, creation, escrow, part, version, snapshot,
    /// last change.
    pub fn query(&self, head: &'static str) -> Option<Written> {
        let mut out = Written::new(head);
        out.sql("SELECT CAST(found.sort_key AS BIGINT), found.created_at, escrows.id, found.role, ");
        out.sql("escrows.version, escrows.snapshot, escrows.updated_at FROM (");
        match &self.among {
            Some(ids) => self.few(ids, &mut out),
            None if self.merged(&mut out) => {}
            None => return None,
        }
        self.order(&mut out);
        out.sql(") AS found JOIN escrows ON escrows.id = found.escrow_id");
        Some(out)
    }

    /// A stretch of an index for each part and status; whether there is any.
    fn merged(&self, out: &mut Written) -> bool {
        let mut any = false;
        for role in &self.roles {
            for status in self.statuses.iter().filter(|status| self.is_ahead(**status)) {
                out.sql(if any { " UNION ALL " } else { "" });
                any = true;
                out.sql(if self.bare { "" } else { "SELECT * FROM (" });
                self.select(out);
                out.sql(" AND role = ").int(*role);
                self.within(*status, out);
                self.bounds(out);
                self.tests(out);
                if !self.bare {
                    self.order(out);
                    out.sql(") AS stretch");
                }
            }
        }
        any
    }

    /// The stretch of a status, or what of it follows the row before.
    fn within(&self, status: i32, out: &mut Written) {
        let (columns, key) = match self.sort {
            EscrowSort::Status => return self.range(status, out),
            EscrowSort::Created => (" AND (created_at, escrow_id)", false),
            EscrowSort::Updated => (" AND (updated_at, created_at, escrow_id)", true),
            EscrowSort::Amount => (" AND (amount, created_at, escrow_id)", true),
        };
        out.sql(" AND status = ").int(status);
        if let Some(after) = self.after {
            out.sql(columns);
            self.position(key.then_some(after.key), after, out);
        }
    }

    /// The same where statuses are what is sorted by: as a range, since of a column that equals a constant planners no longer know
    /// that it gives the order. Of the two ends of the range the row before takes the place of one.
    fn range(&self, status: i32, out: &mut Written) {
        let after = self.after.filter(|after| after.key == i64::from(status));
        if after.is_none() || self.descending {
            out.sql(" AND status >= ").int(status);
        }
        if after.is_none() || !self.descending {
            out.sql(" AND status <= ").int(status);
        }
        if let Some(after) = after {
            out.sql(" AND (status, created_at, escrow_id)");
            self.position(Some(after.key), after, out);
        }
    }

    /// The rows of these escrows. The signs keep the indexes of sorts out: the few are found by their ids.
    fn few(&self, ids: &[DbUuid], out: &mut Written) {
        self.select(out);
        out.sql(" AND escrow_id IN (").list(ids, |out, id| {
            out.id(*id);
        });
        let places = |out: &mut Written, place: &i32| {
            out.int(*place);
        };
        out.sql(") AND +role IN (").list(&self.roles, places);
        out.sql(") AND +status IN (").list(&self.statuses, places).sql(")");
        bounded(out, ["+created_at >= ", "+created_at <= "], self.created);
        bounded(out, ["+amount >= ", "+amount <= "], self.amount);
        if let Some(after) = self.after {
            out.sql(match self.sort {
                EscrowSort::Created => " AND (+created_at, created_at, escrow_id)",
                EscrowSort::Updated => " AND (+updated_at, created_at, escrow_id)",
                EscrowSort::Amount => " AND (+amount, created_at, escrow_id)",
                EscrowSort::Status => " AND (+status, created_at, escrow_id)",
            });
            self.position(Some(after.key), after, out);
        }
        self.tests(out);
    }

    fn select(&self, out: &mut Written) {
        out.sql(match self.sort {
            EscrowSort::Created => "SELECT escrow_id, role, created_at AS sort_key",
            EscrowSort::Updated => "SELECT escrow_id, role, updated_at AS sort_key",
            EscrowSort::Amount => "SELECT escrow_id, role, amount AS sort_key",
            EscrowSort::Status => "SELECT escrow_id, role, status AS sort_key",
        });
        out.sql(", created_at FROM escrow_list WHERE user_id = ").id(self.user);
    }

    /// Bounds of columns. On one that the list is not sorted by a sign keeps planners from reading in its order and sorting.
    fn bounds(&self, out: &mut Written) {
        let created = match self.sort {
            EscrowSort::Created | EscrowSort::Status => ["created_at >= ", "created_at <= "],
            EscrowSort::Updated | EscrowSort::Amount => ["+created_at >= ", "+created_at <= "],
        };
        let amount = match self.sort {
            EscrowSort::Amount => ["amount >= ", "amount <= "],
            _ => ["+amount >= ", "+amount <= "],
        };
        bounded(out, created, self.created);
        bounded(out, amount, self.amount);
    }

    /// Whether rows of this status can follow the row before.
    fn is_ahead(&self, status: i32) -> bool {
        match self.after {
            Some(after) if self.sort == EscrowSort::Status => {
                let status = i64::from(status);
                if self.descending { status <= after.key } else { status >= after.key }
            }
            _ => true,
        }
    }

    fn position(&self, key: Option<i64>, after: ListPosition, out: &mut Written) {
        out.sql(if self.descending { " < (" } else { " > (" });
        if let Some(key) = key {
            out.big(key).sql(", ");
        }
        out.big(after.created).sql(", ").id(after.id.into()).sql(")");
    }

    /// What is tested row by row. As scalar subqueries: planners leave those where they stand, behind the order of the index.
    fn tests(&self, out: &mut Written) {
        if let Some(with) = self.with {
            out.sql(" AND (SELECT other.role FROM escrow_list AS other WHERE other.user_id = ").id(with);
            out.sql(" AND other.escrow_id = escrow_list.escrow_id) >= 0");
        }
        for pattern in &self.like {
            out.sql(" AND (SELECT named.words FROM escrow_list AS named WHERE named.user_id = ")
                .id(self.user);
            out.sql(" AND named.escrow_id = escrow_list.escrow_id) LIKE ").text(pattern);
        }
    }

    fn order(&self, out: &mut Written) {
        out.sql(match (self.sort, self.descending) {
            (EscrowSort::Created, false) => " ORDER BY created_at, escrow_id",
            (EscrowSort::Created, true) => " ORDER BY created_at DESC, escrow_id DESC",
            (_, false) => " ORDER BY sort_key, created_at, escrow_id",
            (_, true) => " ORDER BY sort_key DESC, created_at DESC, escrow_id DESC",
        });
        out.sql(" LIMIT ").big(self.limit);
    }
}

fn bounded(out: &mut Written, columns: [&'static str; 2], bounds: [Option<i64>; 2]) {
    for (column, bound) in columns.into_iter().zip(bounds) {
        if let Some(bound) = bound {
            out.sql(" AND ").sql(column).big(bound);
        }
    }
}
