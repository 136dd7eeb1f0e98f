//! Tests of compressed bodies and of the byte order mark.

use super::*;
use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use tokio::io::AsyncReadExt as _;

const PATHS: [&str; 3] = ["/generate", "/v1/completions", "/v1/messages"];

async fn encoded(coding: &str, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let read = match coding {
        "gzip" | "x-gzip" => GzipEncoder::new(plain).read_to_end(&mut out).await,
        "br" => BrotliEncoder::new(plain).read_to_end(&mut out).await,
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

    for coding in ["gzip", "x-gzip", "GZIP", "br", "zstd", "identity", ""] {
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

    for coding in ["gzip", "br", "zstd"] {
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
        for coding in ["deflate", "gzip, br", "gzip,gzip", "x"] {
            let answer = send(&app, path, coding, b"{}".to_vec()).await;
            assert_eq!((answer.status.as_u16(), answer.header("accept-encoding")), (415, "gzip, br, zstd"), "{path} {coding}");
            assert!(answer.body.starts_with(shape) && answer.body.contains(coding), "{}", answer.body);
        }
        for coding in ["gzip", "br", "zstd"] {
            let whole = encoded(coding, GENERATE.as_bytes()).await;
            for broken in [GENERATE.as_bytes().to_vec(), whole[..whole.len() - 4].to_vec()] {
                let answer = send(&app, path, coding, broken).await;
                assert_eq!(answer.status, 400, "{path} {coding} {answer:?}");
                assert!(answer.body.starts_with(shape) && answer.body.contains(&format!("not valid {coding}")), "{}", answer.body);
            }
        }
    }
}

/// RFC 8878 3.1.1.1.2: a frame may ask for a window of terabytes.
#[tokio::test]
async fn a_zstandard_frame_with_a_large_window_is_refused() {
    let app = TestApp::start(Setup::default()).await;
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0][..], &[0x01, 0x00, 0x00]].concat();

    let answer = send(&app, "/generate", "zstd", frame).await;

    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn the_memory_of_a_decoder_counts_until_the_body_is_decoded() {
    let budget = Arc::new(BodyBudget::of(40 << 20));
    let app = TestApp::start(Setup::default()).await;
    let rules = Rules::of(&Method::POST, "/generate");
    let buffer = async |body: Body| {
        let request = post("/generate").header("content-encoding", "br").body(body).unwrap();
        let mut part = budget.part(1);
        body::buffer(&app.state, &rules, request, &mut part)
            .await
            .map(|request| (request, part))
            .map_err(|refusal| refusal.status().as_u16())
    };

    let mut stalled = Box::pin(buffer(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())));
    assert!(futures_util::poll!(&mut stalled).is_pending());
    assert_eq!(buffer(Body::from(encoded("br", b"{}").await)).await.err(), Some(503), "two windows are more than a caller's half");
    drop(stalled);
    let (request, _part) = buffer(Body::from(encoded("br", b"{}").await)).await.unwrap();
    assert_eq!(request.headers().get("content-encoding"), None);
    assert!(buffer(Body::from(encoded("br", b"{}").await)).await.is_ok(), "decoded bodies need no decoder");
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
