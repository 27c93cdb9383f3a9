//! The subscribing side: a member of the consumer group, polled by a task of its own ([`super::consumer`]), so that
//! however long a chunk takes to load, the group hears of the member.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::error::TryRecvError;

use super::{
    Kafka, KafkaFailure,
    consumer::{self, Command, Member},
};
use crate::transport::{AssignedPartitions, Delivery, Subscriber, TransportError};

/// One member. It joins when it first receives, and again after an error.
#[derive(Debug)]
pub(super) struct KafkaSubscriber {
    kafka: Kafka,
    by: String,
    assigned: AssignedPartitions,
    member: Option<Member>,
}

impl KafkaSubscriber {
    pub(super) fn new(kafka: Kafka, by: String) -> Self {
        Self { kafka, by, assigned: AssignedPartitions::default(), member: None }
    }

    fn tell(&self, command: Command) {
        // Without a member, or with one that has ended, the message is another one's to deal with already.
        if let Some(member) = &self.member {
            drop(member.commands.send(command));
        }
    }

    /// What the member says; with an error it has ended.
    async fn unless_ended(
        &mut self,
        received: Result<Result<Delivery, KafkaFailure>, KafkaFailure>,
    ) -> Result<Delivery, TransportError> {
        match received.flatten() {
            Ok(delivery) => Ok(delivery),
            Err(failure) => {
                self.leave().await;
                Err(failure.into())
            }
        }
    }

    /// Leaves the group; what was received and not dealt with goes to others.
    async fn leave(&mut self) {
        if let Some(Member { deliveries, commands, task }) = self.member.take() {
            drop((deliveries, commands));
            if let Err(error) = task.await {
                tracing::error!(by = self.by, %error, "a consumer broke down");
            }
            self.assigned.set(Vec::new());
        }
    }
}

#[async_trait]
impl Subscriber for KafkaSubscriber {
    async fn receive(&mut self) -> Result<Delivery, TransportError> {
        let member = match &mut self.member {
            Some(member) => member,
            None => self.member.insert(consumer::join(&self.kafka, &self.by, &self.assigned).await?),
        };
        let received = member.deliveries.recv().await;
        self.unless_ended(received.ok_or(KafkaFailure::Stopping)).await
    }

    async fn try_receive(&mut self) -> Result<Option<Delivery>, TransportError> {
        let received = match self.member.as_mut().map(|member| member.deliveries.try_recv()) {
            None | Some(Err(TryRecvError::Empty)) => return Ok(None),
            Some(Err(TryRecvError::Disconnected)) => Err(KafkaFailure::Stopping),
            Some(Ok(received)) => Ok(received),
        };
        self.unless_ended(received).await.map(Some)
    }

    async fn acknowledge(&mut self, delivery: &Delivery) -> Result<(), TransportError> {
        self.tell(Command::Done(delivery.receipt));
        Ok(())
    }

    async fn retry(&mut self, delivery: &Delivery, delay: Duration) -> Result<(), TransportError> {
        self.tell(Command::Again(delivery.receipt, delay));
        Ok(())
    }

    async fn dead_letter(&mut self, delivery: &Delivery, reason: &str) -> Result<(), TransportError> {
        self.tell(Command::DeadLetter(delivery.receipt, reason.to_owned()));
        Ok(())
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.leave().await;
        Ok(())
    }

    fn assigned_partitions(&self) -> AssignedPartitions {
        self.assigned.clone()
    }
}
