//! The times at which requests are sent: so many at a time, or at random times whether others have ended or not.

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

/// Requests that nobody has sent yet.
type RequestQueue = Arc<Mutex<VecDeque<BenchRequest>>>;

/// Sends all requests and waits for their ends.
pub(super) async fn run(client: Client, plan: &BenchPlan, model: &str, requests: Vec<BenchRequest>) -> BenchRun {
    let sender = Arc::new(Sender { client, model: model.to_owned(), began: Instant::now(), bar: bar(requests.len()) });
    let records = match (&plan.workload, plan.arrival) {
        (Workload::W3, _) => beside_streams(&sender, requests).await,
        (_, Arrival::Closed { concurrency }) => closed(&sender, requests, concurrency).await,
        (_, Arrival::Open { per_second }) => open(&sender, requests, per_second, plan.seed).await,
    };
    sender.bar.finish_and_clear();
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

    /// Sends one request of the queue after the other until it is empty.
    async fn drain(&self, queue: &RequestQueue) -> Vec<RequestRecord> {
        let mut records = Vec::new();
        loop {
            // On a line of its own, so that the lock ends with it.
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
    // A queue is sound whatever its users were about to do.
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

/// Times between arrivals are exponential: a Poisson process.
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

/// Time until the next arrival.
pub(super) fn gap(rng: &mut Rng, per_second: f64) -> Duration {
    // 1 − u is never 0.
    Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / per_second)
}

/// Long prompts, one after the other, for as long as the streams go on.
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
