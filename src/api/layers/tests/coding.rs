//! Tests of compressed bodies and of the byte order mark.

use super::*;
use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
use tokio::io::AsyncReadExt as _;

const PATHS: [&str; 3] = ["/generate", "/v1/completions", "/v1/messages"];

async fn encoded(coding: &str, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let read = match coding {
        "gzip" | "x-gzip" => GzipEncoder::new(plain).read_to_end(&mut out).await,
        "zstd" => ZstdEncoder::new(plain).read_to_end(&mut out).await,
        _ => plain.to_vec().as_slice().read_to_end(&mut out).await,
    };
    read.unwrap();
    out
}

async fn send(app: &TestApp, path: &str, coding: &str, body: Vec<u8>) -> Answer {
    app.send(post(path).header("content-encoding", coding).header("content-length", body.len()).body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn a_compressed_body_is_read_as_what_it_was() {
    let app = TestApp::start(Setup::default()).await;

    for coding in ["gzip", "x-gzip", "GZIP", "zstd", "identity", "UTF-8", "none", ""] {
        let body = encoded(&coding.to_lowercase(), GENERATE.as_bytes()).await;
        let frames = body.chunks(5).map(Bytes::copy_from_slice).map(Ok::<_, Infallible>).collect::<Vec<_>>();
        let in_frames = post("/generate").header("content-encoding", coding).body(Body::from_stream(stream::iter(frames))).unwrap();

        assert_eq!(send(&app, "/generate", coding, body).await.status, 200, "{coding:?}");
        assert_eq!(app.send(in_frames).await.status, 200, "{coding:?}");
    }
    let two = [encoded("gzip", br#"{"prompt":"#).await, encoded("gzip", br#""hello"}"#).await].concat();
    assert_eq!(send(&app, "/generate", "gzip", two).await.status, 200);
}

#[tokio::test]
async fn a_bomb_ends_at_the_limit_of_a_body() {
    let app = TestApp::start(Setup::default()).await;

    for coding in ["gzip", "zstd"] {
        let fits = send(&app, "/generate", coding, encoded(coding, prompt_of_size(4096).as_bytes()).await).await;
        let exceeds = send(&app, "/generate", coding, encoded(coding, prompt_of_size(4097).as_bytes()).await).await;
        let bomb = encoded(coding, &vec![b' '; 32 << 20]).await;
        let exploded = send(&app, "/v1/completions", coding, bomb[..bomb.len().min(4096)].to_vec()).await;

        assert_eq!((fits.status.as_u16(), exceeds.status.as_u16(), exploded.status.as_u16()), (200, 413, 413), "{coding}");
        assert!(exploded.body.contains("4096 bytes"), "{}", exploded.body);
    }
}

#[tokio::test]
async fn another_coding_is_a_415_and_a_broken_one_a_400_in_the_familys_shape() {
    let app = TestApp::start(Setup::default()).await;

    for (path, shape) in PATHS.into_iter().zip([r#"{"detail":"The"#, r#"{"error":{"#, r#"{"type":"error"#]) {
        for coding in ["deflate", "br", "gzip, zstd", "gzip,gzip", "x"] {
            let answer = send(&app, path, coding, b"{}".to_vec()).await;
            assert_eq!((answer.status.as_u16(), answer.header("accept-encoding")), (415, "gzip, zstd"), "{path} {coding}");
            assert!(answer.body.starts_with(shape) && answer.body.contains(coding), "{}", answer.body);
        }
        for coding in ["gzip", "zstd"] {
            let whole = encoded(coding, GENERATE.as_bytes()).await;
            for broken in [GENERATE.as_bytes().to_vec(), whole[..whole.len() - 4].to_vec()] {
                let answer = send(&app, path, coding, broken).await;
                assert_eq!(answer.status, 400, "{path} {coding} {answer:?}");
                assert!(answer.body.starts_with(shape) && answer.body.contains(&format!("not valid {coding}")), "{}", answer.body);
            }
        }
    }
}

/// RFC 8878 3.1.1.1.2: a frame may ask for a window of terabytes. Its sixth byte has the logarithm less 10, times 8.
#[tokio::test]
async fn a_zstandard_frame_with_a_large_window_is_refused() {
    let app = TestApp::start(Setup::default()).await;
    let empty = |window_log: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, (window_log - 10) * 8][..], &[0x01, 0x00, 0x00]].concat();

    let [fits, exceeds] = [send(&app, "/generate", "zstd", empty(23)).await, send(&app, "/generate", "zstd", empty(24)).await];

    assert!(!fits.body.contains("not valid zstd"), "{fits:?}");
    assert!(exceeds.status == 400 && exceeds.body.contains("not valid zstd"), "{exceeds:?}");
}

/// Each frame is an empty member of gzip, from which nothing is decoded.
#[tokio::test]
async fn compressed_bytes_that_decode_to_nothing_end_at_the_limit_too() {
    let app = TestApp::start(Setup::default()).await;
    let member = Bytes::from(encoded("gzip", b"").await);
    let endless = stream::repeat_with(move || Ok::<_, Infallible>(member.clone()));

    let answer = app.send(post("/generate").header("content-encoding", "gzip").body(Body::from_stream(endless)).unwrap()).await;

    assert_eq!(answer.status, 413, "{answer:?}");
}

#[tokio::test]
async fn a_coding_without_a_body_is_no_fault() {
    let app = TestApp::start(Setup::default()).await;

    for coding in ["gzip", "deflate"] {
        let request = Request::get("/v1/models").header("host", "localhost").header("content-encoding", coding);
        assert_eq!(app.send(request.body(Body::empty()).unwrap()).await.status, 200, "{coding}");
    }
}

#[tokio::test]
async fn bodies_on_routes_that_need_no_key_are_small() {
    let app = TestApp::start(Setup::default()).await;
    let answer = async |bytes: usize| {
        let request = Request::get("/livez").header("host", "localhost").body(Body::from(vec![b' '; bytes])).unwrap();
        app.send(request).await.status
    };

    assert_eq!((answer(4096).await.as_u16(), answer(4097).await.as_u16()), (200, 413));
}

/// The decoder's memory is counted as it is filled: small bodies take none of the budget, and large ones a window.
#[tokio::test]
async fn the_memory_of_a_decoder_counts_until_the_body_is_decoded() {
    let budget = Arc::new(BodyBudget::of(1 << 20));
    let mut app = Setup::default();
    app.config.max_body_bytes = 200 << 10;
    let app = TestApp::start(app).await;
    let rules = Rules::of(&Method::POST, "/generate");
    let buffer = async |body: Body| {
        let request = post("/generate").header("content-encoding", "zstd").body(body).unwrap();
        let mut part = budget.part(1);
        body::buffer(&app.state, &rules, request, &mut part)
            .await
            .map(|request| (request, part))
            .map_err(|refusal| refusal.status().as_u16())
    };
    let mut others = budget.part(1);
    others.grow(200 << 10).unwrap();
    let large = encoded("zstd", &vec![b' '; 180 << 10]).await;

    assert_eq!(buffer(Body::from(large.clone())).await.err(), Some(503), "180 kB and a window of as much exceed the rest");
    drop(others);
    let (request, _part) = buffer(Body::from(large)).await.unwrap();
    assert_eq!(request.headers().get("content-encoding"), None);
}

#[tokio::test]
async fn a_byte_order_mark_before_json_is_skipped() {
    let app = TestApp::start(Setup::default()).await;
    let marked = |body: &str| [b"\xef\xbb\xbf", body.as_bytes()].concat();

    let legacy = send(&app, "/generate", "", marked(GENERATE)).await;
    let openai = send(&app, "/v1/completions", "", marked(r#"{"model":"tiny","prompt":"a"}"#)).await;
    let compressed = send(&app, "/generate", "gzip", encoded("gzip", &marked(GENERATE)).await).await;

    assert_eq!([legacy.status, openai.status, compressed.status], [200; 3]);
}
