//! What can go wrong with Kafka, told in a way that helps: librdkafka retries by itself and then reports a timeout; why
//! it had to, it has said before, to the client's context.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::{DeliveryResult, ProducerContext},
};

/// Why Kafka did not do what it was asked. What is displayed names neither addresses nor credentials.
#[derive(Debug, thiserror::Error)]
pub enum KafkaFailure {
    /// A property that librdkafka does not know, or not with this value, which is not told: it may be a password.
    #[error("the Kafka client cannot be made with the property {name}: {fault}")]
    Property {
        /// As librdkafka calls it.
        name: String,
        /// What is wrong.
        fault: String,
    },
    /// Nobody answers.
    #[error("no Kafka broker answers")]
    Away(#[source] Cause),
    /// User or password are wrong, or the broker asks for some and there are none.
    #[error("Kafka refuses the credentials")]
    Credentials(#[source] Cause),
    /// Its certificate is not trusted, or not that of the host, or it does not speak TLS, or asks for a certificate.
    #[error("the connection to Kafka cannot be secured")]
    Tls(#[source] Cause),
    /// A topic is not as it must be.
    #[error("{0}")]
    Topic(String),
    /// A chunk is longer than chunks are that travel by Kafka: its import was begun with other sizes.
    #[error("a chunk is longer than ingest.chunk_bytes and ingest.record_bytes allow")]
    TooLong,
    /// Another publisher of the same import has begun.
    #[error("another publisher has taken over")]
    Fenced,
    /// Anything else.
    #[error("{operation}")]
    Failed {
        /// What was attempted.
        operation: &'static str,
        /// Why it did not work.
        #[source]
        source: KafkaError,
    },
    /// The runtime is ending.
    #[error("the service is stopping")]
    Stopping,
}

impl KafkaFailure {
    /// A client that cannot be made; for `map_err`.
    pub(super) fn properties(error: KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, fault, name, _) => Self::Property { name, fault },
            source => Self::Failed { operation: "making a Kafka client", source },
        }
    }
}

/// What librdkafka said before it gave up.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Cause {
    reason: String,
    #[source]
    source: KafkaError,
}

/// The last error that a client has reported by itself. Shared by the clients of a process that talk to one cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientErrors(Arc<Mutex<Option<(Code, String)>>>);

impl ClientErrors {
    fn last(&self) -> MutexGuard<'_, Option<(Code, String)>> {
        // A text is whole whatever happened to its writer.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster answers: what was said before is history.
    pub(super) fn forget(&self) {
        self.last().take();
    }

    /// Makes sense of an error; for `map_err`.
    pub(super) fn explain(
        &self,
        operation: &'static str,
    ) -> impl FnOnce(KafkaError) -> KafkaFailure + use<'_> {
        move |source| {
            let code = code_of(&source);
            if is_fenced(code) {
                return KafkaFailure::Fenced;
            }
            let said = self.last().clone();
            match said {
                Some((Code::Authentication | Code::SaslAuthenticationFailed, reason)) => {
                    KafkaFailure::Credentials(Cause { reason, source })
                }
                Some((Code::SSL, reason)) => KafkaFailure::Tls(Cause { reason, source }),
                Some((_, reason)) if is_silence(code) => KafkaFailure::Away(Cause { reason, source }),
                None if is_silence(code) => {
                    KafkaFailure::Away(Cause { reason: "the time is up".to_owned(), source })
                }
                _ => KafkaFailure::Failed { operation, source },
            }
        }
    }
}

fn is_fenced(code: Option<Code>) -> bool {
    matches!(code, Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch))
}

fn is_silence(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::MessageTimedOut
                | Code::OperationTimedOut
                | Code::Resolve
        )
    )
}

fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

impl ClientContext for ClientErrors {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
        // What matters of it comes as an error too, and is told where it is handled.
        match level {
            Emerg | Alert | Critical => tracing::error!(target: "librdkafka", facility, "{message}"),
            Error | Warning | Notice | Info => tracing::debug!(target: "librdkafka", facility, "{message}"),
            Debug => tracing::trace!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
        if let Some(code) = code_of(&error) {
            let mut last = self.last();
            // That the broker then hangs up, and no other is left, adds nothing.
            let explains = |code| matches!(code, Code::Authentication | Code::SSL);
            let explained = last.as_ref().is_some_and(|(code, _)| explains(*code));
            if explains(code) || !explained {
                *last = Some((code, reason.to_owned()));
            }
        }
    }
}

impl ProducerContext for ClientErrors {
    type DeliveryOpaque = ();

    /// A message that was not delivered fails its transaction, which says so.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Runs what waits for Kafka on a thread that may wait. Once begun it comes to its end, also when nobody waits any more.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaFailure> + Send + 'static,
) -> Result<T, KafkaFailure> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(KafkaFailure::Stopping),
        },
    }
}

/// How long to wait for a broker's answer before telling that there is none.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn told(said: &[(Code, &str)]) -> String {
        let client_errors = ClientErrors::default();
        for (code, reason) in said {
            client_errors.error(KafkaError::Global(*code), reason);
        }
        let failure =
            client_errors.explain("asking")(KafkaError::MetadataFetch(Code::BrokerTransportFailure));
        let source = std::error::Error::source(&failure).expect("there is a cause");
        format!("{failure}: {source}")
    }

    #[test]
    fn what_made_a_broker_hang_up_is_told_and_not_that_it_did() {
        let down = (Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(told(&[down]), "no Kafka broker answers: 1/1 brokers are down");
        let refused = (Code::Authentication, "wrong password");
        assert_eq!(told(&[refused, down]), "Kafka refuses the credentials: wrong password");
        let untrusted = (Code::SSL, "certificate verify failed");
        let secured = "the connection to Kafka cannot be secured: certificate verify failed";
        assert_eq!(told(&[down, untrusted, down]), secured);
    }
}
