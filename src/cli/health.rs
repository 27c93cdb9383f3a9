//! `tarmac health`: what `/health/ready` of the service on this machine says, as an exit status.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use super::{CommandError, load_config, print};

/// The service answers within this, or something is wrong.
const TIMEOUT: Duration = Duration::from_secs(5);

const AFTER_HELP: &str = "\
Examples:
  tarmac health
  tarmac health --address 127.0.0.1:9000

Exit status:
  0    the service can work
  1    it cannot, or does not answer; standard output has what it says
  2    the command line is wrong";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Where the service listens, as in `server.address`.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

pub(super) async fn run(arguments: Arguments, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let overrides: Vec<_> =
        arguments.address.map(|address| ("server.address", address)).into_iter().collect();
    let config = load_config(file, &overrides)?;
    let scheme = if config.server.has_tls() { "https" } else { "http" };
    let url = format!("{scheme}://{}/health/ready", reachable(config.server.address));
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        // The certificate is for the name that clients use. Nothing is sent that a wrong listener could use.
        .tls_danger_accept_invalid_certs(true)
        .build()?;
    let response = client.get(url).send().await?;
    let status = response.status();
    print(&format!("{}\n", response.text().await?))?;
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A service that listens on every address is reached by loopback.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_where_it_can_be_reached() {
        for (listening, expected) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
            assert_eq!(reachable(address(listening)), address(expected));
        }
    }
}
