//! A mirror that anybody may run: software comes from it over HTTPS, by a certificate that nobody vouches for, because the
//! signatures decide. The server's own door gives files of a release to boxes with a certificate of the fleet alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use homeward_tests::programs::{Program, wait_for};
use homeward_tests::releases::Releases;
use homeward_tests::shared;

use super::stage::Stage;
use super::updates::{assign, until};

/// Serves the folder that it runs in, and says at which port.
const MIRROR: &str = "import http.server, ssl, sys
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print('port', server.server_address[1], flush=True)
server.serve_forever()
";

/// A mirror of `folder`, and its port; none, said aloud, without what it is made of.
fn mirror(folder: &Path, desk: &Path) -> Option<(Program, u16)> {
    let python = shared::debian("python3", "python3")?;
    let openssl = shared::debian("openssl", "openssl")?;
    let (key, cert) = (desk.join("mirror.key"), desk.join("mirror.pem"));
    let made = Command::new(openssl)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-subj", "/CN=a stranger's mirror", "-days", "2", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new(python);
    command
        .args(["-c", MIRROR])
        .arg(cert)
        .arg(key)
        .current_dir(folder);
    let serves = Program::start("mirror", &mut command);
    let port = wait_for("the mirror's port", super::stage::SOON, || {
        let said = serves.said();
        let line = said
            .iter()
            .find_map(|line| line.strip_prefix("port ").map(str::to_owned));
        line.and_then(|port| port.trim().parse().ok())
    });
    Some((serves, port))
}

/// What the door of boxes says to somebody without a certificate of the fleet.
fn stranger(stage: &Stage, path: &str) -> Option<std::process::Output> {
    let curl = shared::debian("curl", "curl")?;
    let url = format!("https://localhost:{}{path}", stage.fleet.port("renewal"));
    let mut command = Command::new(curl);
    command.args([
        "--silent",
        "--show-error",
        "--insecure",
        "--fail",
        "--max-time",
        "20",
        &url,
    ]);
    Some(command.output().expect("curl runs"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn software_comes_from_a_mirror_that_nobody_vouches_for_and_the_door_of_boxes_is_for_boxes() {
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    releases.add("7.1.0", &releases.write("good", &build), "0.0.0");
    releases.publish(&stage.fleet);
    let folder = releases.desk().join("REL/repository");
    let Some((serves, port)) = mirror(&folder, releases.desk()) else {
        return;
    };
    let mut home = stage.home("mill-road-12").await;
    releases.launch(
        &mut home,
        &format!("repository = \"https://127.0.0.1:{port}/\"\n"),
    );
    home.run();
    let from = format!("https://127.0.0.1:{port}/");
    let offered = home
        .agent
        .command_ended(&["update", "check", "--from", &from])
        .ok();
    assert!(
        offered.contains("agent/7.1.0: agent-slot 7.1.0, ") && offered.contains("By root 1, good until"),
        "{offered}"
    );
    let nobody = ["update", "check", "--from", "https://127.0.0.1:1/"];
    let refused = home.agent.command_ended(&nobody).failed();
    assert!(refused.contains("127.0.0.1:1"), "{refused}");
    assign(&stage, &home, "7.1.0");
    // The server itself has none of it any more.
    let own = stage.fleet.dir().join("release/repository/targets");
    fs::rename(&own, own.with_extension("gone")).expect("our own folder");
    until(&stage, &mut home, "runs 7.1.0 and is well");
    let said = serves.said();
    let fetched = |what: &str| {
        said.iter()
            .any(|line| line.contains("GET /") && line.contains(what))
    };
    assert!(
        fetched("/metadata/timestamp.json") && fetched("/targets/agent/"),
        "{said:#?}"
    );

    let metadata = stage.fleet.dir().join("release/repository/metadata/1.root.json");
    assert!(metadata.is_file(), "it is there to be had");
    if let Some(told) = stranger(&stage, "/release/metadata/1.root.json") {
        assert!(!told.status.success() && told.stdout.is_empty(), "{told:?}");
    }
}
