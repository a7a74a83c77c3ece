//! Stands between a store and its server, and breaks their connections.
//!
//! It takes what the store sends at a time for one request, and what the server sends next for its response: the store
//! asks one question at a time on a connection, and these are short.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A fault of a request, its response, or later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request is lost with the connection.
    DropRequest,
    /// A part of the request arrives, then the connection ends.
    CutRequest,
    /// The connection ends soon after the request arrived, while the server is at work or just before or after.
    CutMeanwhile,
    /// The server answers, and the answer is lost with the connection.
    DropResponse,
    /// A part of the answer arrives.
    CutResponse,
    /// The request arrives long after the store has given it up.
    Late,
    /// The connection ends, and for a while the server takes no other.
    Refuse,
    /// The server answers, and what arrives is that it panics, since its log has no room. Not one that comes by chance: a
    /// read that meets it fails.
    Panic,
}

/// Those that come by chance.
pub const FAULTS: [Fault; 7] = [
    Fault::DropRequest,
    Fault::CutRequest,
    Fault::CutMeanwhile,
    Fault::DropResponse,
    Fault::CutResponse,
    Fault::Late,
    Fault::Refuse,
];

/// The mode of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All is well, but for chance.
    Forward,
    /// Connections stay open and carry nothing; new ones are accepted.
    Pause,
    /// Connections end, and new ones end at once.
    Refuse,
}

/// The time for which the server is unreachable where that happens at random.
const AWAY: Duration = Duration::from_millis(300);

/// A request that carries events holds this text.
const OF_APPEND: &[u8] = b"\"number\"";

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    server: String,
    mode: watch::Sender<Mode>,
    state: Mutex<State>,
    /// The delay of a late request.
    long: Duration,
}

struct State {
    random: fastrand::Rng,
    /// The number of faults among a hundred requests; five times as many among appends.
    percent: u8,
    /// Sets the fault of the next append.
    next: Option<(Fault, Mode)>,
    /// The next request with this text waits, in the mode `Pause`, until it is `Forward` again.
    hold: Option<&'static [u8]>,
    /// The most bytes of a response that arrive; the rest of a longer one never does.
    width: Option<usize>,
    /// The faults that appends met.
    met: HashMap<Fault, usize>,
}

impl Proxy {
    pub async fn start(server: &str, seed: u64, long: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            percent: 0,
            next: None,
            hold: None,
            width: None,
            met: HashMap::new(),
        };
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            mode: watch::Sender::new(Mode::Forward),
            state: Mutex::new(state),
            long,
        });
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// From now on this many requests of a hundred meet a fault, and five times as many appends.
    pub fn percent(&self, percent: u8) {
        self.shared.state.lock().unwrap().percent = percent;
    }

    /// The fault of the next append, and the mode of the proxy after it.
    pub fn next_append(&self, fault: Fault, then: Mode) {
        self.shared.state.lock().unwrap().next = Some((fault, then));
    }

    pub fn mode(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Lets the next request with this text wait, and all that comes then, until the mode is `Forward` again. Ends when one
    /// waits.
    pub async fn hold(&self, text: &'static [u8]) {
        let mut mode = self.shared.mode.subscribe();
        self.shared.state.lock().unwrap().hold = Some(text);
        mode.wait_for(|mode| *mode == Mode::Pause).await.unwrap();
    }

    /// Lets only so many bytes of a response arrive, as on a slow link before the client gives it up.
    pub fn width(&self, bytes: usize) {
        self.shared.state.lock().unwrap().width = Some(bytes);
    }

    /// The number of appends that met each fault so far.
    pub fn met(&self) -> HashMap<Fault, usize> {
        self.shared.state.lock().unwrap().met.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        tokio::spawn(carry(client, shared.clone()));
    }
}

