//! Counts what is stored of each command.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    fs,
    path::PathBuf,
};

use eventcore::{CommitId, EventStore};
use eventcore_faults::verdict::Verdict;

use super::{
    domain::{PARTS, Wrote},
    failure::Failure,
};

/// The parts of one command that are stored, and the commits that they are in.
#[derive(Default)]
struct Stored {
    parts: [usize; PARTS],
    commits: HashSet<CommitId>,
}

pub(crate) async fn check(
    store: &impl EventStore,
    acknowledged: &[PathBuf],
    refused: &[PathBuf],
) -> Result<Verdict, Box<dyn Error>> {
    let mut verdict = Verdict::default();
    let mut stored: HashMap<u64, Stored> = HashMap::new();
    verdict
        .read_log(store, |event| {
            let Wrote { number, part } = event.decode()?;
            let command = stored.entry(number).or_default();
            command.commits.insert(event.commit_id());
            let part = command.parts.get_mut(part);
            *part.ok_or("an event with an unknown part")? += 1;
            Ok::<_, Box<dyn Error>>(())
        })
        .await?;
    for command in stored.values() {
        verdict.doubled +=
            usize::from(command.parts.iter().any(|count| *count > 1) || command.commits.len() > 1);
        verdict.torn += usize::from(command.parts.contains(&0));
    }
    verdict.stored = stored.len();
    verdict.count(acknowledged, |number| stored.contains_key(&number))?;
    for path in refused {
        let reported = fs::read_to_string(path)?;
        let failures = reported.lines().filter_map(|line| line.parse().ok());
        verdict.refused_yet_stored += failures
            .filter(|failure: &Failure| failure.refused && stored.contains_key(&failure.number))
            .count();
    }
    Ok(verdict)
}
