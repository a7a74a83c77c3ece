//! The arguments of the function `append` (`sql/schema_1.sql`).

use std::collections::HashMap;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::postgres::{
    convert::{Json, big, int},
    write::batch::Job,
};
use crate::{
    event::EventId,
    store::{AppendRequest, IdempotencyKey},
};

/// The arguments of `append`, with the same names and in the same order. All numbers count from 1.
pub(crate) struct Arguments<'a> {
    stream_names: Vec<&'a str>,
    stream_categories: Vec<i32>,
    stream_commits: Vec<i32>,
    expected_versions: Vec<i64>,
    expected_ids: Vec<Option<Uuid>>,
    commit_ids: Vec<Uuid>,
    commit_counts: Vec<i32>,
    commit_firsts: Vec<i32>,
    commit_keys: Option<Vec<Option<&'a str>>>,
    commit_fingerprints: Option<Vec<Option<&'a [u8]>>>,
    commit_metadata: Option<Vec<Option<Json<Vec<u8>>>>>,
    categories: Vec<&'a str>,
    type_categories: Vec<i32>,
    type_names: Vec<&'a str>,
    event_commits: Vec<i32>,
    event_streams: Vec<i32>,
    event_numbers: Option<Vec<i32>>,
    event_gaps: Option<Vec<i32>>,
    event_types: Vec<i32>,
    event_ids: Vec<Uuid>,
    event_payloads: Vec<Json<&'a [u8]>>,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(jobs: &'a [Job]) -> Result<Self, serde_json::Error> {
        let requests = || jobs.iter().map(|job| &job.request);
        let keys = || requests().map(AppendRequest::idempotency_key);
        let with_metadata = requests().any(|request| !request.metadata().is_empty());
        let streams = requests().map(|request| request.expected().len()).sum();
        let events = requests().map(|request| request.events().len()).sum();
        let mut arguments = Self {
            stream_names: Vec::with_capacity(streams),
            stream_categories: Vec::with_capacity(streams),
            stream_commits: Vec::with_capacity(streams),
            expected_versions: Vec::with_capacity(streams),
            expected_ids: Vec::with_capacity(streams),
            commit_ids: Vec::with_capacity(jobs.len()),
            commit_counts: Vec::with_capacity(jobs.len()),
            commit_firsts: Vec::with_capacity(jobs.len()),
            commit_keys: keys()
                .any(|key| key.is_some())
                .then(|| keys().map(|key| key.map(IdempotencyKey::as_str)).collect()),
            commit_fingerprints: keys()
                .flatten()
                .any(|key| key.fingerprint().is_some())
                .then(|| keys().map(fingerprint).collect()),
            commit_metadata: with_metadata
                .then(|| requests().map(metadata).collect())
                .transpose()?,
            categories: Vec::new(),
            type_categories: Vec::new(),
            type_names: Vec::new(),
            event_commits: Vec::with_capacity(events),
            event_streams: Vec::with_capacity(events),
            event_numbers: None,
            event_gaps: None,
            event_types: Vec::with_capacity(events),
            event_ids: Vec::with_capacity(events),
            event_payloads: Vec::with_capacity(events),
        };
        let mut names = Names::default();
        for request in requests() {
            arguments.add(request, &mut names);
        }
        Ok(arguments)
    }

    fn add(&mut self, request: &'a AppendRequest, names: &mut Names<'a>) {
        let commit = int(self.commit_ids.len() + 1);
        let streams_before = self.stream_names.len();
        for expected in request.expected() {
            let category = *names
                .categories
                .entry(expected.stream.category())
                .or_insert_with_key(|category| {
                    self.categories.push(category);
                    int(self.categories.len())
                });
            self.stream_names.push(expected.stream.as_str());
            self.stream_categories.push(category);
            self.stream_commits.push(commit);
            self.expected_versions.push(big(expected.version.get()));
            self.expected_ids
                .push(expected.event_id.map(EventId::as_uuid));
        }
        self.commit_ids.push(request.commit_id().as_uuid());
        self.commit_firsts.push(int(self.event_streams.len() + 1));
        self.commit_counts.push(int(request.events().len()));
        // The number of events that each stream has got so far, and the index of the last of them.
        let mut got = vec![(0, 0_usize); request.expected().len()];
        for (index, event) in request.events().iter().enumerate() {
            let stream = streams_before + event.stream;
            let Some(((count, last), category)) = got
                .get_mut(event.stream)
                .zip(self.stream_categories.get(stream).copied())
            else {
                continue; // `AppendRequest` has checked it.
            };
            let event_type = *names
                .types
                .entry((category, event.type_name))
                .or_insert_with(|| {
                    self.type_categories.push(category);
                    self.type_names.push(event.type_name);
                    int(self.type_names.len())
                });
            let before = self.event_streams.len();
            *count += 1;
            if *count > 1 || self.event_numbers.is_some() {
                // Events are numbered only once a stream has two of them.
                let numbers = self.event_numbers.get_or_insert_with(|| vec![1; before]);
                numbers.push(*count);
                let gap = if *count > 1 { before - *last } else { 0 };
                let gaps = self.event_gaps.get_or_insert_with(|| vec![0; before]);
                gaps.push(int(gap));
            }
            *last = before;
            self.event_commits.push(commit);
            self.event_streams.push(int(stream + 1));
            self.event_types.push(event_type);
            self.event_ids.push(request.event_id(index).as_uuid());
            self.event_payloads.push(Json(&event.payload));
        }
    }

    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 21] {
        [
            &self.stream_names,
            &self.stream_categories,
            &self.stream_commits,
            &self.expected_versions,
            &self.expected_ids,
            &self.commit_ids,
            &self.commit_counts,
            &self.commit_firsts,
            &self.commit_keys,
            &self.commit_fingerprints,
            &self.commit_metadata,
            &self.categories,
            &self.type_categories,
            &self.type_names,
            &self.event_commits,
            &self.event_streams,
            &self.event_numbers,
            &self.event_gaps,
            &self.event_types,
            &self.event_ids,
            &self.event_payloads,
        ]
    }
}

/// The numbers of the categories and types that occur in a batch so far.
#[derive(Default)]
struct Names<'a> {
    categories: HashMap<&'a str, i32>,
    types: HashMap<(i32, &'a str), i32>,
}

fn fingerprint(key: Option<&IdempotencyKey>) -> Option<&[u8]> {
    Some(key?.fingerprint()?.as_bytes().as_slice())
}

fn metadata(request: &AppendRequest) -> Result<Option<Json<Vec<u8>>>, serde_json::Error> {
    if request.metadata().is_empty() {
        return Ok(None);
    }
    serde_json::to_vec(request.metadata()).map(|text| Some(Json(text)))
}