/// Carries one connection to its end. Dropping its two sockets is the cut.
async fn carry(mut client: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let mut mode = shared.mode.subscribe();
    if *mode.borrow() == Mode::Refuse {
        return None;
    }
    let mut server = TcpStream::connect(&shared.server).await.ok()?;
    server.set_nodelay(true).ok()?;
    let (mut request, mut response) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    // What the next response meets.
    let mut waiting = None;
    let mut then = Then(shared.clone(), None);
    // The length of the response so far.
    let mut length = 0;
    loop {
        let now = *mode.borrow_and_update();
        tokio::select! {
            changed = mode.changed() => {
                changed.ok()?;
                if *mode.borrow() == Mode::Refuse {
                    return None;
                }
            }
            read = client.read(&mut request), if now == Mode::Forward => {
                let request = request.get(..read.ok()?)?;
                if request.is_empty() {
                    return None;
                }
                length = 0;
                if shared.is_held(request) {
                    shared.mode.send_replace(Mode::Pause);
                    mode.wait_for(|mode| *mode == Mode::Forward).await.ok()?;
                }
                let fault;
                (fault, then.1) = shared.fault(request);
                match fault {
                    None => server.write_all(request).await.ok()?,
                    Some(Fault::DropRequest) => return None,
                    Some(Fault::CutRequest) => {
                        let part = shared.part(request);
                        server.write_all(part).await.ok()?;
                        return None;
                    }
                    Some(Fault::CutMeanwhile) => {
                        server.write_all(request).await.ok()?;
                        tokio::time::sleep(shared.moment()).await;
                        return None;
                    }
                    Some(fault @ (Fault::DropResponse | Fault::CutResponse | Fault::Panic)) => {
                        server.write_all(request).await.ok()?;
                        waiting = Some(fault);
                    }
                    Some(Fault::Late) => {
                        tokio::time::sleep(shared.long).await;
                        server.write_all(request).await.ok()?;
                        // The server takes it up, although nobody is there for its answer.
                        let _answered = server.read(&mut response).await;
                        return None;
                    }
                    Some(Fault::Refuse) => {
                        shared.mode.send_replace(Mode::Refuse);
                        tokio::time::sleep(AWAY).await;
                        shared.mode.send_replace(Mode::Forward);
                        return None;
                    }
                }
            }
            read = server.read(&mut response), if now == Mode::Forward => {
                let response = response.get(..read.ok()?)?;
                length += response.len();
                if shared.is_too_long(length) {
                    while client.read(&mut request).await.ok()? > 0 {}
                    return None;
                }
                match waiting {
                    _ if response.is_empty() => return None,
                    Some(Fault::DropResponse) => return None,
                    Some(Fault::Panic) => {
                        client.write_all(&panic_of_server()).await.ok()?;
                        return None;
                    }
                    Some(_) => {
                        client.write_all(shared.part(response)).await.ok()?;
                        return None;
                    }
                    None => client.write_all(response).await.ok()?,
                }
            }
        }
    }
}

/// PostgreSQL's message to a client whose commit finds no room in the log.
fn panic_of_server() -> Vec<u8> {
    let fields = "SPANIC\0VPANIC\0C53100\0Mcould not write to file: No space left on device\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
}

impl Shared {
    /// Returns the fault of this request, and the mode after it.
    fn fault(&self, request: &[u8]) -> (Option<Fault>, Option<Mode>) {
        let of_append = request
            .windows(OF_APPEND.len())
            .any(|window| window == OF_APPEND);
        let mut state = self.state.lock().unwrap();
        let percent = state.percent * if of_append { 5 } else { 1 };
        let (fault, then) = if let Some((fault, then)) = state.next.take_if(|_| of_append) {
            (Some(fault), Some(then))
        } else if state.random.u8(0..100) < percent {
            (state.random.choice(FAULTS), None)
        } else {
            (None, None)
        };
        if let Some(fault) = fault.filter(|_| of_append) {
            *state.met.entry(fault).or_default() += 1;
        }
        (fault, then)
    }

    fn is_held(&self, request: &[u8]) -> bool {
        let has = |text: &&[u8]| request.windows(text.len()).any(|window| window == *text);
        self.state
            .lock()
            .unwrap()
            .hold
            .take_if(|text| has(text))
            .is_some()
    }

    fn is_too_long(&self, length: usize) -> bool {
        let width = self.state.lock().unwrap().width;
        width.is_some_and(|width| length > width)
    }

    /// Some of the bytes, not all.
    fn part<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let mut state = self.state.lock().unwrap();
        &bytes[..state.random.usize(0..bytes.len())]
    }

    /// About as long as a commit takes.
    fn moment(&self) -> Duration {
        Duration::from_micros(self.state.lock().unwrap().random.u64(0..6000))
    }
}

/// Sets the mode when the connection has ended.
struct Then(Arc<Shared>, Option<Mode>);

impl Drop for Then {
    fn drop(&mut self) {
        if let Some(mode) = self.1 {
            self.0.mode.send_replace(mode);
        }
    }
}
