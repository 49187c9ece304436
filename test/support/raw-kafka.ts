// kafkajs itself, for what our own client does not do: members of groups as the broker knows them, rights, a plain consumer.
//
// Whoever loads our client in the same process repairs kafkajs' connections for everybody (kafkajs-repairs.ts), and then they need
// sockets that give whole answers: on its own sockets two answers that came in one piece were read as one.

import '../../pipeline/log/kafka/kafkajs-repairs.ts'
import { Kafka, type KafkaConfig, logLevel } from 'kafkajs'
import { answerSockets } from '../../pipeline/log/kafka/kafkajs-socket.ts'

/** Says nothing of its own; what fails is thrown. */
export function rawKafka(brokers: readonly string[], more: Omit<KafkaConfig, 'brokers' | 'logLevel' | 'socketFactory'> = {}): Kafka {
  return new Kafka({ ...more, brokers: [...brokers], logLevel: logLevel.NOTHING, socketFactory: answerSockets() as NonNullable<KafkaConfig['socketFactory']> })
}
