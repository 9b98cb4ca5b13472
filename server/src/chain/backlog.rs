//! Escrows that were added late and the blocks they still have to be looked for in.

use aegis_common::chain::WatchKey;
use aegis_common::ids::EscrowId;

use super::Fact;
use super::watch_list::Snapshot;

/// Blocks `next..=end` are still to be looked through for the addition of this number.
#[derive(Debug, Clone, Copy)]
struct Task {
    number: u64,
    escrow: EscrowId,
    from: u64,
    next: u64,
    end: u64,
}

/// Tasks at the same block share its fetch and its scan: the lowest goes first until it meets the others.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    known: u64,
    tasks: Vec<Task>,
}

impl Backlog {
    /// Takes in escrows added since the last time, and drops removed ones. `done` is the last processed
    /// block.
    pub fn refresh(&mut self, list: &Snapshot, done: u64) {
        self.tasks
            .retain(|task| list.entries.binary_search_by_key(&task.number, |entry| entry.number).is_ok());
        let first = list.after(self.known);
        for (entry, key) in list.entries.iter().zip(list.keys.iter()).skip(first) {
            // Where nothing is to be looked through the task is finished as it begins.
            if let Some(from) = entry.behind_from {
                self.tasks.push(Task {
                    number: entry.number,
                    escrow: key.escrow(),
                    from,
                    next: from,
                    end: done,
                });
            }
        }
        self.known = list.last;
    }

    /// The chain was undone above the height; what comes there instead is new to everybody.
    pub fn roll_back(&mut self, to: u64) {
        for task in &mut self.tasks {
            task.end = task.end.min(to);
        }
    }

    /// The last block that anybody still has to be looked for in.
    pub fn last(&self) -> Option<u64> {
        self.tasks.iter().filter(|task| task.next <= task.end).map(|task| task.end).max()
    }

    /// The next block to look at, and the keys to look for.
    pub fn next(&self, list: &Snapshot) -> Option<(u64, Vec<WatchKey>)> {
        let height = self.tasks.iter().filter(|task| task.next <= task.end).map(|task| task.next).min()?;
        let due = self.tasks.iter().filter(|task| task.next == height && task.next <= task.end);
        let keys = due.filter_map(|task| {
            let at = list.entries.binary_search_by_key(&task.number, |entry| entry.number).ok()?;
            list.keys.get(at).cloned()
        });
        Some((height, keys.collect()))
    }

    /// The block was looked through for all who were due.
    pub fn done(&mut self, height: u64) {
        for task in &mut self.tasks {
            if task.next == height && task.next <= task.end {
                task.next += 1;
            }
        }
    }

    /// What to tell of an escrow that has caught up; to be dropped once that was told.
    pub fn finished(&self) -> Option<Fact> {
        let done = self.tasks.iter().find(|task| task.next > task.end)?;
        Some(Fact::CaughtUp { escrow: done.escrow, from: done.from, number: done.number })
    }

    pub fn drop_finished(&mut self) {
        if let Some(place) = self.tasks.iter().position(|task| task.next > task.end) {
            self.tasks.remove(place);
        }
    }
}
