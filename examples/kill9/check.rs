//! Counts what is stored of each command.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    fs,
    path::PathBuf,
};

use eventcore::{CommitId, EventStore};

use crate::{
    REFUSED,
    domain::{PARTS, Wrote},
    verdict::Verdict,
};

/// The parts of one command that are stored, and the commits that they are in.
#[derive(Default)]
struct Stored {
    parts: [usize; PARTS],
    commits: HashSet<CommitId>,
}

pub async fn check(
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
        let said = fs::read_to_string(path)?;
        let numbers = said.lines().filter_map(refused_number);
        verdict.refused_yet_stored += numbers.filter(|number| stored.contains_key(number)).count();
    }
    Ok(verdict)
}

/// The number of the command of which this line says that nothing is stored.
fn refused_number(line: &str) -> Option<u64> {
    let (number, said) = line.split_once(' ')?;
    let (what, _) = said.split_once(':')?;
    number.parse().ok().filter(|_| what == REFUSED)
}
