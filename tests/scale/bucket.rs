//! A bucket, as far as a run needs one: objects of S3's protocol in memory, which are created once where that is asked
//! for. It can be out of order for a while.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::runtime::Runtime;
use warp::Filter;
use warp::http::header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH, LAST_MODIFIED, RANGE};
use warp::http::{HeaderMap, Method, Response, StatusCode};
use warp::path::FullPath;

/// A time; nobody reads it.
const TIME: &str = "2026-01-01T00:00:00.000Z";
const HTTP_TIME: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

type Answer = Response<Bytes>;

#[derive(Default)]
struct Objects {
    /// By path: the bucket, then the object's name.
    by_path: Mutex<BTreeMap<String, Bytes>>,
    is_out_of_order: AtomicBool,
    /// Requests with this in them, as in `PUT bucket/object?query`, are answered with an error.
    refused: Mutex<Option<String>>,
    refusals: AtomicU64,
}

/// A server with buckets. It ends when it is dropped.
pub(crate) struct Bucket {
    objects: Arc<Objects>,
    address: SocketAddr,
    _runtime: Runtime,
}

impl Bucket {
    /// Serves at any free port.
    pub(crate) fn serve() -> Bucket {
        let runtime = Runtime::new().unwrap();
        let objects = Arc::new(Objects::default());
        let served = Arc::clone(&objects);
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        let routes = warp::method()
            .and(warp::path::full())
            .and(query)
            .and(warp::header::headers_cloned())
            .and(warp::body::bytes())
            .map(move |method: Method, path: FullPath, query: String, headers: HeaderMap, body: Bytes| {
                served.answer(&method, path.as_str(), &query, &headers, body)
            });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(warp::serve(routes).incoming(listener).run());
        Bucket { objects, address, _runtime: runtime }
    }

    /// What a process needs in its environment to use it.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "somebody".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "a-key-that-is-not-in-any-log".to_owned()),
            ("AWS_REGION", "somewhere".to_owned()),
        ]
    }

    /// Whether it answers every request with an error.
    pub(crate) fn be_out_of_order(&self, is_out_of_order: bool) {
        self.objects.is_out_of_order.store(is_out_of_order, Ordering::Relaxed);
    }

    /// Answers requests with this in them, as in `PUT bucket/object?query`, with an error; or none any more.
    pub(crate) fn refuse(&self, what: Option<&str>) {
        *self.objects.refused.lock().unwrap() = what.map(str::to_owned);
        self.objects.refusals.store(0, Ordering::Relaxed);
    }

    /// How many requests it has refused since it was told to.
    pub(crate) fn refusals(&self) -> u64 {
        self.objects.refusals.load(Ordering::Relaxed)
    }

    /// The object of a name in a bucket.
    pub(crate) fn get(&self, path: &str) -> Option<Bytes> {
        self.objects.by_path.lock().unwrap().get(path).cloned()
    }

    /// The names in a bucket that begin so.
    pub(crate) fn list(&self, prefix: &str) -> Vec<String> {
        let objects = self.objects.by_path.lock().unwrap();
        objects.keys().filter(|path| path.starts_with(prefix)).cloned().collect()
    }
}

impl Objects {
    fn answer(&self, method: &Method, path: &str, query: &str, headers: &HeaderMap, body: Bytes) -> Answer {
        if self.is_out_of_order.load(Ordering::Relaxed) {
            return status(StatusCode::SERVICE_UNAVAILABLE);
        }
        let path = path.trim_start_matches('/').replace("%2F", "/");
        let request = format!("{method} {path}?{query}");
        if self.refused.lock().unwrap().as_ref().is_some_and(|what| request.contains(what)) {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            return status(StatusCode::SERVICE_UNAVAILABLE);
        }
        let mut objects = self.by_path.lock().unwrap();
        if method == Method::GET && query.contains("list-type=2") {
            return list(&objects, path.trim_end_matches('/'), query);
        }
        match *method {
            Method::PUT => {
                if headers.contains_key(IF_NONE_MATCH) && objects.contains_key(&path) {
                    return status(StatusCode::PRECONDITION_FAILED);
                }
                objects.insert(path, body);
                Response::builder().header(ETAG, "\"1\"").body(Bytes::new()).unwrap()
            }
            Method::DELETE => {
                objects.remove(&path);
                status(StatusCode::NO_CONTENT)
            }
            Method::GET | Method::HEAD => match objects.get(&path) {
                None => status(StatusCode::NOT_FOUND),
                Some(object) => whole_or_part(method, object, headers),
            },
            _ => status(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

fn status(code: StatusCode) -> Answer {
    Response::builder().status(code).body(Bytes::new()).unwrap()
}

fn whole_or_part(method: &Method, object: &Bytes, headers: &HeaderMap) -> Answer {
    let range =
        headers.get(RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let range = range.and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
    let answer = Response::builder().header(ETAG, "\"1\"").header(LAST_MODIFIED, HTTP_TIME);
    match range {
        Some((start, end)) => {
            let end: usize = usize::min(end, object.len() - 1);
            let range: String = format!("bytes {start}-{end}/{}", object.len());
            let part = object.slice(start..end + 1);
            answer.status(StatusCode::PARTIAL_CONTENT).header("Content-Range", range).body(part).unwrap()
        }
        None if method == Method::HEAD => {
            answer.header(CONTENT_LENGTH, object.len()).body(Bytes::new()).unwrap()
        }
        None => answer.body(object.clone()).unwrap(),
    }
}

fn list(objects: &BTreeMap<String, Bytes>, bucket: &str, query: &str) -> Answer {
    let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or_default();
    let prefix = format!("{bucket}/{}", prefix.replace("%2F", "/"));
    let mut xml = String::from("<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>");
    for (path, object) in objects.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix)) {
        let key = &path[bucket.len() + 1..];
        let _ = write!(
            xml,
            "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>{TIME}</LastModified><ETag>1</ETag></Contents>",
            object.len()
        );
    }
    xml += "</ListBucketResult>";
    Response::new(xml.into())
}
