//! Decides when requests are sent: a fixed number at a time, or at random times whether earlier ones have ended or not.

use super::{
    client::Client,
    plan::{Arrival, BenchPlan, Workload},
    record::{BenchRun, RequestRecord},
    workload::{BenchRequest, Group},
};
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// The requests that are not sent yet.
type RequestQueue = Arc<Mutex<VecDeque<BenchRequest>>>;

/// Sends all requests and waits for their ends.
pub(super) async fn run(client: Client, plan: &BenchPlan, model: &str, requests: Vec<BenchRequest>) -> BenchRun {
    let sender = Arc::new(Sender { client, model: model.to_owned(), began: Instant::now(), bar: bar(requests.len()) });
    let mut records = match (&plan.workload, plan.arrival) {
        (Workload::W3, _) => beside_streams(&sender, requests).await,
        (_, Arrival::Closed { concurrency }) => closed(&sender, requests, concurrency).await,
        (_, Arrival::Open { per_second }) => open(&sender, requests, per_second, plan.seed).await,
    };
    sender.bar.finish_and_clear();
    records.sort_by_key(|record| record.index);
    BenchRun { records, duration: sender.began.elapsed() }
}

struct Sender {
    client: Client,
    model: String,
    began: Instant,
    bar: ProgressBar,
}

impl Sender {
    async fn send(&self, request: BenchRequest) -> RequestRecord {
        let record = self.client.send(request, &self.model, self.began).await;
        self.bar.inc(1);
        record
    }

    /// Sends the requests of the queue one after the other until it is empty.
    async fn drain(&self, queue: &RequestQueue) -> Vec<RequestRecord> {
        let mut records = Vec::new();
        loop {
            // This is a statement of its own, so that the lock is released after it.
            let next = lock(queue).pop_front();
            let Some(request) = next else { return records };
            records.push(self.send(request).await);
        }
    }
}

fn bar(requests: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(requests).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} requests, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn lock(queue: &RequestQueue) -> std::sync::MutexGuard<'_, VecDeque<BenchRequest>> {
    // The queue is sound even if a user of the lock panicked.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn closed(sender: &Arc<Sender>, requests: Vec<BenchRequest>, concurrency: usize) -> Vec<RequestRecord> {
    let queue: RequestQueue = Arc::new(Mutex::new(requests.into()));
    let mut clients = JoinSet::new();
    for _ in 0..concurrency {
        let (sender, queue) = (Arc::clone(sender), Arc::clone(&queue));
        clients.spawn(async move { sender.drain(&queue).await });
    }
    clients.join_all().await.concat()
}

/// Sends requests with exponential times between them: a Poisson process.
async fn open(sender: &Arc<Sender>, requests: Vec<BenchRequest>, per_second: f64, seed: u64) -> Vec<RequestRecord> {
    let mut rng = Rng::with_seed(seed);
    let mut at = sender.began;
    let mut running = JoinSet::new();
    for request in requests {
        sleep_until(at).await;
        let sender = Arc::clone(sender);
        running.spawn(async move { sender.send(request).await });
        at += gap(&mut rng, per_second);
    }
    running.join_all().await
}

/// Draws the time until the next arrival.
pub(super) fn gap(rng: &mut Rng, per_second: f64) -> Duration {
    // 1 − u is never 0.
    Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / per_second)
}

/// Sends streams, and beside them long prompts, one after the other, until all streams have ended.
async fn beside_streams(sender: &Arc<Sender>, requests: Vec<BenchRequest>) -> Vec<RequestRecord> {
    let (streams, long): (Vec<BenchRequest>, Vec<BenchRequest>) = requests.into_iter().partition(|request| request.group == Group::Streams);
    let queue: RequestQueue = Arc::new(Mutex::new(long.into()));
    let mut running = JoinSet::new();
    for request in streams {
        let sender = Arc::clone(sender);
        running.spawn(async move { sender.send(request).await });
    }
    let disturber = tokio::spawn({
        let (sender, queue) = (Arc::clone(sender), Arc::clone(&queue));
        async move { sender.drain(&queue).await }
    });
    let mut records = running.join_all().await;
    lock(&queue).clear();
    // The task ends after its present prompt.
    records.extend(disturber.await.unwrap_or_default());
    records
}
